//! The tables of refusals.
