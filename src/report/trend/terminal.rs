//! The history as a table for a terminal.
