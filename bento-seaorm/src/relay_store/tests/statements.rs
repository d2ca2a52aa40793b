//! The number of statements that a call of the relay costs.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[tokio::test]
async fn a_call_costs_two_statements_on_postgres_and_three_elsewhere() {
    on_every_back_end(async |mut db| {
        let statements = counted(&mut db);
        let mut relay = Relay::new(&db).await;
        write(&db, 300).await.commit().await.unwrap();
        relay.call().await;
        relay.call().await;
        statements.store(0, Ordering::SeqCst);
        relay.call().await;
        let expected = if db.get_database_backend() == DbBackend::Postgres {
            2
        } else {
            3
        };
        assert_eq!(statements.load(Ordering::SeqCst), expected);
    })
    .await;
}

/// Counts what is sent to the database.
fn counted(db: &mut DatabaseConnection) -> Arc<AtomicUsize> {
    let statements = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&statements);
    db.set_metric_callback(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    statements
}

#[tokio::test]
async fn holding_back_many_streams_costs_no_statement_for_each() {
    on_every_back_end(async |mut db| {
        let statements = counted(&mut db);
        let relay = Relay::new(&db).await;
        let mut entries: Vec<_> = (0..200).map(|_| entry()).collect();
        entries
            .iter_mut()
            .enumerate()
            .for_each(|(nth, entry)| entry.envelope.aggregate_id = nth.to_string());
        let tx = db.begin().await.unwrap();
        OutboxWriter::new(Tables::default(), Expected::default())
            .write(&tx, entries)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let pending = relay.settle(Vec::new()).await.pending;
        let behind =
            |row: &OutboxRow| Settlement::pending(row.position, "away".into(), Outcome::Behind);
        let settled: Vec<_> = pending.iter().map(behind).collect();
        statements.store(0, Ordering::SeqCst);
        let held = relay.settle(settled).await.held;
        let count = statements.load(Ordering::SeqCst);
        assert_eq!(held.len(), 200, "each heads its stream");
        assert!(count <= 25, "{count} statements");
    })
    .await;
}
