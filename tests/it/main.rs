//! The integration tests: one binary, one module a subject.

mod probe_files;
mod process;
mod provider;
mod text_verdict;
