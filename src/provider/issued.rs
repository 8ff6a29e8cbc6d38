//! What a provider has issued and recognises when it comes back: signatures of thinking, ids, and the assistant turns that
//! called tools.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The secret that a provider signs with and derives its ids from.
pub type Key = [u8; 32];

/// The memory of one provider.
///
/// Signatures need no memory: they are derived from the thinking text and the key. The turns are kept so that thinking that
/// was moved or edited in the latest turn is told from thinking that was never issued, as the real API does.
#[derive(Default)]
pub struct Issued {
    key: Option<Key>,
    turns: RwLock<HashMap<String, Arc<[Value]>>>,
    redacted: RwLock<HashSet<String>>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("knows_key", &self.key.is_some()).finish_non_exhaustive()
    }
}

/// Letters and digits, as the API's ids have them.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How many characters follow an id's prefix.
const ID_CHARS: usize = 24;

impl Issued {
    /// The memory of a provider that signs with `key`.
    pub fn with_key(key: Key) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// The memory of somebody else's provider: a signature has to be there, but whether it is true cannot be told.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// The signature of a thinking text.
    pub fn sign(&self, thinking: &str) -> String {
        BASE64.encode(self.digest(&[b"thinking", thinking.as_bytes()]))
    }

    /// Whether `signature` was issued for exactly this text. Without a key every signature but the empty one passes.
    pub fn verifies(&self, thinking: &str, signature: &str) -> bool {
        if self.key.is_some() { signature == self.sign(thinking) } else { !signature.is_empty() }
    }

    /// An id that is always the same for the same parts, e.g. `toolu_` and 24 letters and digits.
    pub fn id(&self, prefix: &str, parts: &[&[u8]]) -> String {
        let mut all = vec![prefix.as_bytes()];
        all.extend_from_slice(parts);
        let digest = self.digest(&all);
        let chars = digest.iter().take(ID_CHARS).map(|b| char::from(BASE62[usize::from(*b) % BASE62.len()]));
        prefix.chars().chain(chars).collect()
    }

    /// Whether this was issued as redacted thinking. Without a key anything but nothing passes.
    pub fn issued_redacted(&self, data: &str) -> bool {
        if self.key.is_none() {
            return !data.is_empty();
        }
        self.redacted.read().unwrap_or_else(PoisonError::into_inner).contains(data)
    }

    /// Remembers an assistant turn by the ids of its tool calls, and its redacted thinking.
    pub fn remember(&self, blocks: &[Value]) {
        let redacted = blocks.iter().filter(|b| b["type"] == "redacted_thinking").filter_map(|b| b["data"].as_str());
        self.redacted.write().unwrap_or_else(PoisonError::into_inner).extend(redacted.map(str::to_owned));
        let ids = blocks.iter().filter(|b| b["type"] == "tool_use").filter_map(|b| b["id"].as_str());
        let turn: Arc<[Value]> = blocks.into();
        let mut turns = self.turns.write().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            turns.insert(id.to_owned(), Arc::clone(&turn));
        }
    }

    /// The assistant turn in which the tool call of that id was issued.
    pub fn turn_of(&self, tool_use_id: &str) -> Option<Arc<[Value]>> {
        self.turns.read().unwrap_or_else(PoisonError::into_inner).get(tool_use_id).cloned()
    }

    /// A digest keyed by a prefix, with every part's length in front of it. That suffices here: nobody forges, the digest
    /// only has to change with every change of a part.
    fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key.unwrap_or_default());
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_text_and_its_key_only() {
        let (one, other) = (Issued::with_key([1; 32]), Issued::with_key([2; 32]));
        let signature = one.sign("let me think");
        assert!(one.verifies("let me think", &signature));
        assert!(!one.verifies("let me think ", &signature));
        assert!(!one.verifies("let me think", &format!("{signature}=")));
        assert!(!other.verifies("let me think", &signature));
        assert!(Issued::unknown().verifies("anything", "c2ln"));
        assert!(!Issued::unknown().verifies("anything", ""));
    }

    #[test]
    fn ids_have_the_shape_of_the_api_and_depend_on_every_part() {
        let issued = Issued::with_key([1; 32]);
        let id = issued.id("toolu_", &[b"a", b"bc"]);
        assert_eq!(id.len(), "toolu_".len() + ID_CHARS);
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        assert_eq!(id, issued.id("toolu_", &[b"a", b"bc"]));
        assert_ne!(id, issued.id("toolu_", &[b"ab", b"c"]));
        assert_ne!(id, Issued::with_key([3; 32]).id("toolu_", &[b"a", b"bc"]));
    }

    #[test]
    fn a_turn_is_found_by_each_of_its_calls() {
        let issued = Issued::with_key([1; 32]);
        let turn = [
            serde_json::json!({"type": "text", "text": "x"}),
            serde_json::json!({"type": "tool_use", "id": "a", "name": "Read", "input": {}}),
            serde_json::json!({"type": "tool_use", "id": "b", "name": "Read", "input": {}}),
        ];
        issued.remember(&turn);
        assert_eq!(issued.turn_of("a").as_deref(), Some(&turn[..]));
        assert_eq!(issued.turn_of("b").as_deref(), Some(&turn[..]));
        assert!(issued.turn_of("c").is_none());
    }
}
