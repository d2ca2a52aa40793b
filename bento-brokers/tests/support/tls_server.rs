//! The side of a server in TLS.

use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use super::certificates::Certificates;

/// Shows the certificate of the server. If it `asks`, it lets only clients in that have one
/// themselves.
pub(crate) fn server_config(certificates: &Certificates, asks: bool) -> ServerConfig {
    let read = |name: &str| CertificateDer::from_pem_file(certificates.file(name)).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions();
    let clients = if asks {
        let mut authorities = RootCertStore::empty();
        authorities.add(read("ca.pem")).unwrap();
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
            .build()
            .unwrap()
    } else {
        WebPkiClientVerifier::no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(certificates.file("server.key")).unwrap();
    config
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![read("server.pem")], key)
        .unwrap()
}
