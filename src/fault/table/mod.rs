//! The table of faults, a file for each few families. Sources of each stand in the catalogue that the names come from.

mod answers;
mod errors;
mod requests;
mod siblings;
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
        siblings::SIBLINGS,
    ];
    let mut faults: Vec<&Fault> = tables.into_iter().flatten().collect();
    faults.sort_by_key(|fault| fault.family);
    faults
});

/// The names of the catalogue: defects that real gateways had. What the table holds beyond them are variants and siblings.
pub fn catalogue() -> impl Iterator<Item = &'static str> {
    include_str!("../catalogue.txt").lines()
}

/// The fault of this name.
pub fn fault(id: &str) -> Option<&'static Fault> {
    FAULTS.iter().copied().find(|f| f.id == id)
}
