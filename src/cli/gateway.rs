//! `ccsmoke gateway`: the reference gateway, served until it is interrupted; as it is, or with one fault or variation.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Failure, Format, to_stdout};
use crate::capability::Capability;
use crate::config::Price;
use crate::fault::{self, Applied, FAULTS, Family, VARIATIONS};
use crate::reference::telling::{Flaw, Telling};
use crate::reference::{Alteration, Behind, Config, Extras, Failing, READY_PATH, ReferenceGateway};
use crate::tap::Upstream;

/// Arguments of `ccsmoke gateway`.
#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// The base URL of the provider behind it, without /v1
    #[arg(long, value_name = "URL", required_unless_present = "list")]
    upstream: Option<String>,
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    /// Have this defect
    #[arg(long, value_name = "ID", conflicts_with = "variation")]
    fault: Option<String>,
    /// Differ in this way, which is no defect
    #[arg(long, value_name = "ID")]
    variation: Option<String>,
    /// Translate to Chat Completions; faults that exist only there do so anyway
    #[arg(long)]
    openai: bool,
    /// Tell of health, counters and requests below /_ccsmoke/
    #[arg(long)]
    telling: bool,
    /// Tell of them wrongly in this way
    #[arg(long, value_enum, value_name = "FLAW")]
    telling_flaw: Option<Flaw>,
    /// Ask this provider when the one before fails (repeatable)
    #[arg(long, value_name = "URL", conflicts_with = "openai")]
    fallback: Vec<String>,
    /// Ask nobody else after this failure, which is a defect
    #[arg(long, value_enum, value_name = "FAILURE", requires = "fallback")]
    gives_up_after: Option<Failing>,
    /// List the faults and the variations
    #[arg(long, conflicts_with_all = ["upstream", "fault", "variation"])]
    list: bool,
    /// How to list them
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// A fault as it is listed.
#[derive(Serialize)]
struct Listed {
    id: &'static str,
    family: Option<Family>,
    title: &'static str,
    breaks: &'static [Capability],
    codes: &'static [&'static str],
    probes: &'static [&'static str],
}

/// Runs `ccsmoke gateway`.
pub(super) fn main(args: &GatewayArgs) -> Result<Exit, Failure> {
    if args.list {
        return list(args.format);
    }
    let config = config(args)?;
    let extras = extras(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::nothing(format!("no runtime could be started: {e}")))?;
    runtime.block_on(async {
        let port = config.port;
        let (mut interrupt, mut terminate) = signal(SignalKind::interrupt())
            .and_then(|i| Ok((i, signal(SignalKind::terminate())?)))
            .map_err(|e| Failure::nothing(format!("signals cannot be awaited: {e}")))?;
        let gateway = ReferenceGateway::start_with(config, extras).await.map_err(|e| {
            Failure::usage(format!("--port {port}: the gateway cannot listen there: {e}; give another one, or 0"))
        })?;
        let base_url = gateway.base_url();
        to_stdout(&format!("listening on {base_url} (ready: {base_url}{READY_PATH})\n"))?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(Exit::Good)
    })
}

fn config(args: &GatewayArgs) -> Result<Config, Failure> {
    let unknown = |option: &str, id: &str| Failure::usage(fault::unknown(option, id));
    let (changes, behind) = match (&args.fault, &args.variation) {
        (Some(id), _) => fault::fault(id).map(|f| (f.changes, f.behind)).ok_or_else(|| unknown("fault", id))?,
        (None, Some(id)) => {
            fault::variation(id).map(|v| (v.changes, v.behind)).ok_or_else(|| unknown("variation", id))?
        }
        (None, None) => (&[][..], Behind::Anthropic),
    };
    let upstream = args.upstream.as_deref().unwrap_or_default();
    let upstream = Upstream::parse(upstream, None).map_err(|e| Failure::usage(format!("--upstream: {e}")))?;
    let alteration = (!changes.is_empty()).then(|| Arc::new(Applied(changes)) as Arc<dyn Alteration>);
    let behind = if args.openai { Behind::Openai } else { behind };
    Ok(Config { port: args.port, upstream, behind, alteration })
}

/// What the gateway has beside its provider.
fn extras(args: &GatewayArgs) -> Result<Extras, Failure> {
    let parse = |url: &String| Upstream::parse(url, None).map_err(|e| Failure::usage(format!("--fallback: {e}")));
    let fallbacks = args.fallback.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let names = (0..=fallbacks.len()).map(|n| format!("provider-{}", n + 1)).collect();
    let wanted = args.telling || args.telling_flaw.is_some();
    let telling = wanted.then(|| Arc::new(Telling::new(names, PRICE, args.telling_flaw)));
    Ok(Extras { telling, fallbacks, gives_up_after: args.gives_up_after, ..Extras::default() })
}

/// What a million tokens cost in the gateway's books, in millionths of a dollar.
const PRICE: Price = Price { input: 3_000_000, output: 15_000_000, cache_read: 300_000, cache_write: 3_750_000 };

fn list(format: Format) -> Result<Exit, Failure> {
    let faults = FAULTS.iter().map(|f| Listed {
        id: f.id,
        family: Some(f.family),
        title: f.title,
        breaks: f.breaks,
        codes: f.codes,
        probes: f.probes,
    });
    let variations = VARIATIONS.iter().map(|v| Listed {
        id: v.id,
        family: None,
        title: v.title,
        breaks: &[],
        codes: &[],
        probes: &[],
    });
    let mut text = String::new();
    for entry in faults.chain(variations) {
        match format {
            Format::Json => text += &(serde_json::to_string(&entry).map_err(Failure::usage)? + "\n"),
            Format::Human => {
                let family = entry.family.map_or('-', Family::letter);
                let _ = writeln!(text, "{family}  {:<60}  {}", entry.id, entry.title);
            }
        }
    }
    to_stdout(&text)?;
    Ok(Exit::Good)
}
