//! The command line as a person meets it: the built program, with scripts in the place of `claude` where one is launched. Every
//! test looks at the exit code, at what is said, and at what is left on the disk.

mod arguments;
mod clients;
mod judging;
mod misbehaviour;
mod redaction;
mod report_form;
mod reports;
mod shards;
mod stand_in;
