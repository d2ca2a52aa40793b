//! The relays that are alive.

use bento_relay::store::{RecordedHandler, RelayId};
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::Beating;
use super::share::Alive;
use crate::dialect::{after, binds};
use crate::relay_store::handlers;

impl Beating<'_> {
    /// Records the heartbeat, and removes the relays whose heartbeats have expired.
    pub(super) async fn sign_of_life(&self) -> Result<(), DbErr> {
        let relay = self.beat.relay.0;
        let lanes = self.beat.lanes.as_ref().map(|lanes| {
            let lanes: Vec<_> = lanes.iter().map(u16::to_string).collect();
            lanes.join(",")
        });
        let handlers = handlers::served_to_text(&self.beat.handlers);
        let update = self.sql(
            "UPDATE {relay} SET expires_at = ?, lanes = ?, handlers = ? WHERE id = ?",
            binds![after(self.beat.ttl), lanes.clone(), handlers.clone(), relay],
        );
        let updated = self.store.db.execute_raw(update.build()).await?;
        if updated.rows_affected() > 0 {
            return Ok(());
        }
        let insert = self.sql(
            "INSERT INTO {relay} (id, lanes, handlers, expires_at) VALUES (?, ?, ?, ?)",
            binds![relay, lanes, handlers, after(self.beat.ttl)],
        );
        self.execute(insert.or_leave(self.tables.relay(), &["id"]))
            .await
    }

    pub(super) async fn alive(&self, recorded: &[RecordedHandler]) -> Result<Vec<Alive>, DbErr> {
        let select = self.sql(
            "SELECT id, lanes, CASE WHEN expires_at > {now} THEN 1 ELSE 0 END, handlers \
             FROM {relay} ORDER BY id",
            [],
        );
        let mut relays = Vec::new();
        for row in self.store.db.query_all_raw(select.build()).await? {
            let id: Uuid = row.try_get_by_index(0)?;
            let lanes: Option<String> = row.try_get_by_index(1)?;
            if row.try_get_by_index::<i32>(2)? == 1 || id == self.beat.relay.0 {
                let served = handlers::served_at(&row, 3)?;
                let is_complete = recorded.iter().all(|handler| handler.is_served_by(&served));
                relays.push(Alive::new(RelayId(id), lanes.as_deref(), is_complete));
            } else {
                self.execute(self.sql(
                    "DELETE FROM {relay} WHERE expires_at <= {now} AND id = ?",
                    binds![id],
                ))
                .await?;
            }
        }
        Ok(relays)
    }
}
