//! The integration tests: one binary, one module a subject.

mod client;
mod floors;
#[cfg(feature = "live")]
mod live;
mod probe_files;
mod process;
mod provider;
mod support;
mod tap;
mod text_verdict;
