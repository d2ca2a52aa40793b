//! The way of Bento: an aggregate raises, `save` appends, `load` makes it of its events again.

use bento_benchmarks::Result;
use bento_relay::event_store::EventStore as _;
use bento_seaorm::{DatabaseEvents, OutboxConnection};
use sqlx::PgPool;

use crate::account::{Account, Booking, KeptAccount, Totals};

pub(crate) struct Bento {
    db: OutboxConnection,
    events: DatabaseEvents,
    /// The account that is appended to.
    account: Account,
}

impl Bento {
    pub(crate) fn new(pool: &PgPool, account: &str) -> Self {
        let db = OutboxConnection::new(pool.clone().into());
        Self {
            events: DatabaseEvents::new(db.clone()),
            db,
            account: Account {
                id: account.to_owned(),
                ..Account::default()
            },
        }
    }

    pub(crate) async fn append(&mut self, bookings: usize) -> Result {
        let tx = self.db.begin().await?;
        for booking in Booking::samples(self.stored(), bookings) {
            self.account.book(booking);
        }
        tx.save(&mut self.account).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The number of events of the account that is appended to.
    pub(crate) fn stored(&self) -> usize {
        self.account.version.unsigned_abs() as usize
    }

    pub(crate) async fn load(&self, id: &str) -> Result<Totals> {
        let loaded = self.events.load::<Account>(id).await?;
        Ok(loaded.map(|account| account.totals).unwrap_or_default())
    }

    pub(crate) async fn load_kept(&self, id: &str) -> Result<Totals> {
        let loaded = self.events.load::<KeptAccount>(id).await?;
        Ok(loaded.map(|account| account.totals).unwrap_or_default())
    }

    /// Stores an account of this number of events, with snapshots.
    pub(crate) async fn fill_kept(&self, id: &str, events: usize) -> Result {
        let mut account = KeptAccount {
            id: id.to_owned(),
            ..KeptAccount::default()
        };
        for first in (0..events).step_by(10) {
            for booking in Booking::samples(first, 10.min(events - first)) {
                account.book(booking);
            }
            self.events.save(&mut account).await?;
        }
        Ok(())
    }
}
