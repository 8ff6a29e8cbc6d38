//! Everything that is made from stored reports: what it says, and that nothing in a report can make it say anything else.

mod diff;
mod form;
mod hostile;
mod merge;
mod shown;
mod trend;
