//! Shipping: rights, signals and pauses.

use crate::agent::{Agent, Counts};
use crate::cli::Ship;
use crate::messages::say;
use crate::spool::Spool;
use crate::store::{Store, is_below};
use crate::work::WorkDirectory;
use anyhow::{Context, Result, bail};
use std::hash::{BuildHasher as _, RandomState};
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracetui_events::text::{counted, size};
use tracetui_export::Options;
use tracetui_host::confine::{ShipperDirectories, denied, enter_shipper};

/// The pause between two looks at the spool.
const POLL: Duration = Duration::from_secs(5);

/// How often `--once` tries.
const TRIES: u32 = 5;

pub(crate) fn run(args: &Ship) -> Result<ExitCode> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    let code = ship(&runtime, args);
    // A conversion may still run.
    runtime.shutdown_background();
    code
}

fn ship(runtime: &Runtime, args: &Ship) -> Result<ExitCode> {
    let store = Store::open(&args.to)?;
    if store.directory.as_ref().is_some_and(|directory| is_below(&args.spool, directory)) {
        bail!("--to contains the spool: use another directory");
    }
    let spool = Spool::open(&args.spool)?;
    let work = WorkDirectory::open(args.state.as_deref(), spool.as_fd())?;
    let options = Options { micros: args.time == "us", bloom: true };
    let (settled, unreadable, seen, counts) = Default::default();
    let mut agent = Agent { spool, store, work, options, keep: args.keep, settled, unreadable, seen, counts };
    say(format_args!("ships the closed recordings in {} to {}", args.spool.display(), args.to));
    runtime.block_on(async {
        let take = |kind| signal(kind).context("cannot install signal handlers");
        let (mut interrupt, mut terminate) = (take(SignalKind::interrupt())?, take(SignalKind::terminate())?);
        // No thread may exist yet: the rights are those of a thread.
        agent.store.load_resolvers();
        let spool = args.keep.is_some().then_some(agent.spool.as_fd());
        let (state, target) = (agent.work.as_fd(), agent.store.directory.as_deref());
        enter_shipper(ShipperDirectories { spool, state, target }).context("cannot give up rights")?;
        let code = tokio::select! {
            code = rounds(&mut agent, args) => code,
            _ = interrupt.recv() => ExitCode::SUCCESS,
            _ = terminate.recv() => ExitCode::SUCCESS,
        };
        report(&agent);
        denied().iter().for_each(say);
        Ok(code)
    })
}

async fn rounds(agent: &mut Agent, &Ship { once, pause: longest, .. }: &Ship) -> ExitCode {
    let mut failures = 0;
    loop {
        match agent.round().await {
            Ok(()) if once => return ExitCode::SUCCESS,
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                say(format_args!("{error:#}"));
                if once && failures >= TRIES {
                    return ExitCode::FAILURE;
                }
            }
        }
        tokio::time::sleep(pause(failures, longest)).await;
    }
}

/// The pause after so many failures in a row. It is random, so that a fleet does not return at the same moment.
fn pause(failures: u32, longest: Duration) -> Duration {
    let most = if failures == 0 { POLL } else { Duration::from_secs(1 << failures.min(16)) }.min(longest);
    let random = RandomState::new().hash_one(failures) % 1_000;
    most.mul_f64(0.5 + random as f64 / 2_000.0)
}

fn report(agent: &Agent) {
    let Counts { parts, rows, bytes, unreadable, removed } = agent.counts;
    say(format_args!(
        "{} shipped: {}, {}; {unreadable} unreadable; {removed} removed",
        counted(parts, ["part", "parts"]),
        counted(rows, ["event", "events"]),
        size(bytes),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_one() {
        let longest = Duration::from_secs(120);
        for (failures, most) in [(0, 5), (1, 2), (2, 4), (6, 64), (7, 120), (8, 120), (u32::MAX, 120)] {
            let (pause, most) = (pause(failures, longest), Duration::from_secs(most));
            assert!(most / 2 <= pause && pause <= most, "{failures}: {pause:?}");
        }
    }
}
