//! The stock: a service of its own, with its own database. It knows the shop by its contract alone.

use bento::prelude::*;
use bento::source::MemorySource;

use crate::Result;
use crate::messaging::{Broker, Messaging};

pub mod answer;
pub mod contract;
pub mod migration;
pub mod reservation;

/// The stock, with its database open, its consumer reading and its relay publishing.
#[derive(Debug)]
pub struct Stock(Messaging);

impl Stock {
    /// Opens the database, and starts to handle what the shop publishes.
    pub async fn open(
        database_url: &str,
        settings: &Settings,
        memory: &MemorySource,
    ) -> Result<Self> {
        // A program of one service has `Handlers::registered()`.
        let handlers = Handlers::new(()).add(reservation::reserve::handler());
        let broker = Broker::new(settings, memory)?;
        let migrator = migration::Migrator;
        let started = Messaging::start("stock", database_url, settings, migrator, handlers, broker);
        Ok(Self(started.await?))
    }

    /// Handles events until `stop`.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result {
        tracing::info!("the stock is open");
        tokio::select! {
            ended = self.0.join() => ended?,
            () = stop => {}
        }
        self.close().await
    }

    /// Stops, and closes the database.
    pub async fn close(self) -> Result {
        self.0.stop().await
    }
}
