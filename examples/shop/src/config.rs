//! The configuration, read from the environment.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use bento::Settings;
use bento::settings::SettingsBuilder;
use uuid::Uuid;

use crate::Result;

/// The addresses of everything that the service uses.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DATABASE_URL`; an SQLite file for this run if it is absent.
    pub database_url: String,
    /// `SHOP_ADDRESS`, 127.0.0.1:3000 if it is absent.
    pub address: SocketAddr,
    /// The publishers, the router and the relay: [`events`] and the environment.
    pub events: Settings,
}

/// An SQLite file for one run. It is removed when this is dropped.
#[derive(Debug)]
pub struct TemporaryFile(PathBuf);

impl Config {
    /// Reads the environment. Hold on to the file, if there is one, as long as the database is
    /// open.
    pub fn from_environment() -> Result<(Self, Option<TemporaryFile>)> {
        let address = env::var("SHOP_ADDRESS")
            .unwrap_or_else(|_| "127.0.0.1:3000".to_owned())
            .parse()?;
        let (database_url, file) = match env::var("DATABASE_URL") {
            Ok(url) => (url, None),
            Err(_) => {
                let file = TemporaryFile::new();
                (file.url(), Some(file))
            }
        };
        Ok((
            Self {
                database_url,
                address,
                events: events()?.env()?.build()?,
            },
            file,
        ))
    }
}

/// The settings of `bento.toml`, which is built in; variables `BENTO_…` override them.
pub fn events() -> Result<SettingsBuilder> {
    Ok(Settings::builder().toml(include_str!("../bento.toml"))?)
}

impl TemporaryFile {
    /// A new name in the system's directory for such files.
    #[expect(clippy::new_without_default, reason = "each one is another file")]
    pub fn new() -> Self {
        Self(env::temp_dir().join(format!("bento-shop-{}.sqlite", Uuid::now_v7())))
    }

    /// The URL of a database in the file.
    pub fn url(&self) -> String {
        format!("sqlite://{}?mode=rwc", self.0.display())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut file = self.0.clone().into_os_string();
            file.push(suffix);
            // It is in a directory for temporary files: if it cannot be removed, somebody else
            // will.
            let _ = fs::remove_file(file);
        }
    }
}
