//! The checks of the Anthropic face, by what they look at.

pub(super) mod answers;
pub(super) mod bodies;
pub(super) mod endpoints;
pub(super) mod passing;
pub(super) mod refusing;
