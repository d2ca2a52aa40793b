//! The other service, as far as the broker shows it.

use std::time::Duration;

use bento::source::{MemorySource, Message, RawMessage};
use bento::{Envelope, EventId, Inbox, Report};
use chrono::Utc;

/// The shop and its broker.
#[derive(Debug)]
pub struct Shop {
    broker: MemorySource,
    inbox: Inbox,
}

impl Shop {
    pub fn new(broker: MemorySource, inbox: Inbox) -> Self {
        Self { broker, inbox }
    }

    /// Sends a message, and waits until the stock service is done with it.
    pub async fn sends(&self, message: Message) -> Result<(), Report> {
        self.broker.send_message(message);
        self.broker.wait_for_acknowledged(self.broker.sent()).await;
        while self.inbox.backlog(1).await? > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// The messages that were sent, and those that are acknowledged.
    pub fn counts(&self) -> (usize, usize) {
        (self.broker.sent(), self.broker.acknowledged())
    }
}

/// An order is confirmed.
pub fn confirmed(order: &str, packets: i64) -> Message {
    let payload = format!(r#"{{"order_id":"{order}","packets":{packets}}}"#);
    let mut event = Envelope::new("order.confirmed", 1, Utc::now(), payload);
    event.aggregate_type = "order".into();
    event.aggregate_id = order.to_owned();
    Message::event(event)
}

/// A mail was sent.
pub fn mail() -> Message {
    Message::event(Envelope::new("mail.sent", 1, Utc::now(), "{}"))
}

/// Another program has sent something else.
pub fn garbage() -> Message {
    let raw = RawMessage::new("message 5 of the stream", "<order/>");
    Message::unreadable(EventId::new(), "the message is not an event", raw)
}
