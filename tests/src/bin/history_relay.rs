//! A relay in a process of its own, to be killed and paused: publishes into the table `broker_log`.
//!
//! `history_relay NAME URL`; it drains and ends when its standard input is closed.

use std::error::Error;
use std::time::Duration;

use bento_relay::Relay;
use bento_seaorm::OutboxStore;
use bento_tests::broker_log::{BrokerLog, connect};
use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (name, url) = (
        arguments.next().ok_or("no name")?,
        arguments.next().ok_or("no url")?,
    );
    let database = connect(url).await?;
    let publisher = BrokerLog {
        name,
        database: database.clone(),
    };
    let relay = Relay::builder(OutboxStore::new(database), publisher)
        .batch(20)
        .lease(Duration::from_secs(2))
        .poll(Duration::from_millis(5), Duration::from_millis(20))
        .start()?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    relay.stop().await?;
    Ok(())
}
