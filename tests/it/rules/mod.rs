//! The judgement on evidence of the real client: every rule with defects that it finds, and with all that it must not mind.
#![expect(
    clippy::assigning_clones,
    clippy::format_collect,
    clippy::needless_for_each,
    reason = "a change to evidence is one short expression in a table"
)]

mod benign;
mod catalogue;
mod edit;
mod hostile;
mod planted;
