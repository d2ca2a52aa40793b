//! NATS: the server reads settings with another password, and sends away who came with the old one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bento_brokers::nats::{NatsCredentials, NatsPublisher, NatsSettings};
use bento_testkit::publisher::Received;

use self::harness::Harness;
use crate::servers as support;
use crate::servers::PrivateServer;
use crate::withdrawn::{Broker, costs_no_event};

#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-brokers/tests/nats/harness.rs"]
mod harness;

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_withdrawn_for_a_while_costs_no_event() {
    if crate::servers::url("BENTO_TEST_NATS_URL").is_none() {
        return eprintln!("skipped: BENTO_TEST_NATS_URL is not set");
    }
    let server = PrivateServer::start_new(|port, directory| {
        let mut command = Command::new("nats-server");
        command.args([
            "--addr",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--config",
        ]);
        command.arg(write_settings(directory, "right"));
        command
    });
    let Some(server) = server else {
        return eprintln!("skipped: nats-server is not installed");
    };
    let url = format!("nats://127.0.0.1:{}", server.port);
    costs_no_event(Harness::new(url, Some(server)).await).await;
}

fn write_settings(directory: &Path, password: &str) -> PathBuf {
    let file = directory.join("server.conf");
    let users =
        format!("{{ user: operator, password: secret }}, {{ user: relay, password: {password} }}");
    // A client without a name is the operator; one with a wrong password is refused. What only the
    // command line says is lost when this is read again.
    let store = format!("jetstream {{ store_dir: '{}' }}", directory.display());
    fs::write(
        &file,
        format!("authorization {{ users = [ {users} ] }}\nno_auth_user: operator\n{store}\n"),
    )
    .unwrap();
    file
}

impl Harness {
    fn change_password(&self, password: &str) {
        let server = self.server.as_ref().expect("it is private");
        write_settings(&server.directory, password);
        server.reload();
    }
}

impl Broker for Harness {
    type Publisher = NatsPublisher;

    async fn publisher(&self) -> NatsPublisher {
        let port = self.server.as_ref().expect("it is private").port;
        let credentials = NatsCredentials::Password {
            user: "relay".to_owned(),
            password: "right".into(),
        };
        let urls = vec![format!("nats://127.0.0.1:{port}").into()];
        NatsPublisher::new(NatsSettings {
            urls,
            credentials: Some(credentials),
            ..self.settings()
        })
        .unwrap()
    }

    fn topic(&self) -> String {
        "events".to_owned()
    }

    async fn withdraw(&self) {
        self.change_password("another");
    }

    async fn give_back(&self) {
        self.change_password("right");
    }

    async fn received(&self, at_least: usize) -> Vec<Received> {
        bento_testkit::publisher::PublisherHarness::received(self, at_least).await
    }
}
