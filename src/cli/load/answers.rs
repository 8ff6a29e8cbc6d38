//! `ccsmoke load answers`: a source of answers with known delays and faults, served until it is interrupted.

use clap::{Args, ValueEnum};

use super::super::{Exit, Failure, to_stdout};
use crate::load::answers::{AnswerSource, Fault, Manner};
use crate::load::quantity::Time;

#[derive(Debug, Args)]
pub(super) struct AnswersArgs {
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 3284)]
    port: u16,
    /// Until the first piece, or the whole answer
    #[arg(long, value_name = "TIME", default_value = "50ms")]
    first: Time,
    /// Pieces of a stream
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pieces: u32,
    /// Between two pieces
    #[arg(long, value_name = "TIME", default_value = "5ms")]
    gap: Time,
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
    let manner = Manner { first: args.first.0, pieces: args.pieces, gap: args.gap.0, fault, every: args.every };
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
