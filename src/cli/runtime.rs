//! Where asynchronous commands run, and how a signal ends them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Exit, Failure};
use crate::world::World;

/// Carries out a command that waits for many things at once.
pub(super) fn in_runtime(command: impl Future<Output = Result<Exit, Failure>>, world: &World) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(world.cores.clamp(1, 4))
        .enable_all()
        .build()
        .map_err(|e| Failure::nothing(format!("no runtime could be started: {e}")))?;
    let done = runtime.block_on(command);
    // Blocking reads of hostile pipes must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Cancels at the first interrupt or termination; at the second one the program ends at once, and the supervisors, whose
/// control channels then close, end every client.
pub(super) async fn cancel_on_signal(cancel: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    for again in [false, true] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if again {
            std::process::exit(i32::from(Exit::Interrupted as u8));
        }
        cancel.cancel();
    }
}
