//! The provider's own account of the requests it got, in order of arrival.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::evidence::ProviderRecord;

/// The records of one conversation, or of all that nobody could claim.
#[derive(Default)]
pub(super) struct Ledger {
    records: Mutex<Vec<ProviderRecord>>,
    /// How many answers are being sent.
    open: watch::Sender<usize>,
}

/// The place of one record, to be told when its answer has been sent.
pub(super) struct Receipt {
    ledger: Arc<Ledger>,
    index: usize,
    delivered: bool,
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Vec<ProviderRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record.
    pub(super) fn enter(self: &Arc<Self>, record: ProviderRecord) -> Receipt {
        let mut entries = self.entries();
        entries.push(record);
        self.open.send_modify(|open| *open += 1);
        Receipt { ledger: Arc::clone(self), index: entries.len() - 1, delivered: false }
    }

    /// Resolves when no answer is being sent.
    pub(super) async fn quiet(&self) {
        // The sender lives as long as the ledger.
        drop(self.open.subscribe().wait_for(|open| *open == 0).await);
    }

    /// All records so far.
    pub(super) fn records(&self) -> Vec<ProviderRecord> {
        self.entries().clone()
    }
}

impl Receipt {
    /// The answer was sent to its end.
    pub(super) fn delivered(mut self) {
        self.delivered = true;
    }
}

impl Drop for Receipt {
    /// A receipt that is given up before its time means that the other side went away.
    fn drop(&mut self) {
        if let Some(record) = self.ledger.entries().get_mut(self.index) {
            record.delivered = self.delivered;
            record.abandoned = !self.delivered;
        }
        self.ledger.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}
