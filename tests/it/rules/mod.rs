//! The judgement on evidence of the real client: every rule with defects that it finds, and with all that it must not mind.

mod benign;
mod edit;
mod hostile;
mod planted;
