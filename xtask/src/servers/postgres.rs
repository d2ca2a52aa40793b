//! The set-up and start of a private PostgreSQL.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::private::{Place, Plan, find_program};
use crate::Result;

pub(super) fn plan(place: &Place) -> Result<Plan> {
    let directories = debian_directories();
    let data = place.directory.join("data");
    let mut initialise = Command::new(find_program(&["initdb"], &directories)?);
    initialise
        .args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
            "--pgdata",
        ])
        .arg(&data);
    let mut serve = Command::new(find_program(&["postgres"], &directories)?);
    serve.arg("-D").arg(&data);
    serve.arg("-k").arg(&place.directory);
    serve.args(["-h", "127.0.0.1", "-p", &place.port.to_string()]);
    // Each test makes a database and drops it. That waits for the disk longer than for anything
    // else, and the data of this server need not outlive it.
    serve.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
    serve.args(["-c", "max_connections=300", "-c", "max_wal_size=512MB"]);
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", place.port);
    Ok(Plan {
        initialise: Some(initialise),
        serve,
        url,
        account: Some("postgres"),
        stop_signal: "INT",
    })
}

/// Debian keeps each major version's programs out of `PATH`; the newest first.
fn debian_directories() -> Vec<PathBuf> {
    let Ok(versions) = fs::read_dir("/usr/lib/postgresql") else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let major = entry.file_name().to_str()?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    versions
        .into_iter()
        .map(|(_, directory)| directory)
        .collect()
}
