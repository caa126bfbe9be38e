//! Command-line arguments. Invalid ones are reported here, with exit status 2, before anything is opened.
//!
//! Each subcommand has a struct. Shared options are flattened into them ([`TraceArgs`], [`ScreenOptions`]). A new
//! subcommand needs a variant of [`Command`] here and a file in [`crate::command`].

mod help;
mod record;
pub(crate) mod size;
#[cfg(test)]
mod tests;

use crate::view::palette::{PALETTES, Palette};
use clap::builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Parser, Subcommand, ValueEnum};
pub use record::{AroundArgs, Record, Rotate};
use size::{ByteSize, RingSize, ring_count};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use tracetui_events::environment::EnvMode;
use tracetui_events::filter::{FilterOptions, Glob};
use tracetui_events::limits;
use tracetui_events::sink::FormatName;
pub use tracetui_events::text::time::Moment;
use tracetui_live::Way;
use tracetui_shared::kind::{Kind, KindSet};

#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "tracetui",
    version,
    about = "Trace execs, exits, file opens, TCP connections and BPF program attachments on Linux, live in the terminal",
    override_usage = "tracetui [OPTIONS] [FILTERS] [-- COMMAND [ARG]...]\n       tracetui <SUBCOMMAND>",
    subcommand_value_name = "SUBCOMMAND",
    subcommand_help_heading = "Subcommands",
    after_help = help::MAIN,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// The subcommand; without one, the dashboard.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub dashboard: Dashboard,
}

impl Cli {
    /// Whether the last argument is a `--` without a COMMAND, which clap accepts. An empty shell variable would
    /// otherwise trace the whole system instead of one command.
    pub fn lacks_command(&self, last: Option<&OsStr>) -> bool {
        let run = match &self.command {
            None => &self.dashboard.run,
            Some(Command::Print(print)) => &print.run,
            Some(Command::Record(record)) => &record.run,
            Some(_) => return false,
        };
        run.command.is_empty() && last == Some(OsStr::new("--"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Print live events as lines on stdout
    Print(Print),
    /// Record events into a file, without a screen
    Record(Record),
    /// Show a recording in the dashboard
    Replay(Replay),
    /// Extract part of a recording
    Cut(Cut),
    /// Convert recordings for other programs
    Export(Export),
    /// Show what a recording contains
    Info(Info),
    /// Compare two recorded runs
    Diff(Diff),
    /// List the files that a recorded run read and wrote, with their packages
    Files(Files),
    /// List all BPF programs and links, their attach points and holders
    Bpf(BpfArgs),
    /// Check how each probe attaches; if it cannot, show why and the remedy
    Doctor(Doctor),
    /// Show the kernel field offsets found in a BTF file
    Btf(BtfArgs),
    /// Write shell completions to stdout
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write the manual page to stdout
    Man,
    /// List the keys of the dashboard
    Keys(Keys),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Keys {
    #[command(flatten)]
    pub color: ColorOption,
    #[command(flatten)]
    pub config: ConfigOptions,
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Dashboard {
    /// Record the trace into FILE from the start; the key w records later
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    #[command(flatten)]
    pub screen: ScreenOptions,
    #[command(flatten)]
    pub trace: TraceArgs,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[command(after_help = help::PRINT)]
pub struct Print {
    /// Print these recordings, merged by time, instead of live events; - is stdin
    #[arg(value_name = "FILE", conflicts_with_all = ["command", "write"])]
    pub recordings: Vec<PathBuf>,
    /// Also record the events into FILE
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Output format: text, json (one object per line) or csv
    #[arg(long, value_name = "FORMAT", value_parser = format_name(), default_value = "text", hide_possible_values = true)]
    pub format: FormatName,
    /// csv: add a last column, json, with the whole event
    #[arg(long)]
    pub json_column: bool,
    /// Show why opens, execs and connects failed; live only, it looks up files and sockets; text and json
    #[arg(long)]
    pub why: bool,
    /// Only failures that nothing answered, as the key e in the dashboard: no search that succeeded later; live, 5 s late
    #[arg(long, conflicts_with = "failed")]
    pub unanswered: bool,
    /// Stop after N events, not counting lost rows
    #[arg(short = 'n', long, value_name = "N", value_parser = count)]
    pub count: Option<u64>,
    /// Stop at the first event that matches EXPR, with status 3; with status 1 if events are lost
    #[arg(long, value_name = "EXPR", conflicts_with_all = ["count", "filter"])]
    pub expect_none: Option<String>,
    /// Start at a time in the recording: since the first event (30s, 3:12) or by the local clock (14:02:11, nearest to the recording, or with a date); 14:02 is a time of day in a shorter recording and from a pipe
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "recordings", conflicts_with = "command")]
    pub from: Option<Moment>,
    /// Stop at a time in the recording, like --from
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "recordings", conflicts_with = "command")]
    pub to: Option<Moment>,
    #[command(flatten)]
    pub color: ColorOption,
    #[command(flatten)]
    pub trace: TraceArgs,
    #[command(flatten)]
    pub run: Run,
}

impl From<Dashboard> for Print {
    /// The dashboard without a terminal.
    fn from(dashboard: Dashboard) -> Print {
        let Dashboard { write, screen, trace, run } = dashboard;
        Print { write, color: screen.color, trace, run, ..Print::default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = help::REPLAY)]
pub struct Replay {
    /// The recording, or the files of one trace; - is stdin
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Playback speed, such as 2x, 16x or 1/4x
    #[arg(long, value_name = "SPEED", default_value_t)]
    pub speed: crate::app::replay::Speed,
    /// Go to a time: since the start (30s, 3:12) or by the local clock (14:02:11, nearest to the recording, or with a date); 14:02 is a time of day in a shorter recording and from a pipe
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<Moment>,
    #[command(flatten)]
    pub screen: ScreenOptions,
    /// Memory limit for loaded events and process data; a longer recording is loaded in part [default: 256 MiB]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    #[command(flatten)]
    pub filters: FilterArgs,
}

fn file_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error: size::SizeError| error.to_string())?;
    if size.0 < limits::FILE_MIN {
        return Err(format!(
            "the minimum size of a file is {}; write a size such as 100MiB",
            ByteSize(limits::FILE_MIN)
        ));
    }
    Ok(size)
}

/// A parser of words that each stand for a value. A word may have a help text.
fn words<T: Copy + Send + Sync + 'static>(
    all: impl IntoIterator<Item = (&'static str, T, &'static str)>,
) -> impl TypedValueParser<Value = T> {
    let all: Vec<_> = all.into_iter().collect();
    let shown = all.iter().map(|(word, _, help)| match *help {
        "" => PossibleValue::new(*word),
        help => PossibleValue::new(*word).help(help),
    });
    PossibleValuesParser::new(shown).try_map(move |given: String| {
        all.iter().find(|(word, ..)| *word == given).map(|(_, value, _)| *value).ok_or("no such value")
    })
}

