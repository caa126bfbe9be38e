//! What processes use.

use crate::app::Usage;
use rustix::param::page_size;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use tracetui_events::event::process::ProcessKey;
use tracetui_host::procfs::Scanner;

/// The usage of tracetui. Its memory is RssAnon: the resident pages without those of files (`statm`, proc(5)).
pub(super) fn own() -> Option<Usage> {
    let cpu = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok()?;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages = |at| statm.split(' ').nth(at)?.parse::<u64>().ok();
    Some(Usage { cpu, resident: pages(1)?.saturating_sub(pages(2)?) * page_size() as u64 })
}

/// The usage of those of these processes that run.
pub(super) fn of(keys: &[ProcessKey]) -> Vec<(ProcessKey, Usage)> {
    let Ok(scanner) = Scanner::new() else { return Vec::new() };
    let used = |key: &ProcessKey| {
        let (cpu, resident) = scanner.used(key.tgid, key.start)?;
        Some((*key, Usage { cpu, resident }))
    };
    keys.iter().filter_map(used).collect()
}
