//! The integration tests: one binary, one module a subject.

mod provider;
mod text_verdict;
