//! What every page begins with: the style that all pages share, and the policy that lets nothing else in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

/// The style that all pages share.
const STYLE: &str = include_str!("base.css");

/// What `base.html`, which the pages extend, needs of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The page's content security policy.
    pub(crate) policy: String,
    /// The page's whole style sheet.
    pub(crate) style: String,
}

impl Head {
    /// The head of a page with a style of its own behind the shared one, and with this script; `""` for none.
    ///
    /// Nothing may be loaded, sent, embedded or run but the one script and the one style sheet, known by their hashes; and no
    /// text can be turned into markup, by the script either.
    pub(crate) fn new(style: &str, script: &str) -> Self {
        let style = format!("{STYLE}{style}");
        let hash = |text: &str| format!("'sha256-{}'", BASE64.encode(Sha256::digest(text)));
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; img-src data:; base-uri 'none'; form-action 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
            hash(script),
            hash(&style)
        );
        Self { policy, style }
    }
}
