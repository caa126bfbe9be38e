//! The cost of tracing compared with other tracers, on the running kernel: a row for each workload, a column for each tool.
//!
//! `cargo bench --bench peers` (as root) prints the table. Its options:
//! `--rounds N`; `--rows` and `--tools` with names from `ROWS` and `TOOLS`, separated by commas; `--configure DIR`, a source tree
//! with a `configure`; `--noisy`, to measure on a busy machine. `TRACETUI_BIN` is another tracetui to measure, and `TRACETUI_OTHER` one
//! for the tool `other`, which records. `tracetui bpf --stats` shows the time per run of each program meanwhile.
//!
//! Only ratios within one run are meaningful, because the untraced times of two runs differ.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "for whoever runs it")]

mod busy;
mod running;
mod table;
mod tool;
mod work;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use tool::{TOOLS, Tool};
use tracetui_events::synthetic::Scratch;
use work::{ROWS, Row};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["work", row, dir, part] => work::child(row, Path::new(dir), part),
        rest => Options::read(rest).and_then(|options| table::print(&options)),
    };
    done.map_or_else(
        |error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

struct Options {
    rounds: usize,
    rows: Vec<&'static Row>,
    tools: Vec<&'static Tool>,
    configure: Option<PathBuf>,
    noisy: bool,
}

impl Options {
    fn read(words: &[&str]) -> Result<Options> {
        let tools = TOOLS.iter().filter(|tool| !tool.on_request).collect();
        let mut options = Options { rounds: 9, rows: ROWS.iter().collect(), tools, configure: None, noisy: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match *word {
                "--rounds" => options.rounds = value()?.parse()?,
                "--rows" => options.rows = named(&ROWS, |row| row.name, value()?)?,
                "--tools" => options.tools = named(&TOOLS, |tool| tool.name, value()?)?,
                "--configure" => options.configure = Some(fs::canonicalize(value()?)?),
                "--noisy" => options.noisy = true,
                other => return Err(format!("not an option: {other}").into()),
            }
        }
        Ok(options)
    }
}

/// The members of a list with these names, which commas separate.
fn named<T>(all: &'static [T], name: fn(&T) -> &'static str, names: &str) -> Result<Vec<&'static T>> {
    let unknown = |word| format!("unknown: {word}; known: {}", all.iter().map(name).collect::<Vec<_>>().join(","));
    names.split(',').map(|word| all.iter().find(|one| name(one) == word).ok_or_else(|| unknown(word).into())).collect()
}

/// A directory with the files of the workloads and the output of the tools.
struct Place(Scratch);

impl Place {
    fn new(configure: Option<&Path>) -> Result<Place> {
        let place = Place(Scratch::new("peers"));
        (0..work::THREADS).try_for_each(|thread| fs::write(place.0.join(format!("there{thread}")), ""))?;
        let source = place.0.join("source");
        match configure {
            Some(dir) => std::os::unix::fs::symlink(dir, source)?,
            None => {
                fs::create_dir(&source)?;
                fs::write(source.join("configure"), include_str!("configure.sh"))?;
            }
        }
        Ok(place)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Runs a part of a row's calls in a process of its own, and returns the nanoseconds per call. A tool may
    /// start that process.
    fn work(&self, row: &Row, part: u32, tool: Option<Command>) -> Result<f64> {
        let this = std::env::current_exe()?;
        let mut command = match tool {
            Some(mut tool) => {
                tool.arg(this);
                tool
            }
            None => Command::new(this),
        };
        let output = command.args(["work", row.name]).arg(&*self.0).arg(part.to_string()).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }
}

/// The loaded BPF programs, as `tracetui bpf` lists them.
fn programs() -> Result<Vec<serde_json::Value>> {
    let output = Command::new(TOOLS[0].program().ok_or("no tracetui")?).args(["bpf", "--format", "json"]).output()?;
    let list: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).trim().to_owned())?;
    Ok(list["programs"].as_array().cloned().unwrap_or_default())
}
