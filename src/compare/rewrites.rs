//! What a gateway is allowed to change: the declared rewrites of its profile, by their names.

/// The declared rewrites. Which names there are is checked where profiles are read; here an unknown one allows nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rewrites<'a>(pub(super) &'a [String]);

impl Rewrites<'_> {
    /// The name of the model, in requests and in answers.
    pub(super) fn model(self) -> bool {
        self.has("model")
    }

    /// The request's `metadata`.
    pub(super) fn metadata(self) -> bool {
        self.has("metadata")
    }

    /// The query of the request's target.
    pub(super) fn query(self) -> bool {
        self.has("query")
    }

    /// This header, on the way up and on the way down.
    pub(super) fn header(self, name: &str) -> bool {
        let names = self.0.iter().filter_map(|r| r.strip_prefix("header:"));
        names.into_iter().any(|n| n.eq_ignore_ascii_case(name))
    }

    /// Words around the provider's error message.
    pub(super) fn error_message(self) -> bool {
        self.has("error_message")
    }

    /// System texts are moved or joined, and removed where they are empty.
    pub(super) fn system_message(self) -> bool {
        self.has("system_message")
    }

    /// Thinking comes without its signature.
    pub(super) fn thinking_signature(self) -> bool {
        self.has("thinking_signature")
    }

    /// The counts at an answer's start are 0.
    pub(super) fn usage_start(self) -> bool {
        self.has("usage_start")
    }

    /// Marks for the prompt cache.
    pub(super) fn cache_control(self) -> bool {
        self.has("cache_control")
    }

    /// Whether the provider is asked for a stream.
    pub(super) fn stream(self) -> bool {
        self.has("stream")
    }

    /// The provider's pings.
    pub(super) fn pings(self) -> bool {
        self.has("pings")
    }

    /// Not a permission but a promise: failures that can pass are made up for behind the client's back.
    pub(super) fn retries(self) -> bool {
        self.has("retries")
    }

    fn has(self, name: &str) -> bool {
        self.0.iter().any(|r| r == name)
    }
}
