//! A release whose `account.opened` had no currency yet.

use bento::{OutboxConnection, Report};
use sea_orm::ConnectionTrait as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};

use crate::account::Account;

/// Opens an account, and makes its event the one that the older release has written.
pub async fn open_account(db: &OutboxConnection, id: &str) -> Result<(), Report> {
    db.transaction_async(async |tx| {
        let mut account = Account::open(id, "Bob", "");
        tx.save(&mut account).await?;
        for table in ["bento_event", "bento_outbox"] {
            let rewrite = Query::update()
                .table(table)
                .value("schema_version", 1)
                .value("payload", br#"{"owner":"Bob"}"#.to_vec())
                .and_where(Expr::col("aggregate_id").eq(id))
                .to_owned();
            tx.execute(&rewrite).await?;
        }
        Ok::<_, bento::Error>(())
    })
    .await?;
    Ok(())
}
