//! `tracetui bpf`: all BPF programs and links, with their attachments and holders, and the hidden ones.

use super::messages::{charset, paint};
use crate::bpf_report::{InventoryReport, Window};
use crate::cli::{self, ReportFormat};
use anyhow::{Result, anyhow};
use foldhash::HashSet;
use nix::unistd::{Uid, User};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tracetui_host::{clock, fd_limit};
use tracetui_inspect::{Collector, RunStatistics, update_counters};

/// How long to count runs.
const COUNTED: Duration = Duration::from_secs(1);

pub fn run(args: &cli::BpfArgs) -> Result<ExitCode> {
    // A descriptor is open for each network namespace.
    fd_limit::make_most();
    let statistics = args.stats.then(RunStatistics::enable).transpose();
    let statistics = statistics
        .map_err(|error| anyhow!("cannot count runs: {error}; run as root on the host: sudo tracetui bpf --stats"))?;
    let mut inventory = Collector::default().take_inventory(&HashSet::default())?.without_own();
    let window = statistics.as_ref().map(|_| {
        let start = Instant::now();
        update_counters(&mut inventory);
        let before = inventory.runs.clone();
        std::thread::sleep(COUNTED);
        update_counters(&mut inventory);
        Window { ns: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX), before }
    });
    let report = InventoryReport {
        inventory: &inventory,
        clock_offset: clock::sample().offset_ns,
        charset: charset(),
        user: &|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name),
        window: window.as_ref(),
        paint: paint(args.color),
        counts_runs: statistics.is_some() || RunStatistics::are_on(),
    };
    io::stdout().write_all(&match args.format {
        ReportFormat::Text => report.text(),
        ReportFormat::Json => report.json(),
    })?;
    Ok(ExitCode::SUCCESS)
}
