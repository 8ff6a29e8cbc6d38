//! ccsmoke launches the real Claude Code CLI against an LLM gateway, records the wire, and says what broke and who broke it.
//!
//! The modules in reading order; `DESIGN.md` tells the story in one line per file.

// What we ask.
pub mod capability;
pub mod config;
pub mod file_error;
pub mod model;
pub mod near;
pub mod placeholder;
pub mod probe;

// What we saw.
pub mod decode;
pub mod evidence;
pub mod exchange;
pub mod messages;
pub mod openai;
pub mod redact;
pub mod sse;
pub mod transcript;

// What we conclude.
pub mod case;
pub mod compare;
pub mod control;
pub mod finding;
pub mod judge;
pub mod rules;
pub mod tap_log;
pub mod text_evidence;
pub mod text_rules;
pub mod verdict;

// What we drive.
pub mod client;
pub mod door;
pub mod fault;
pub mod gateway;
pub mod launch;
pub mod log_delta;
pub mod process;
pub mod provider;
pub mod reference;
pub mod secret;
pub mod send;
mod serve;
pub mod tap;
pub mod target;
pub mod workspace;

// What we tell.
pub mod report;

// How it goes.
pub mod budget;
pub mod cell;
pub mod check;
pub mod cli;
pub mod doctor;
pub mod judge_text;
pub mod load;
pub mod pace;
pub mod probes;
pub mod run;
pub mod selftest;
pub mod stand;
pub mod world;
