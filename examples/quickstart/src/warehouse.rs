//! The receiving side: a publisher that decodes each event, as a consumer behind a broker would.

use bento::Envelope;
use bento::codec::DecodeError;
use bento::publish::{Delivery, PublishError, Publisher};
use tokio::sync::watch;

use crate::order::{OrderPaid, OrderPlaced};

/// A warehouse that acts on orders. Clones are the same warehouse.
#[derive(Clone, Debug, Default)]
pub struct Warehouse {
    received: watch::Sender<usize>,
}

impl Warehouse {
    /// Waits until it has received this number of events.
    pub async fn received(&self, events: usize) {
        let mut received = self.received.subscribe();
        received
            .wait_for(|count| *count >= events)
            .await
            .expect("the sender lives as long as this");
    }

    /// The number of received events.
    pub fn count(&self) -> usize {
        *self.received.borrow()
    }

    /// Whatever version an event was stored with, it is decoded as the current struct.
    fn handle(envelope: &Envelope) -> Result<String, DecodeError> {
        Ok(match envelope.event_type.as_ref() {
            "order.placed" => {
                let placed: OrderPlaced = envelope.decode()?;
                format!("reserve goods for {} {}", placed.total, placed.currency)
            }
            "order.paid" => format!("ship {}", envelope.decode::<OrderPaid>()?.order_id),
            _ => "not for us".to_owned(),
        })
    }
}

impl Publisher for Warehouse {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let mut answers = Vec::with_capacity(batch.len());
        for Delivery { envelope, .. } in batch {
            let Envelope {
                aggregate_id,
                event_type,
                schema_version,
                ..
            } = envelope.as_ref();
            answers.push(match Self::handle(envelope) {
                Ok(action) => {
                    println!("   {aggregate_id}  {event_type} v{schema_version} → {action}");
                    Ok(())
                }
                Err(error) => Err(PublishError::permanent("cannot be decoded").because(error)),
            });
        }
        self.received.send_modify(|count| *count += answers.len());
        answers
    }
}
