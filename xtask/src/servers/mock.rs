//! The mock cluster of librdkafka, on which the tests of Kafka run where no broker is found.

use super::{Kind, Probe, Server};
use crate::Result;

/// The value of the variable for the tests, in place of a URL.
pub(super) const NAME: &str = "mock";

/// The mock cluster, which each test makes for itself: it needs no program.
pub(super) fn use_it(kind: Kind, _: &Probe<'_>) -> Result<Server> {
    let why_less = "it asks for no TLS and no password, and a broker that stops is cut off, not \
                    killed; the tests of these need tansu, which `cargo xtask test --only kafka` \
                    builds once for each user";
    match kind {
        Kind::Kafka => Ok(Server {
            url: NAME.to_owned(),
            version: "librdkafka's mock cluster".to_owned(),
            source: "in each test".to_owned(),
            limits: Some(why_less),
            _running: None,
        }),
        _ => Err(format!("there is no mock of {}", kind.name()).into()),
    }
}