fn format_name() -> impl TypedValueParser<Value = FormatName> {
    words(FormatName::ALL.map(|(name, format)| (name, format, "")))
}

fn count(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a number of events, at least 1".to_owned())
}

fn glob(text: &str) -> Result<Glob, String> {
    Glob::new(text.as_bytes())
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    tracetui_events::text::time::duration(text)
        .ok_or_else(|| "write a time such as 10s, 90 (seconds) or 1h 30m".to_owned())
}

fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text).ok_or_else(|| {
        "write a time such as 30s, 0.05, 3:12, 14:02:11, 2026-11-20T14:02:11 or 2026-11-20T14:02:11+02:00".to_owned()
    })
}

/// The events of a time span.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Span {
    /// Start at a time: since the first event (30s, 3:12) or by the local clock (14:02:11, nearest to the recording, or with a date); 14:02 is a time of day in a shorter recording and from a pipe
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<Moment>,
    /// Stop at a time, like --from
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<Moment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = help::CUT)]
pub struct Cut {
    /// The recordings, of one machine; - is stdin
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The new recording; - is stdout
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Replace OUT if it exists
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub span: Span,
    /// Replace matches in arguments, paths and names by …; repeatable
    #[arg(long, value_name = "REGEX")]
    pub redact: Vec<String>,
    #[command(flatten)]
    pub filters: FilterArgs,
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = help::EXPORT)]
pub struct Export {
    /// The recordings, merged by time; - is stdin
    #[arg(value_name = "FILE", required = true)]
    pub recordings: Vec<PathBuf>,
    /// Output format: perfetto, parquet, json or csv
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub format: ExportFormat,
    /// csv: add a last column, json, with the whole event
    #[arg(long)]
    pub json_column: bool,
    /// The file to write; - is stdout
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Replace OUT if it exists
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub span: Span,
    #[command(flatten)]
    pub filters: FilterArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, ValueEnum)]
