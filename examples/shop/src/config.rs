//! The configuration, read from the environment.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use bento::Settings;
use bento::settings::SettingsBuilder;
use uuid::Uuid;

use crate::Result;

/// The addresses of everything that the services use.
#[derive(Debug)]
pub struct Config {
    /// `SHOP_ADDRESS`, 127.0.0.1:3000 if it is absent.
    pub address: SocketAddr,
    pub shop: Service,
    pub stock: Service,
}

/// The database and the settings of a service.
#[derive(Debug)]
pub struct Service {
    /// `DATABASE_URL` or `STOCK_DATABASE_URL`; an SQLite file for this run if it is absent.
    pub database_url: String,
    /// The publishers, the sources, the router, relay and consumer: [`shop`] or [`stock`], and the
    /// environment.
    pub settings: Settings,
    _file: Option<TemporaryFile>,
}

/// An SQLite file for one run. It is removed when this is dropped.
#[derive(Debug)]
pub struct TemporaryFile(PathBuf);

impl Config {
    /// Reads the environment. The databases are there as long as it is.
    pub fn from_environment() -> Result<Self> {
        let address = env::var("SHOP_ADDRESS");
        Ok(Self {
            address: address.as_deref().unwrap_or("127.0.0.1:3000").parse()?,
            shop: Service::from_environment("DATABASE_URL", shop()?)?,
            stock: Service::from_environment("STOCK_DATABASE_URL", stock()?)?,
        })
    }
}

impl Service {
    fn from_environment(variable: &str, settings: SettingsBuilder) -> Result<Self> {
        let (database_url, file) = match env::var(variable) {
            Ok(url) => (url, None),
            Err(_) => {
                let file = TemporaryFile::new();
                (file.url(), Some(file))
            }
        };
        Ok(Self {
            database_url,
            settings: settings.env()?.build()?,
            _file: file,
        })
    }
}

/// The settings of the shop, which are built in; variables `BENTO_…` override them.
pub fn shop() -> Result<SettingsBuilder> {
    Ok(Settings::builder().toml(include_str!("../shop.toml"))?)
}

/// The settings of the stock.
pub fn stock() -> Result<SettingsBuilder> {
    Ok(Settings::builder().toml(include_str!("../stock.toml"))?)
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
