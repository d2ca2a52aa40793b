//! The databases and brokers that the tests run on.

use std::path::PathBuf;

use super::{private, tansu};

/// A back end or a broker that the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    Mysql,
    Nats,
    Rabbitmq,
    Redis,
    Kafka,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Sqlite,
        Self::Postgres,
        Self::Mysql,
        Self::Nats,
        Self::Rabbitmq,
        Self::Redis,
        Self::Kafka,
    ];

    /// The name of the test modules of this kind, and of `--only`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Nats => "nats",
            Self::Rabbitmq => "rabbitmq",
            Self::Redis => "redis",
            Self::Kafka => "kafka",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// True for brokers, false for databases.
    pub(crate) fn is_broker(self) -> bool {
        matches!(
            self,
            Self::Nats | Self::Rabbitmq | Self::Redis | Self::Kafka
        )
    }

    /// The variable that tells the tests where the server is. SQLite needs none.
    pub(crate) fn variable(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("BENTO_TEST_POSTGRES_URL"),
            Self::Mysql => Some("BENTO_TEST_MYSQL_URL"),
            Self::Nats => Some("BENTO_TEST_NATS_URL"),
            Self::Rabbitmq => Some("BENTO_TEST_RABBITMQ_URL"),
            Self::Redis => Some("BENTO_TEST_REDIS_URL"),
            Self::Kafka => Some("BENTO_TEST_KAFKA_URL"),
        }
    }

    /// The variable that tells the tests which program to start where they need a broker that
    /// stops, and the program if it is there. None where the program is simply in `PATH`.
    pub(crate) fn program(self) -> Option<(&'static str, Option<PathBuf>)> {
        match self {
            Self::Sqlite | Self::Postgres | Self::Mysql | Self::Nats | Self::Redis => None,
            Self::Rabbitmq => {
                let program =
                    private::find_program(&["rabbitmq-server"], &[RABBITMQ_PROGRAMS.into()]);
                Some(("BENTO_TEST_RABBITMQ_SERVER", program.ok()))
            }
            Self::Kafka => Some(("BENTO_TEST_KAFKA_SERVER", tansu::installed())),
        }
    }

    /// The URL of a server with the usual defaults.
    pub(super) fn local_url(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite::memory:",
            Self::Postgres => "postgres://postgres@127.0.0.1:5432/postgres",
            Self::Mysql => "mysql://root@127.0.0.1:3306/",
            Self::Nats => "nats://127.0.0.1:4222",
            Self::Rabbitmq => "amqp://guest:guest@127.0.0.1:5672",
            Self::Redis => "redis://127.0.0.1:6379",
            Self::Kafka => "127.0.0.1:9092",
        }
    }

    pub(super) fn local_address(self) -> (&'static str, u16) {
        let port = match self {
            Self::Sqlite => 0,
            Self::Postgres => 5432,
            Self::Mysql => 3306,
            Self::Nats => 4222,
            Self::Rabbitmq => 5672,
            Self::Redis => 6379,
            Self::Kafka => 9092,
        };
        ("127.0.0.1", port)
    }

    /// The package of Debian that brings the server.
    pub(super) fn package(self) -> Option<&'static str> {
        match self {
            Self::Sqlite | Self::Kafka => None,
            Self::Postgres => Some("postgresql"),
            Self::Mysql => Some("mariadb-server"),
            Self::Nats => Some("nats-server"),
            Self::Rabbitmq => Some("rabbitmq-server"),
            Self::Redis => Some("redis-server"),
        }
    }
}

/// The path in Debian of the program behind `/usr/sbin/rabbitmq-server`, which is a wrapper that
/// changes to another account and drops the environment of its caller.
pub(super) const RABBITMQ_PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