pub enum ExportFormat {
    /// A trace for the UI of Perfetto.
    Perfetto,
    /// A table with typed columns.
    Parquet,
    /// As `print --format json`.
    Json,
    /// As `print --format csv`.
    Csv,
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Info {
    /// The recordings; - is stdin
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Report format: text or json (one object per line)
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, hide_possible_values = true)]
    pub format: ReportFormat,
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = help::DIFF, override_usage = "tracetui diff [OPTIONS] <A>... <B>")]
pub struct Diff {
    /// The recordings of good runs, whose differences are noise, and last the one to compare; - is stdin
    #[arg(value_name = "RECORDING", required = true)]
    pub files: Vec<PathBuf>,
    /// Output format: text or json (one object per line, a summary at the end)
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, hide_possible_values = true)]
    pub format: ReportFormat,
    /// Also show differences that may follow from others
    #[arg(long)]
    pub all: bool,
    /// Ignore files, programs, arguments and addresses that match; repeatable
    #[arg(long, value_name = "GLOB", value_parser = glob, allow_hyphen_values = true)]
    pub ignore: Vec<Glob>,
    /// Also show noise: differences that the good runs have among themselves
    #[arg(long)]
    pub noise: bool,
    /// Also show which processes took at least 0.1 s and 20 % longer in B; this does not make the runs different
    #[arg(long)]
    pub slower: bool,
    /// Memory limit; anything beyond it is not compared, but reported as unknown [default: 768 MiB]
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(limits::DIFF_MEMORY), hide_default_value = true)]
    pub memory: ByteSize,
    #[command(flatten)]
    pub filters: FilterArgs,
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = help::FILES)]
pub struct Files {
    /// The recordings of one machine; - is stdin
    #[arg(value_name = "FILE", required = true)]
    pub recordings: Vec<PathBuf>,
    /// Only files that were opened for reading, or executed
    #[arg(long)]
    pub read: bool,
    /// Only files that were opened for writing; with --read, both
    #[arg(long)]
    pub written: bool,
    /// List the packages instead, with the number of their files
    #[arg(long)]
    pub packages: bool,
    #[command(flatten)]
    pub span: Span,
    /// The file system that has the packages [default: /]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Read the files, and add the SHA-256 of those that are still the same; needs --format json or cyclonedx
    #[arg(long, requires = "format", conflicts_with = "packages")]
    pub sha256: bool,
    /// Output format: text, json (one object per line) or cyclonedx (a bill of materials)
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, hide_possible_values = true)]
    pub format: FilesFormat,
    #[command(flatten)]
    pub filters: FilterArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, ValueEnum)]
pub enum FilesFormat {
    /// A table.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
    /// A CycloneDX document.
    Cyclonedx,
}

/// Whether a path stands for stdin or stdout.
pub fn is_stream(path: &std::path::Path) -> bool {
    path.as_os_str() == "-"
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = help::DOCTOR)]
pub struct Doctor {
    /// Report format: text or json
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, hide_possible_values = true)]
    pub format: ReportFormat,
    /// Generate an event of each kind and check that each probe reports it
    #[arg(long)]
    pub probe: bool,
    #[command(flatten)]
    pub color: ColorOption,
    #[command(flatten)]
    pub btf: BtfOption,
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = help::BPF)]
pub struct BpfArgs {
    /// Count and time the runs of all programs for one second
    #[arg(long)]
    pub stats: bool,
    /// Report format: text or json
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, hide_possible_values = true)]
    pub format: ReportFormat,
    #[command(flatten)]
    pub color: ColorOption,
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = help::BTF)]
pub struct BtfArgs {
    /// BTF file to read, such as a copy of /sys/kernel/btf/vmlinux; - is stdin
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
}

/// The COMMAND to run and trace, with its descendants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Run {
    /// Run COMMAND as the user who invoked sudo; trace only it and its descendants
    #[arg(last = true, value_name = "COMMAND [ARG]")]
    pub command: Vec<OsString>,
    /// Do not record what COMMAND writes to its terminal
    #[arg(long)]
    pub no_output: bool,
}

