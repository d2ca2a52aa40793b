//! Certificates of an authority that exists for one test, made by `openssl`.

#![allow(dead_code, reason = "each test of a broker uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bento_brokers::TlsSettings;

/// Files of an authority, of a server at 127.0.0.1, and of a client; they go when this is dropped.
pub(crate) struct Certificates(PathBuf);

/// The errors of a server that meets a client without a certificate.
#[allow(dead_code, reason = "Kafka says it in other words")]
pub(crate) const REQUIRED: &str = "ertificate";

/// True if a failure says `why`. The server's words may be lost with the connection, which the
/// server ends at once.
#[allow(dead_code, reason = "Kafka says it in other words")]
pub(crate) fn says(chain: &str, why: &str) -> bool {
    let ended = || {
        ["reset by peer", "roken pipe", "onnection closed"]
            .iter()
            .any(|end| chain.contains(end))
    };
    chain.contains(why) || why == REQUIRED && ended()
}

impl Certificates {
    /// `None` if `openssl` is not installed.
    pub(crate) fn make() -> Option<Self> {
        let directory = std::env::temp_dir().join(super::support::unique("bento-test-tls"));
        std::fs::create_dir_all(&directory).unwrap();
        let made = Self(directory);
        let authority = [
            "-x509",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-subj",
            "/CN=test authority",
        ];
        made.request("ca", &authority)?;
        for (name, names) in [
            ("server", "subjectAltName=IP:127.0.0.1"),
            ("client", "subjectAltName=DNS:client"),
        ] {
            let issued = [
                "-x509", "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", names, "-subj", "/CN=test",
            ];
            let end_entity = ["-addext", "basicConstraints=critical,CA:FALSE"];
            made.request(name, &[&issued[..], &end_entity[..]].concat())?;
        }
        Some(made)
    }

    fn request(&self, name: &str, arguments: &[&str]) -> Option<()> {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let mut command = Command::new("openssl");
        command.current_dir(&self.0).args([
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]);
        command
            .args(["-keyout", &key, "-out", &certificate, "-days", "2"])
            .args(arguments);
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .ok()?;
        assert!(status.success(), "openssl makes {name}.pem");
        Some(())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The path of a file as an argument of a server.
    pub(crate) fn argument(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    /// The settings of a client that trusts the authority and has a certificate of its own.
    pub(crate) fn of_the_client(&self) -> TlsSettings {
        TlsSettings {
            required: true,
            ca_file: Some(self.file("ca.pem")),
            certificate_file: Some(self.file("client.pem")),
            key_file: Some(self.file("client.key")),
        }
    }

    /// The same without a certificate of its own.
    pub(crate) fn of_a_stranger(&self) -> TlsSettings {
        TlsSettings {
            certificate_file: None,
            key_file: None,
            ..self.of_the_client()
        }
    }

    /// The same as that of the client, but the client trusts an authority that did not sign the
    /// server's certificate.
    pub(crate) fn of_a_sceptic(&self) -> TlsSettings {
        let other = [
            "-x509",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-subj",
            "/CN=another authority",
        ];
        self.request("other", &other)
            .expect("openssl was there before");
        TlsSettings {
            ca_file: Some(self.file("other.pem")),
            ..self.of_the_client()
        }
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}
