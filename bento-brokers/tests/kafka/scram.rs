//! The server's part of SCRAM (RFC 5802): it verifies that the client knows the password, and
//! proves that it knows it too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};

const SALT: &[u8] = b"the salt of the tests";
/// The least that librdkafka accepts.
const ITERATIONS: usize = 4096;

#[derive(Clone, Copy)]
pub(crate) struct Hash {
    mac: fn(&[u8], &[u8]) -> Vec<u8>,
    digest: fn(&[u8]) -> Vec<u8>,
}

pub(crate) const SHA_256: Hash = Hash {
    mac: |key, text| {
        Hmac::<Sha256>::new_from_slice(key)
            .unwrap()
            .chain_update(text)
            .finalize()
            .into_bytes()
            .to_vec()
    },
    digest: |text| Sha256::digest(text).to_vec(),
};

pub(crate) const SHA_512: Hash = Hash {
    mac: |key, text| {
        Hmac::<Sha512>::new_from_slice(key)
            .unwrap()
            .chain_update(text)
            .finalize()
            .into_bytes()
            .to_vec()
    },
    digest: |text| Sha512::digest(text).to_vec(),
};

/// One conversation with a client: two messages each.
pub(crate) struct Conversation {
    hash: Hash,
    /// The first message of the client, without its header, and the answer.
    begun: Option<(String, String)>,
}

impl Conversation {
    pub(crate) fn new(hash: Hash) -> Self {
        Self { hash, begun: None }
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// `None` refuses.
    pub(crate) fn answer(&mut self, said: &str, user: &str, password: &str) -> Option<String> {
        match self.begun.take() {
            None => {
                let first = said.strip_prefix("n,,")?;
                let nonce = first.strip_prefix(&format!("n={user},r="))?;
                let answer = format!("r={nonce}gate,s={},i={ITERATIONS}", STANDARD.encode(SALT));
                self.begun = Some((first.to_owned(), answer.clone()));
                Some(answer)
            }
            Some((first, answer)) => self.verify(&format!("{first},{answer}"), said, password),
        }
    }

    fn verify(&self, begun: &str, said: &str, password: &str) -> Option<String> {
        let Hash { mac, digest } = self.hash;
        let (said, proof) = said.split_once(",p=")?;
        let all = format!("{begun},{said}");
        let salted = self.salted(password.as_bytes());
        let stored = digest(&mac(&salted, b"Client Key"));
        let proof = STANDARD.decode(proof).ok()?;
        let key: Vec<_> = proof
            .iter()
            .zip(mac(&stored, all.as_bytes()))
            .map(|(left, right)| left ^ right)
            .collect();
        if digest(&key) != stored {
            return None;
        }
        let signature = mac(&mac(&salted, b"Server Key"), all.as_bytes());
        Some(format!("v={}", STANDARD.encode(signature)))
    }

    fn salted(&self, password: &[u8]) -> Vec<u8> {
        let mut last = (self.hash.mac)(password, &[SALT, &[0, 0, 0, 1]].concat());
        let mut salted = last.clone();
        for _ in 1..ITERATIONS {
            last = (self.hash.mac)(password, &last);
            salted
                .iter_mut()
                .zip(&last)
                .for_each(|(sum, byte)| *sum ^= byte);
        }
        salted
    }
}
