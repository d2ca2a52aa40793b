//! Another system: a mail service that sends one mail for each key.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bento::handlers::IdempotencyKey;

/// A mail service, with the keys of all calls. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Mailer(Arc<Mutex<Vec<IdempotencyKey>>>);

impl Mailer {
    /// Sends a mail. The first answer about order A-2 is lost on its way.
    pub async fn send(&self, key: IdempotencyKey, order: &str) -> Result<(), io::Error> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = keys.contains(&key);
        keys.push(key);
        if order == "A-2" && !is_known {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    /// The numbers of calls and of mails.
    pub fn counts(&self) -> (usize, usize) {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (keys.len(), keys.iter().collect::<HashSet<_>>().len())
    }
}