/// A BTF file to use instead of the kernel's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct BtfOption {
    /// Read the kernel's BTF from FILE, for a kernel that has none
    #[arg(long = "btf", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, ValueEnum)]
pub enum ReportFormat {
    /// Human-readable text.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Where the probes attach, as far as the kernel can.
const WAYS: [(&str, Way, &str); 3] = [
    ("auto", Way::Auto, "What loses no event on this kernel: tracepoints up to 6.19, functions from 7.0 on"),
    ("tracepoints", Way::Typed, "Tracepoints"),
    (
        "functions",
        Way::Functions,
        "Kernel functions (5.18+ with CONFIG_FPROBE): other system calls pay nothing, but up to 6.19 events may be missing, uncounted",
    ),
];

/// Which variables of the environment exec events contain.
const ENVIRONMENTS: [(&str, EnvMode, &str); 4] = [
    ("off", EnvMode::Off, "Nothing"),
    ("names", EnvMode::Names, "The names of variables that are new or gone"),
    (
        "diff",
        EnvMode::Values,
        "Also the values of new and changed ones that are harmless: paths, locales, compiler flags, the loader's variables",
    ),
    ("all", EnvMode::All, "Also all other values, and with them secrets"),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct TraceArgs {
    /// Size of the kernel's ring buffers together, rounded up to a power of two [default: 16 MiB, or 4 MiB each]
    #[arg(long, value_name = "SIZE")]
    pub ring_size: Option<RingSize>,
    /// Number of ring buffers, a power of two that the CPUs share [default: 1 up to 8 CPUs, else one per CPU, at most 64]
    #[arg(long, value_name = "N", env = "TRACETUI_RINGS", hide_env = true, value_parser = ring_count)]
    pub rings: Option<u32>,
    /// Interval of BPF inventories, for tests
    #[arg(long, value_name = "TIME", env = "TRACETUI_INVENTORY", hide = true, value_parser = duration)]
    pub inventory: Option<std::time::Duration>,
    /// Where the probes attach
    #[arg(long, value_name = "WAY", value_parser = words(WAYS), default_value = "auto", hide_default_value = true)]
    pub probes: Way,
    /// Memory limit for kept events and process data; the oldest events are evicted [default: 256 MiB]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Kinds that also get kernel stacks (bpf always does); none turns all stacks off
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = Offering(stacks_of, stack_words), hide_possible_values = true)]
    pub stack: Vec<KindSet>,
    /// Changes of the environment that exec events show, since the process's previous program or its parent [default: names]
    #[arg(long, value_name = "WHAT", value_parser = words(ENVIRONMENTS))]
    pub env: Option<EnvMode>,
    /// Also show the other descriptors below 64 that new programs inherit, not only stdin, stdout and stderr
    #[arg(long)]
    pub fds: bool,
    /// Device, inode, size and change time of opened files; executed ones always have them [default: on; record: off]
    #[arg(long, value_name = "SWITCH", value_enum)]
    pub identity: Option<Switch>,
    /// Also which process wrote to a file, at its last close (kind file, op=write)
    #[arg(long)]
    pub written: bool,
    #[command(flatten)]
    pub btf: BtfOption,
    // Last: its heading would stand above what follows.
    #[command(flatten)]
    pub filters: FilterArgs,
}

impl TraceArgs {
    /// The number of rings, and the bytes of each.
    pub fn rings(&self) -> (u32, u32) {
        let count = self.rings.unwrap_or_else(tracetui_live::default_rings);
        let total =
            self.ring_size.map_or(limits::RING_DEFAULT.max(u64::from(count) * limits::RING_EACH), RingSize::bytes);
        let each = (total / u64::from(count)).max(limits::RING_MIN);
        (count, u32::try_from(each).unwrap_or(u32::MAX))
    }

    pub fn memory(&self) -> ByteSize {
        self.memory.unwrap_or(ByteSize(limits::MEMORY_DEFAULT))
    }

    /// The kinds whose events have the kernel stack: those that have it by default and those that are named, or none.
    pub fn stacks(&self) -> KindSet {
        let all = self.stack.iter().fold(KindSet::WITH_STACK, |all, kinds| all | *kinds);
        if self.stack.contains(&KindSet::NONE) { KindSet::NONE } else { all }
    }
}

