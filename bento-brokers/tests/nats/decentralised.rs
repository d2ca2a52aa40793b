//! An operator of NATS who signs accounts and users, as the tool `nsc` does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An operator with one account for applications and one for the system.
pub(crate) struct Operator {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Operator {
    pub(crate) fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
            system: KeyPair::new_account(),
        }
    }

    /// The configuration of a server that accepts the operator's accounts.
    pub(crate) fn configuration(&self) -> String {
        let system = self.system.public_key();
        let operator = signed(
            &self.operator,
            &self.operator,
            json!({ "type": "operator", "system_account": system }),
        );
        let streams =
            json!({ "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1 });
        let account = self.account(&self.account, streams);
        let of_the_system = self.account(&self.system, json!({}));
        let public = self.account.public_key();
        format!(
            "operator: {operator}\nsystem_account: {system}\nresolver: MEMORY\n\
             resolver_preload: {{ {public}: {account}, {system}: {of_the_system} }}\n"
        )
    }

    fn account(&self, account: &KeyPair, further: Value) -> String {
        let mut limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1
        });
        let Value::Object(further) = further else {
            unreachable!("limits are an object")
        };
        limits.as_object_mut().unwrap().extend(further);
        signed(
            &self.operator,
            account,
            json!({ "type": "account", "limits": limits }),
        )
    }

    /// A file of credentials.
    pub(crate) fn credentials_of_a_user(&self) -> String {
        let user = KeyPair::new_user();
        let rights =
            json!({ "type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1 });
        let (token, seed) = (signed(&self.account, &user, rights), user.seed().unwrap());
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// A token in which `issuer` says of `subject` what it may.
fn signed(issuer: &KeyPair, subject: &KeyPair, mut claims: Value) -> String {
    claims["version"] = 2.into();
    let (issuer_key, subject) = (issuer.public_key(), subject.public_key());
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let body = json!({
        "jti": subject, "iat": 1, "iss": issuer_key, "name": "test", "sub": subject, "nats": claims
    });
    let [header, body] = [header, body].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{body}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}
