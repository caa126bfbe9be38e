//! The columns of the table: how to run each tool.

use crate::Place;
use crate::work::{Measure, Row, Subject};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const OPENS: &str = r#"tracepoint:syscalls:sys_enter_openat { printf("%s %s\n", comm, str(args->filename)); }"#;
const EXECS: &str = r#"tracepoint:sched:sched_process_exec { printf("%s %s\n", comm, str(args->filename)); }"#;
const EXITS: &str = r#"tracepoint:sched:sched_process_exit { printf("%s exits\n", comm); }"#;
const CONNECTS: &str = r#"tracepoint:syscalls:sys_enter_connect { printf("%s connects\n", comm); }"#;

impl Subject {
    fn bpftrace(self) -> String {
        match self {
            Subject::Opens => OPENS.to_owned(),
            Subject::Execs => EXECS.to_owned(),
            Subject::All => [OPENS, EXECS, EXITS, CONNECTS].join(" "),
        }
    }

    fn calls(self) -> &'static str {
        match self {
            Subject::Opens => "openat",
            Subject::Execs => "execve",
            Subject::All => "openat,execve,exit_group,connect",
        }
    }
}

/// How to find out that a tool traces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// It shows calls on stdout.
    Shows,
    /// It says so on stderr.
    Says,
    /// It has had the time.
    Later,
    /// It traces only a process that it starts.
    Starts,
}

pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// Names of the program; after `$`, that of a variable with its path.
    programs: &'static [&'static str],
    /// `{bpftrace}` and `{calls}` depend on the subject, `{output}` and `{file}` are files.
    args: &'static str,
    not: Option<Subject>,
    pub(crate) ready: Ready,
    pub(crate) part: u32,
    pub(crate) rounds: usize,
    pub(crate) on_request: bool,
}

const TRACETUI: &[&str] = &["$TRACETUI_BIN", env!("CARGO_BIN_EXE_tracetui")];

const fn tool(name: &'static str, programs: &'static [&'static str], args: &'static str) -> Tool {
    Tool { name, programs, args, not: None, ready: Ready::Shows, part: 1, rounds: usize::MAX, on_request: false }
}

const fn kind(name: &'static str, args: &'static str) -> Tool {
    Tool { ready: Ready::Says, on_request: true, ..tool(name, TRACETUI, args) }
}

const fn recorder(name: &'static str, programs: &'static [&'static str], args: &'static str) -> Tool {
    Tool { not: Some(Subject::All), ready: Ready::Later, on_request: true, ..tool(name, programs, args) }
}

pub(crate) const TOOLS: [Tool; 15] = [
    tool("tracetui", TRACETUI, "print --format json"),
    Tool { ready: Ready::Says, ..tool("record", TRACETUI, "record --force -o {file}") },
    tool("bpftrace", &["bpftrace"], "-e {bpftrace}"),
    Tool {
        not: Some(Subject::Execs),
        ..tool("opensnoop", &["opensnoop", "libbpf-opensnoop", "opensnoop-libbpf", "opensnoop-bpfcc"], "")
    },
    Tool {
        not: Some(Subject::Opens),
        ..tool("execsnoop", &["execsnoop", "libbpf-execsnoop", "execsnoop-libbpf", "execsnoop-bpfcc"], "")
    },
    Tool {
        ready: Ready::Starts,
        part: 20,
        rounds: 3,
        ..tool("strace", &["strace"], "-f -e trace={calls} -o {output}")
    },
    Tool { not: Some(Subject::Opens), ready: Ready::Starts, ..tool("tracexec", &["tracexec"], "log -o {output} --") },
    kind("exit", "print --format json --kind exit"),
    kind("exec", "print --format json --kind exec"),
    kind("open", "print --format json --kind open"),
    Tool { ready: Ready::Says, on_request: true, ..tool("other", &["$TRACETUI_OTHER"], "record --force -o {file}") },
    recorder("perf-trace", &["perf"], "trace -a -e {calls}"),
    recorder("perf", &["perf"], "record -a -e syscalls:sys_enter_{calls} -o {file}"),
    recorder("trace-cmd", &["trace-cmd"], "record -e syscalls:sys_enter_{calls} -o {file}"),
    recorder("sysdig", &["sysdig"], "--modern-bpf -w {file} evt.type={calls}"),
];

pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/share/bcc/tools"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|place| place.join(name)).find(|program| program.is_file())
}

impl Tool {
    pub(crate) fn program(&self) -> Option<PathBuf> {
        self.programs.iter().find_map(|name| match name.strip_prefix('$') {
            Some(variable) => std::env::var_os(variable).map(PathBuf::from),
            None => installed(name),
        })
    }

    /// Whether a cell makes sense.
    pub(crate) fn measures(&self, row: &Row) -> bool {
        let live = match row.measure {
            Measure::Slowdown(_) | Measure::Added => true,
            Measure::Idle | Measure::Start => self.ready != Ready::Starts,
            Measure::Latency => self.ready == Ready::Shows,
        };
        live && self.not != Some(row.subject)
    }

    /// Whether it shows execs, but not opens, while it traces this.
    pub(crate) fn shows_execs(&self, subject: Subject) -> bool {
        subject == Subject::Execs || self.not == Some(Subject::Opens)
    }

    pub(crate) fn command(&self, row: &Row, place: &Place) -> Option<Command> {
        let program = self.program()?;
        // A figure about time is that of a terminal: C programs write each line at once there.
        let at_once = matches!(row.measure, Measure::Start | Measure::Latency);
        let mut command = if at_once { Command::new("stdbuf") } else { Command::new(&program) };
        if at_once {
            command.arg("-oL").arg(&program).env("PYTHONUNBUFFERED", "1");
        }
        let path = |name| place.file(name).display().to_string();
        let words = [
            ("{bpftrace}", row.subject.bpftrace()),
            ("{calls}", row.subject.calls().to_owned()),
            ("{output}", path("output")),
            ("{file}", path("file")),
        ];
        let fill = |arg: &str| words.iter().fold(arg.to_owned(), |arg, (word, value)| arg.replace(word, value));
        command.args(self.args.split_whitespace().map(fill)).stdin(Stdio::null());
        Some(command)
    }
}
