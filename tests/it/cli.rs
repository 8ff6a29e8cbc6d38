//! The command line as a person meets it: the built program, with scripts in the place of `claude` where one is launched. Every
//! test looks at the exit code, at what is said, and at what is left on the disk.

mod arguments;
mod asking;
mod budget;
mod clients;
mod judging;
mod live_provider;
mod misbehaviour;
mod redaction;
mod report_form;
mod reports;
mod running_gateway;
mod shards;
mod stand_in;
