//! ccsmoke launches the real Claude Code CLI against an LLM gateway, records the wire, and says what broke and who broke it.
//!
//! The modules in reading order; `DESIGN.md` tells the story in one line per file.

// What we ask.
pub mod file_error;
pub mod probe;
pub mod secret;

// What we saw.
pub mod evidence;
pub mod exchange;
pub mod sse;

// What we drive.
pub mod log_delta;
pub mod tap;
