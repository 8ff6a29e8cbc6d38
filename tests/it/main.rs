//! The integration tests: one binary, one module a subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail like the test itself"
)]

mod check;
mod cli;
mod client;
mod compare;
mod config;
mod doctor;
mod faults;
mod floors;
mod gateway;
mod html;
#[cfg(feature = "live")]
mod live;
mod load;
mod loopback;
mod probe_files;
mod process;
mod provider;
mod provider_openai;
mod reference;
mod reports;
mod rules;
mod scripted;
mod support;
mod tap;
mod text_verdict;
