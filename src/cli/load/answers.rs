//! `ccsmoke load answers`: a source of answers with known delays and faults, served until it is interrupted.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::super::{Exit, Failure, to_stdout};
use crate::load::answers::{AnswerSource, Fault, Manner};
use crate::load::quantity::Time;

/// How answers come that nothing is wrong with.
#[derive(Debug, Args)]
pub(super) struct MannerArgs {
    /// Until the first piece, or the whole answer [default: 50ms]
    #[arg(long, value_name = "TIME")]
    first: Option<Time>,
    /// Pieces of a stream [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pieces: Option<u32>,
    /// Between two pieces [default: 5ms]
    #[arg(long, value_name = "TIME")]
    gap: Option<Time>,
}

impl MannerArgs {
    /// Whether anything was said.
    pub(super) fn is_given(&self) -> bool {
        self.first.is_some() || self.pieces.is_some() || self.gap.is_some()
    }

    /// What was said, and else the defaults.
    pub(super) fn manner(&self) -> Manner {
        let or = |time: Option<Time>, millis| time.map_or(Duration::from_millis(millis), |time| time.0);
        Manner {
            first: or(self.first, 50),
            pieces: self.pieces.unwrap_or(20),
            gap: or(self.gap, 5),
            ..Manner::default()
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct AnswersArgs {
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 3284)]
    port: u16,
    #[command(flatten)]
    manner: MannerArgs,
    /// What goes wrong
    #[arg(long, value_enum, default_value_t = FaultName::None)]
    fault: FaultName,
    /// How often it goes wrong: every n-th request
    #[arg(long, value_name = "N", default_value_t = 1)]
    every: u64,
    /// The status of `--fault status`
    #[arg(long, value_name = "STATUS", default_value_t = 500, value_parser = clap::value_parser!(u16).range(400..=599))]
    status: u16,
    /// When a stall begins, since the source was started
    #[arg(long, value_name = "TIME", default_value = "5s")]
    stall_at: Time,
    /// How long it lasts
    #[arg(long, value_name = "TIME", default_value = "2s")]
    stall_for: Time,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FaultName {
    /// Nothing
    None,
    /// A refusal with a status
    Status,
    /// Status 200 and a body of another shape
    WrongBody,
    /// A stream that breaks off in its middle
    Cut,
    /// No answer at all
    Silence,
    /// All of a stream at once
    Lump,
    /// One stall of all answers
    Stall,
}

pub(super) fn serve(args: &AnswersArgs) -> Result<Exit, Failure> {
    let fault = match args.fault {
        FaultName::None => Fault::None,
        FaultName::Status => Fault::Status(args.status),
        FaultName::WrongBody => Fault::WrongBody,
        FaultName::Cut => Fault::Cut,
        FaultName::Silence => Fault::Silence,
        FaultName::Lump => Fault::Lump,
        FaultName::Stall => Fault::Stall { at: args.stall_at.0, lasts: args.stall_for.0 },
    };
    let manner = Manner { fault, every: args.every, ..args.manner.manner() };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::nothing(format!("no runtime could be started: {e}")))?;
    runtime.block_on(async {
        let source = AnswerSource::start(args.port, manner)
            .await
            .map_err(|e| Failure::usage(format!("port {}: {e}; give another with --port", args.port)))?;
        to_stdout(&format!("answers at {}\n", source.base_url()))?;
        tokio::select! {
            served = source.serve() => served.map_err(Failure::nothing)?,
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(Exit::Good)
    })
}
