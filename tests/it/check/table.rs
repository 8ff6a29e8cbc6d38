//! The documentation names every requirement of the checklist.
