//! The provider's own account of the requests it got, in order of arrival.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::evidence::ProviderRecord;

/// The records of one conversation, or of all that nobody could claim.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Vec<ProviderRecord>>);

/// The place of one record, to be told when its answer has been sent.
pub(super) struct Receipt {
    ledger: Arc<Ledger>,
    index: usize,
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Vec<ProviderRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record.
    pub(super) fn enter(self: &Arc<Self>, record: ProviderRecord) -> Receipt {
        let mut entries = self.entries();
        entries.push(record);
        Receipt { ledger: Arc::clone(self), index: entries.len() - 1 }
    }

    /// All records so far.
    pub(super) fn records(&self) -> Vec<ProviderRecord> {
        self.entries().clone()
    }
}

impl Receipt {
    /// The answer was sent to its end.
    pub(super) fn delivered(&self) {
        if let Some(record) = self.ledger.entries().get_mut(self.index) {
            record.delivered = true;
        }
    }
}
