//! What the commands that run cells have in common: which probes and clients, what is masked, and the run itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::progress::Progress;
use crate::cell::{CellPlan, Rig};
use crate::client::{self, Client, ClientError, Surroundings};
use crate::near::did_you_mean;
use crate::probe::Probe;
use crate::probes::{ProbeSet, sha256};
use crate::redact::Redactor;
use crate::report::plan::{PlanFacts, Shard};
use crate::report::{CliFacts, MatrixReport};
use crate::run::{Event, RunOptions, run};
use crate::stand::Stand;
use crate::world::World;

/// The probes that were asked for, or all.
pub(super) fn chosen(set: &ProbeSet, asked: &[String]) -> Result<Vec<Arc<Probe>>, Failure> {
    if asked.is_empty() {
        return Ok(set.probes.iter().cloned().map(Arc::new).collect());
    }
    let unknown = |name: &str| {
        let hint = did_you_mean(name, set.probes.iter().map(|p| p.id.as_str()));
        Failure::usage(format!("there is no probe {name:?}; {hint}`ccsmoke probes` lists all"))
    };
    let mut probes: Vec<Arc<Probe>> = Vec::new();
    for name in asked {
        let probe = set.get(name).ok_or_else(|| unknown(name))?;
        if !probes.iter().any(|p| p.id == probe.id) {
            probes.push(Arc::new(probe.clone()));
        }
    }
    Ok(probes)
}

/// What masks the secrets of the environment, the targets' credentials among them.
pub(super) fn redactor(stands: &[Arc<Stand>], world: &World) -> Result<Redactor, Failure> {
    let credentials: Vec<&str> = stands.iter().filter_map(|s| s.credential_variable()).collect();
    let redactor = Redactor::with_credentials(world.variables(), &credentials).map_err(Failure::usage)?;
    match redactor.unusable().as_slice() {
        [] => Ok(redactor),
        names => Err(Failure::usage(format!(
            "{}: by its name this variable holds a secret, but its value is a word of the protocol; masking it everywhere would \
             leave nothing to judge: unset it for the run (`env -u {} ccsmoke run …`)",
            names.join(", "),
            names.join(" -u ")
        ))),
    }
}

/// The clients that were asked for, or the one that is there.
pub(super) async fn clients(
    claude: Option<&Path>,
    versions: &[String],
    world: &World,
    progress: &mut Progress,
) -> Result<Vec<Arc<Client>>, Failure> {
    let surroundings =
        Surroundings { environment: &world.environment, folder: &world.folder, limits: client::Limits::default() };
    let mut tell = |step: client::Progress<'_>| progress.preparing(&step.to_string());
    let found = if versions.is_empty() {
        client::find(claude, &surroundings, &mut tell).await.map(|client| vec![client])
    } else {
        client::versions(versions, &surroundings, &mut tell).await
    };
    let failure = |e: ClientError| if e.is_usage() { Failure::usage(e) } else { Failure::nothing(e) };
    Ok(found.map_err(failure)?.into_iter().map(Arc::new).collect())
}

/// The clients as the report tells of them.
pub(super) fn client_facts(clients: &[Arc<Client>]) -> Vec<CliFacts> {
    clients.iter().map(|c| CliFacts { version: c.version.clone(), sha256: c.sha256.clone() }).collect()
}

/// How many cells may be alive at once: as asked, or what the memory holds.
pub(super) fn jobs(asked: Option<u16>, world: &World) -> usize {
    asked.map_or_else(|| world.cells_in_memory(), usize::from)
}

/// The plan as the report tells it.
pub(super) fn plan_facts(plan: &[CellPlan], rules: String, shard: Option<Shard>) -> PlanFacts {
    let probes = plan.iter().map(|cell| (cell.probe.id.clone(), sha256(&cell.probe.source)));
    PlanFacts { cells: plan.iter().map(CellPlan::name).collect(), probes: probes.collect(), rules, shard }
}

/// Runs the cells, and shows each event as it comes.
pub(super) async fn carry_out(
    rig: &Arc<Rig>,
    plan: Vec<CellPlan>,
    options: RunOptions,
    cancel: CancellationToken,
    mut see: impl FnMut(&Event),
) -> Result<(MatrixReport, PathBuf), Failure> {
    let (tell, mut events) = mpsc::unbounded_channel::<Event>();
    let running = run(Arc::clone(rig), plan, options, tell, cancel);
    let seeing = async {
        while let Some(event) = events.recv().await {
            see(&event);
        }
    };
    let (done, ()) = tokio::join!(running, seeing);
    done.map_err(Failure::usage)
}