/// The kind of a value of `--stack`; no kind of `none`.
fn stacks_of(word: &str) -> Result<KindSet, String> {
    let kind = Kind::PROBED.into_iter().find(|kind| kind.name() == word);
    match kind {
        Some(kind) => Ok(kind.into()),
        None if word == "none" => Ok(KindSet::NONE),
        None => Err(format!("no such kind; {} or none", Kind::PROBED.map(Kind::name).join(", "))),
    }
}

fn kind_words() -> Vec<&'static str> {
    Kind::ALL.map(Kind::name).to_vec()
}

fn stack_words() -> Vec<&'static str> {
    Kind::PROBED.map(Kind::name).into_iter().chain(["none"]).collect()
}

/// A parser of values with words that shells offer. Others are accepted as far as the parser accepts them.
#[derive(Clone, Debug)]
struct Offering<P>(P, fn() -> Vec<&'static str>);

impl<P: TypedValueParser> TypedValueParser for Offering<P> {
    type Value = P::Value;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<P::Value, clap::Error> {
        self.0.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.1)().into_iter().map(PossibleValue::new)))
    }
}

/// Filter options as typed, not yet parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Filters (values of one option are ORed, different options ANDed)")]
pub struct FilterArgs {
    /// Process ids; a later process that reuses the id matches too
    #[arg(long, value_name = "N")]
    pub pid: Vec<String>,
    /// Process ids at the start of the trace; includes all descendants
    #[arg(long, value_name = "N")]
    pub tree: Vec<String>,
    /// Thread names (comm)
    #[arg(long, value_name = "GLOB")]
    pub comm: Vec<String>,
    /// Names of processes: of the leader (its comm) or of the executable, for the events of all threads
    #[arg(long, value_name = "GLOB")]
    pub process: Vec<String>,
    /// User names or ids
    #[arg(long, value_name = "USER")]
    pub uid: Vec<String>,
    /// Cgroup paths
    #[arg(long, value_name = "GLOB")]
    pub cgroup: Vec<String>,
    /// systemd units; those of a user as user@UID.service/NAME
    #[arg(long, value_name = "GLOB")]
    pub unit: Vec<String>,
    /// Names or ids of containers
    #[arg(long, value_name = "GLOB")]
    pub container: Vec<String>,
    #[arg(long, value_name = "LIST", help = help::kinds(), value_parser = Offering(StringValueParser::new(), kind_words), hide_possible_values = true)]
    pub kind: Vec<String>,
    /// Only failures: an error, a signal or a nonzero exit code
    #[arg(long)]
    pub failed: bool,
    /// Filter expression, see below; commas do not separate expressions
    #[arg(long, value_name = "EXPR")]
    pub filter: Vec<String>,
}

impl From<&FilterArgs> for FilterOptions {
    fn from(typed: &FilterArgs) -> FilterOptions {
        let FilterArgs { pid, tree, comm, process, uid, cgroup, unit, container, kind, failed, filter } = typed.clone();
        let zone = tracetui_host::clock::zone();
        FilterOptions { pid, tree, comm, process, uid, cgroup, unit, container, kind, failed, filter, zone }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ScreenOptions {
    #[command(flatten)]
    pub color: ColorOption,
    /// Colors of a theme, which need a terminal with 24-bit color [default: the terminal's own 16]
    #[arg(long, value_name = "NAME", value_parser = theme())]
    pub theme: Option<&'static Palette>,
    /// Enable mouse support: a click selects, the wheel scrolls
    #[arg(long)]
    pub mouse: bool,
    #[command(flatten)]
    pub config: ConfigOptions,
}

fn theme() -> impl TypedValueParser<Value = &'static Palette> {
    words(PALETTES.each_ref().map(|theme| (theme.name, theme, "")))
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ConfigOptions {
    /// Read the configuration file FILE instead of ~/.config/tracetui/config.toml
    #[arg(long, value_name = "FILE", conflicts_with = "no_config")]
    pub config: Option<PathBuf>,
    /// Read no configuration file
    #[arg(long)]
    pub no_config: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct ColorOption {
    /// When to use colour: auto (on a terminal; respects NO_COLOR), always or never [default: auto]
    #[arg(long = "color", value_name = "WHEN", value_enum, hide_possible_values = true)]
    pub when: Option<Color>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, ValueEnum)]
pub enum Color {
    /// If the terminal supports it and NO_COLOR is not set.
    #[default]
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}
