//! The measurements, and the table of them.

use crate::running::{Account, Running};
use crate::tool::{Ready, Tool, installed};
use crate::work::{Measure, Row};
use crate::{Options, Place, Result, busy};
use std::ffi::CStr;
use std::path::Path;
use std::time::Duration;

/// How long a tool is idle.
const IDLE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Cell {
    values: Vec<f64>,
    accounts: Vec<Account>,
    error: Option<String>,
}

struct Table {
    tools: Vec<&'static Tool>,
    rows: Vec<(&'static Row, Vec<Cell>)>,
}

pub(crate) fn print(options: &Options) -> Result<()> {
    if let Err(error) = have_tracefs() {
        println!("no tracefs for the peers: {error}");
    }
    let mut noise = busy::reasons()?;
    if !noise.is_empty() && !options.noisy {
        return Err(format!("The machine is busy: {}. End that, or measure with --noisy.", noise.join("; ")).into());
    }
    let place = Place::new(options.configure.as_deref())?;
    let mut table = Table::new(options);
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for (row, cells) in &mut table.rows {
            measure(row, &table.tools, cells, &place, round);
        }
    }
    if noise.is_empty() {
        noise = busy::reasons()?;
    }
    table.show(options, &noise);
    Ok(())
}

/// Measures a row once under each tool.
fn measure(row: &Row, tools: &[&'static Tool], cells: &mut [Cell], place: &Place, round: usize) {
    if round >= row.rounds() {
        return;
    }
    let untraced = match row.measure {
        Measure::Slowdown(_) | Measure::Added => {
            // The first also warms caches and clocks.
            let warm = if round == 0 { place.work(row, 1, None) } else { Ok(0.0) };
            warm.and_then(|_| place.work(row, 1, None))
        }
        _ => Ok(0.0),
    };
    for (tool, cell) in tools.iter().zip(cells).filter(|(tool, _)| tool.measures(row) && round < tool.rounds) {
        let value = match &untraced {
            Ok(untraced) => cell.sample(tool, row, place, *untraced),
            Err(error) => Err(error.to_string().into()),
        };
        match value {
            Ok(value) => cell.values.push(value),
            Err(error) => cell.error = Some(error.to_string()),
        }
    }
}

impl Cell {
    /// Measures once, and returns the value. An account is kept.
    fn sample(&mut self, tool: &'static Tool, row: &Row, place: &Place, untraced: f64) -> Result<f64> {
        let value = |traced| match row.measure {
            Measure::Added => traced - untraced,
            _ => traced / untraced,
        };
        if tool.ready == Ready::Starts {
            let command = tool.command(row, place).ok_or("not installed")?;
            return place.work(row, tool.part, Some(command)).map(value);
        }
        let running = Running::start(tool, row, place)?;
        let value = match row.measure {
            Measure::Slowdown(_) | Measure::Added => value(place.work(row, 1, None)?),
            Measure::Idle => running.idle(IDLE) * 100.0,
            Measure::Start => running.ready_after.as_secs_f64() * 1e3,
            Measure::Latency => running.latency()?.as_secs_f64() * 1e3,
        };
        self.accounts.extend(running.end()?);
        Ok(value)
    }

    fn value(&self) -> String {
        let Some(median) = median(&self.values) else { return "-".to_owned() };
        let (low, high) = (self.values.iter().copied().reduce(f64::min), self.values.iter().copied().reduce(f64::max));
        match low.zip(high) {
            Some((low, high)) if self.values.len() > 1 => {
                format!("{} ({}–{})", number(median), number(low), number(high))
            }
            _ => number(median),
        }
    }

    fn account(&self) -> String {
        let per_event = |one: &Account| one.cpu.as_secs_f64() * 1e6 / one.delivered.max(1) as f64;
        let per_event = median(&self.accounts.iter().map(per_event).collect::<Vec<_>>());
        let sum = |of: fn(&Account) -> u64| self.accounts.iter().map(of).sum::<u64>();
        per_event.map_or(String::new(), |us| format!("{us:.2} µs {}/{}", sum(|one| one.delivered), sum(|one| one.lost)))
    }
}

impl Table {
    fn new(options: &Options) -> Table {
        let tools: Vec<_> = options.tools.iter().filter(|tool| tool.program().is_some()).copied().collect();
        let cells = || tools.iter().map(|_| Cell::default()).collect();
        let rows = options.rows.iter().filter(|row| row.name != "configure" || installed("cc").is_some());
        Table { rows: rows.map(|row| (*row, cells())).collect(), tools }
    }

    fn show(&self, options: &Options, noise: &[String]) {
        let names = self.tools.iter().map(|tool| tool.name.to_owned());
        let mut lines: Vec<Vec<String>> = vec![std::iter::once(String::new()).chain(names).collect()];
        for (row, cells) in &self.rows {
            lines.push(std::iter::once(row.title.to_owned()).chain(cells.iter().map(Cell::value)).collect());
            // A workload makes events.
            let is_work = matches!(row.measure, Measure::Slowdown(_));
            let accounts = cells.iter().map(|cell| if is_work { cell.account() } else { String::new() });
            lines.push(std::iter::once(String::new()).chain(accounts).collect());
        }
        lines.retain(|line| line.iter().any(|cell| !cell.is_empty()));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..=self.tools.len()).map(width).collect();
        for line in &lines {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        self.notes(options, noise);
    }

    fn notes(&self, options: &Options, noise: &[String]) {
        println!(
            "\nTime, as a multiple of the untraced time: median (lowest–highest) of {} interleaved rounds. Below it: CPU time of the \
             tracer per event, and events delivered/lost in all rounds. Figures with a unit: at most 3 rounds; idle: {} s, once.",
            options.rounds,
            IDLE.as_secs()
        );
        for tool in self.tools.iter().filter(|tool| tool.part > 1) {
            println!(
                "{}: at most 3 rounds, 1/{} of the calls except in configure; the multiples are per call.",
                tool.name, tool.part
            );
        }
        for tool in options.tools.iter().filter(|tool| tool.program().is_none()) {
            println!("{}: not installed, not measured", tool.name);
        }
        if self.rows.len() < options.rows.len() {
            println!("configure: no C compiler (cc), not measured");
        }
        for (row, cells) in &self.rows {
            for (tool, error) in
                self.tools.iter().zip(cells).filter_map(|(tool, cell)| Some((tool, cell.error.as_ref()?)))
            {
                println!("{} under {}: {error}", row.name, tool.name);
            }
        }
        if !noise.is_empty() {
            println!("These figures are from a busy machine: {}", noise.join("; "));
        }
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// A number with three digits, or all those before the point.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// Mounts tracefs for this process and its children only, if it is not mounted at the usual place. The peers need it there.
fn have_tracefs() -> Result<()> {
    let at = c"/sys/kernel/tracing";
    if Path::new("/sys/kernel/tracing/events").is_dir() {
        return Ok(());
    }
    let mount = |what: &CStr, to: &CStr, flags| {
        // SAFETY: the strings are NUL-terminated and outlive the call, and mount(2) accepts null for the data.
        let ret = unsafe { libc::mount(what.as_ptr(), to.as_ptr(), what.as_ptr(), flags, std::ptr::null()) };
        if ret == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: unshare(2) takes an integer. This process has no other threads yet.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE)?;
    mount(c"tracefs", at, 0)?;
    Ok(())
}
