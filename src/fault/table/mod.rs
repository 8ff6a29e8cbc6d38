//! The table of faults, a file for each few families. Sources of each stand in the catalogue that the names come from.

mod answers;
mod errors;
mod requests;
mod transport;

use std::sync::LazyLock;

use super::Fault;

/// All faults, by family.
pub static FAULTS: LazyLock<Vec<&'static Fault>> = LazyLock::new(|| {
    let tables = [
        answers::BLOCKS,
        transport::TRANSPORT,
        requests::THINKING,
        answers::TOOL_CALLS,
        requests::HISTORY,
        requests::SCHEMA,
        requests::TOOL_DEFINITIONS,
        requests::SERVER_TOOLS,
        answers::USAGE,
        errors::ERRORS,
        requests::CACHING,
        errors::ROUTING,
    ];
    tables.into_iter().flatten().collect()
});

/// The fault of this name.
pub fn fault(id: &str) -> Option<&'static Fault> {
    FAULTS.iter().copied().find(|f| f.id == id)
}
