//! `scargate serve`: runs the gateway, all roles or one.

use crate::app::{self, Role};
use crate::config::Config;
use crate::failure::{Code, Failure};
use crate::telemetry;
use clap::Args;

/// Run the gateway until SIGTERM or SIGINT; running work reaches its next checkpoint first.
#[derive(Debug, Args)]
#[command(after_long_help = "\
One process can run everything; to scale, run one role per process. Several workers share the queue; give each its GPU.

Exit status: 0 after a stop signal, 78 when the configuration is not valid, 75 when a peer that is needed to start is away.")]
pub struct ServeArgs {
    /// What this process runs.
    #[arg(long, value_enum, default_value_t = Role::All, env = "SCARGATE_ROLE")]
    role: Role,
}

/// Runs the command.
///
/// # Errors
/// When the gateway cannot start, or a part of it fails for good.
pub fn run(args: &ServeArgs, config: Config) -> Result<(), Failure> {
    let guard = telemetry::init(&config.telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::permanent(Code::Internal, format!("runtime: {error}")))?;
    let ended = runtime.block_on(app::serve(config, args.role));
    guard.flush();
    ended
}
