//! Asking the brokers whether they are there, before a relay starts.

use bento_brokers::ConnectError;
use bento_core::report::with_causes;
use futures_util::future::join_all;

use super::Settings;

/// The brokers that do not answer, or do not accept what is configured. One line for each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(|error| with_causes(error)).collect::<Vec<_>>().join("\n"))]
pub struct CheckErrors(Vec<CheckError>);

/// A broker that does not answer, or does not accept what is configured. It shows no secret.
#[derive(Debug, thiserror::Error)]
#[error("the publisher `{publisher}` of kind `{kind}`{} cannot be used", serving(.destinations))]
#[non_exhaustive]
pub struct CheckError {
    /// The name of the publisher.
    pub publisher: String,
    /// The kind of the publisher.
    pub kind: &'static str,
    /// The names of the destinations that the publisher serves; none without rules.
    pub destinations: Vec<String>,
    /// The reason.
    #[source]
    pub source: ConnectError,
}

impl CheckErrors {
    /// Returns the errors by the names of the publishers; never empty.
    #[must_use]
    pub fn errors(&self) -> &[CheckError] {
        &self.0
    }
}

fn serving(destinations: &[String]) -> String {
    let names: Vec<_> = destinations
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    match &*names {
        [] => String::new(),
        [name] => format!(", which serves the destination {name},"),
        names => format!(", which serves the destinations {},", names.join(", ")),
    }
}

impl Settings {
    /// Connects to every broker that an event can go to, all at once, and closes the connections
    /// again. It is for a program that is to end at its start if one is away or refuses the
    /// credentials; a relay needs no check, because its publishers go on trying.
    ///
    /// It takes as long as the longest `connect_timeout` at most. Webhooks are not asked, since a
    /// request would be an event; console and memory have nothing to ask. A later failure is a
    /// matter of the relay's [health](bento_relay::Health).
    ///
    /// ```
    /// # use bento::MemoryStore;
    /// # use bento::Settings;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = MemoryStore::default();
    /// # let settings = Settings::builder().build()?;
    /// settings.check().await?;
    /// let relay = settings.relay(store)?.start()?;
    /// # relay.stop().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Every broker that cannot be used, with the destinations that it serves.
    ///
    /// # Cancel safety
    /// The attempts are given up, and what was connected is closed in the background.
    pub async fn check(&self) -> Result<(), CheckErrors> {
        let served = self.destinations();
        let checked = join_all(self.used().map(async |(publisher, settings)| {
            let kind = settings.kind();
            let source = settings.check().await.err()?;
            let destinations = served
                .iter()
                .filter(|(name, by)| *by == publisher && !name.is_empty());
            let destinations = destinations.map(|(name, _)| name.clone()).collect();
            Some(CheckError {
                publisher,
                kind,
                destinations,
                source,
            })
        }));
        let errors: Vec<_> = checked.await.into_iter().flatten().collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(CheckErrors(errors))
        }
    }
}

#[cfg(all(test, feature = "nats", feature = "redis"))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    }

    #[tokio::test]
    async fn every_broker_that_is_away_is_named_with_its_destinations() {
        let (nats, redis) = (free_port(), free_port());
        let settings = Settings::builder()
            .toml(&format!(
                r#"
                publisher = "nats"
                [publishers.nats]
                urls = ["nats://relay:hunter2@127.0.0.1:{nats}"]
                [publishers.redis]
                url = "redis://:hunter2@127.0.0.1:{redis}"
                [publishers.unused]
                kind = "redis"
                url = "redis://127.0.0.1:{redis}"
                [router]
                version = 1
                [router.destinations]
                audit = {{}}
                search = {{}}
                cache = {{ publisher = "redis" }}
                shown = {{ publisher = "console" }}
                "#
            ))
            .unwrap()
            .build()
            .unwrap();
        let errors = settings.check().await.unwrap_err();
        let named: Vec<_> = errors
            .errors()
            .iter()
            .map(|error| (&*error.publisher, error.destinations.join(" ")))
            .collect();
        assert_eq!(
            named,
            [
                ("nats", "audit search".to_owned()),
                ("redis", "cache".to_owned())
            ]
        );
        assert!(
            errors
                .errors()
                .iter()
                .all(|error| matches!(error.source, ConnectError::Unreachable { .. }))
        );
        let text = errors.to_string();
        let lines: Vec<_> = text.lines().collect();
        let beginnings = [
            format!(
                "the publisher `nats` of kind `nats`, which serves the destinations `audit`, \
                 `search`, cannot be used: no connection to 127.0.0.1:{nats}: "
            ),
            format!(
                "the publisher `redis` of kind `redis`, which serves the destination `cache`, \
                 cannot be used: no connection to 127.0.0.1:{redis}: "
            ),
        ];
        assert_eq!(lines.len(), 2, "{text}");
        for (line, beginning) in lines.iter().zip(beginnings) {
            assert!(
                line.starts_with(&beginning) && !line.contains("hunter2"),
                "{line}"
            );
        }
    }

    #[tokio::test]
    async fn without_rules_only_the_publisher_is_checked() {
        Settings::default().check().await.unwrap();
        let settings = Settings::builder().toml(&format!(
            "publisher = \"nats\"\npublishers.nats.urls = [\"nats://127.0.0.1:{}\"]",
            free_port()
        ));
        let error = settings
            .unwrap()
            .build()
            .unwrap()
            .check()
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the publisher `nats` of kind `nats` cannot be used: no connection"),
            "{error}"
        );
    }
}
