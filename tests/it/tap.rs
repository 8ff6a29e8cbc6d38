//! The tap between real sockets: the client and the upstream are written byte by byte.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail like the test itself")]

mod guards;
mod relaying;
mod rig;
mod ruin;
