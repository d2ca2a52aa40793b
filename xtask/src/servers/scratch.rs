//! A database on a server, made for one run and dropped after it.

use super::{Probe, Server};
use crate::Result;

/// An empty database. It is dropped with this value, and it must be dropped before its server is.
#[derive(Debug)]
pub(crate) struct Scratch<'a> {
    pub(crate) url: String,
    server: &'a Server,
    name: String,
    probe: &'a Probe<'a>,
}

impl<'a> Scratch<'a> {
    /// Makes it. `purpose` is the first part of its name.
    pub(crate) fn create(purpose: &str, server: &'a Server, probe: &'a Probe<'a>) -> Result<Self> {
        let name = format!("{}_{}", purpose.replace('-', "_"), std::process::id());
        let url = within(&server.url, &name)?;
        probe.execute(&server.url, &format!("CREATE DATABASE {name}"))?;
        Ok(Self {
            url,
            server,
            name,
            probe,
        })
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Err(error) = self
            .probe
            .execute(&self.server.url, &format!("DROP DATABASE {}", self.name))
        {
            eprintln!("the database {} is left behind: {error}", self.name);
        }
    }
}

/// The URL of another database of the same server.
fn within(server: &str, name: &str) -> Result<String> {
    let (scheme, rest) = server
        .split_once("://")
        .ok_or_else(|| format!("`{server}` is not a URL"))?;
    let (rest, options) = rest
        .split_once('?')
        .map_or((rest, String::new()), |(rest, all)| {
            (rest, format!("?{all}"))
        });
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    Ok(format!("{scheme}://{authority}/{name}{options}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced() {
        assert_eq!(
            within("postgres://me@host:5432/postgres", "x").unwrap(),
            "postgres://me@host:5432/x"
        );
        assert_eq!(
            within("mysql://root@host:3306/", "x").unwrap(),
            "mysql://root@host:3306/x"
        );
        assert_eq!(
            within("mysql://root@host?ssl-mode=disabled", "x").unwrap(),
            "mysql://root@host/x?ssl-mode=disabled"
        );
        within("host", "x").unwrap_err();
    }
}
