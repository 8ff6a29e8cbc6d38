//! The integration tests: one binary, one module a subject.

mod client;
mod process;
mod provider;
mod text_verdict;
