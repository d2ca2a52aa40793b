//! By hand with sqlx, on Bento's own tables: one statement that raises the head and writes the
//! store and the outbox, one that reads.

use bento_benchmarks::Result;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use crate::account::{ACCOUNT, Booking, KEPT_ACCOUNT, Totals};

const APPEND: &str = "WITH head AS (UPDATE bento_event_stream SET sequence = $4 + $5
        WHERE aggregate_type = $2 AND aggregate_id = $3 AND sequence = $4 RETURNING sequence),
    batch AS MATERIALIZED (SELECT $4 + e.nth AS sequence, e.*
        FROM head, UNNEST($6::uuid[], $7::text[], $8::timestamptz[], $9::bytea[])
            WITH ORDINALITY AS e (event_id, event_type, occurred_at, payload, nth)),
    stored AS (INSERT INTO bento_event (event_id, event_type, schema_version, aggregate_type,
            aggregate_id, sequence, occurred_at, payload)
        SELECT event_id, event_type, 1, $2, $3, sequence, occurred_at, payload
        FROM batch ORDER BY nth)
    INSERT INTO bento_outbox (shard, event_id, event_type, schema_version, aggregate_type,
        aggregate_id, sequence, occurred_at, payload)
    SELECT $1, event_id, event_type, 1, $2, $3, sequence, occurred_at, payload
    FROM batch ORDER BY nth";

const LOAD: &str = "SELECT sequence, event_type, schema_version, payload FROM bento_event
    WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence";

/// The snapshot as a row without an event type, and the events behind it.
const LOAD_KEPT: &str = "WITH kept AS MATERIALIZED (SELECT sequence, state FROM bento_snapshot
        WHERE aggregate_type = $1 AND aggregate_id = $2)
    SELECT sequence, NULL AS event_type, NULL AS schema_version, state AS payload FROM kept
    UNION ALL SELECT sequence, event_type, schema_version, payload FROM bento_event
    WHERE aggregate_type = $1 AND aggregate_id = $2
        AND sequence > COALESCE((SELECT sequence FROM kept), 0)
    ORDER BY sequence";

pub(crate) struct ByHand {
    pool: PgPool,
    /// The account that is appended to.
    id: String,
    account: Account,
}

#[derive(Default)]
struct Account {
    version: i64,
    totals: Totals,
}

/// The part of a snapshot that is read.
#[derive(Deserialize)]
struct State {
    totals: Totals,
}

impl ByHand {
    /// An account without events, whose head is to be raised from 0.
    pub(crate) async fn new(pool: &PgPool, account: &str) -> Result<Self> {
        sqlx::query("INSERT INTO bento_event_stream VALUES ($1, $2, 0)")
            .bind(ACCOUNT)
            .bind(account)
            .execute(pool)
            .await?;
        Ok(Self {
            pool: pool.clone(),
            id: account.to_owned(),
            account: Account::default(),
        })
    }

    pub(crate) async fn append(&mut self, bookings: usize) -> Result {
        let mut tx = self.pool.begin().await?;
        let mut columns = Columns::with_capacity(bookings);
        for booking in Booking::samples(self.stored(), bookings) {
            self.account.totals.book(&booking);
            columns.push(&booking)?;
        }
        let written = sqlx::query(APPEND)
            .bind(7_i32)
            .bind(ACCOUNT)
            .bind(&self.id)
            .bind(self.account.version)
            .bind(bookings as i64)
            .bind(&columns.event_ids)
            .bind(&columns.event_types)
            .bind(&columns.occurred_at)
            .bind(&columns.payloads)
            .execute(&mut *tx)
            .await?;
        if written.rows_affected() != bookings as u64 {
            return Err("another one has appended".into());
        }
        tx.commit().await?;
        self.account.version += bookings as i64;
        Ok(())
    }

    /// The number of events of the account that is appended to.
    pub(crate) fn stored(&self) -> usize {
        self.account.version.unsigned_abs() as usize
    }

    pub(crate) async fn load(&self, id: &str) -> Result<Totals> {
        let rows = sqlx::query(LOAD)
            .bind(ACCOUNT)
            .bind(id)
            .fetch_all(&self.pool)
            .await?;
        let mut account = Account::default();
        for row in &rows {
            account.apply(row)?;
        }
        Ok(account.totals)
    }

    pub(crate) async fn load_kept(&self, id: &str) -> Result<Totals> {
        let rows = sqlx::query(LOAD_KEPT)
            .bind(KEPT_ACCOUNT)
            .bind(id)
            .fetch_all(&self.pool)
            .await?;
        let mut account = Account::default();
        for row in &rows {
            match row.try_get::<Option<&str>, _>(1)? {
                Some(_) => account.apply(row)?,
                None => {
                    let state: State = serde_json::from_slice(row.try_get(3)?)?;
                    account = Account {
                        version: row.try_get(0)?,
                        totals: state.totals,
                    };
                }
            }
        }
        Ok(account.totals)
    }
}

impl Account {
    fn apply(&mut self, row: &PgRow) -> Result {
        let (sequence, version): (i64, i32) = (row.try_get(0)?, row.try_get(2)?);
        if sequence != self.version + 1 {
            return Err(format!("event {} is missing", self.version + 1).into());
        }
        let (event_type, payload): (&str, &[u8]) = (row.try_get(1)?, row.try_get(3)?);
        match (event_type, version) {
            ("account.deposited", 1) => self.totals.deposit(&serde_json::from_slice(payload)?),
            ("account.withdrawn", 1) => self.totals.withdraw(&serde_json::from_slice(payload)?),
            _ => return Err(format!("event {sequence} is not known").into()),
        }
        self.version = sequence;
        Ok(())
    }
}

struct Columns {
    event_ids: Vec<Uuid>,
    event_types: Vec<&'static str>,
    occurred_at: Vec<DateTime<Utc>>,
    payloads: Vec<Vec<u8>>,
}

impl Columns {
    fn with_capacity(rows: usize) -> Self {
        Self {
            event_ids: Vec::with_capacity(rows),
            event_types: Vec::with_capacity(rows),
            occurred_at: Vec::with_capacity(rows),
            payloads: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, booking: &Booking) -> Result {
        let (event_type, payload) = match booking {
            Booking::Deposited(deposited) => ("account.deposited", serde_json::to_vec(deposited)?),
            Booking::Withdrawn(withdrawn) => ("account.withdrawn", serde_json::to_vec(withdrawn)?),
        };
        self.event_ids.push(Uuid::now_v7());
        self.event_types.push(event_type);
        self.occurred_at.push(Utc::now());
        self.payloads.push(payload);
        Ok(())
    }
}
