//! The integration tests: one binary, one module a subject.

mod process;
mod provider;
mod text_verdict;
