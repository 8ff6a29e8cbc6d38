//! A credential that cannot be printed by accident.

use std::fmt;

use subtle::ConstantTimeEq as _;

/// A secret text. `Debug` hides the value, there is no `Display`, and it cannot be serialised.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this is the value shown, compared in a time that does not depend on where they differ.
    pub fn matches(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(<hidden>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_not_printed_and_is_compared_whole() {
        let secret = Secret::new("sk-hush");
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(<hidden>) Secret(<hidden>)");
        assert!(secret.matches(b"sk-hush"));
        assert!(!secret.matches(b"sk-hus") && !secret.matches(b"sk-hush ") && !secret.matches(b""));
    }
}
