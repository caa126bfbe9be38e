//! The help texts after the options, and the help of `--kind`.

use tracetui_shared::kind::{Kind, KindSet};

/// The help of `--kind`: `Event kinds: exec exit … [default: all except fork; …]; exec:ok: …`.
pub(super) fn kinds() -> String {
    let names = |kinds: KindSet| kinds.iter().map(Kind::name).collect::<Vec<_>>().join(", ");
    let (all, off, aimed) = (Kind::ALL.map(Kind::name).join(" "), names(KindSet::ON_REQUEST), names(KindSet::AIMED));
    format!(
        "Event kinds: {all} [default: all except {off}; {aimed} with COMMAND, --pid or --tree]; exec:ok: without failures"
    )
}

macro_rules! filters {
    () => {
        "\
Filter expressions: adjacent terms are ANDed; combine them with or, not, ( ).
  comm=cc1 path~\\.h$    err uid=1000    tree=48213    not comm=bash    dur>2s
  = glob, ~ regex, != !~ < > <= >=; a bare word searches all columns; err: failed
  process=nginx: all threads of processes with this name; comm: the thread's
  comm=gcc,cc1: any of them. Put a value with white space, && or || in double
  quotes, also one with a comma (not after ~): comm=\"a,b\""
    };
}

pub(super) const MAIN: &str = concat!(
    filters!(),
    "

Examples:
  sudo tracetui                          trace everything in the dashboard
  sudo tracetui --comm 'cc*' --failed    trace failures of the compiler
  sudo tracetui print --kind exec        print one line per exec
  sudo tracetui -- make -j8              trace make and its descendants

Exit status: 0 success, 1 failure, 2 usage error. With a COMMAND: its own exit
status, 128+n if signal n killed it, 127 if it is not found, 126 if it cannot
be executed.

If you quit while COMMAND runs, its process group gets SIGTERM.

Tracing needs root. `tracetui doctor` shows what is missing."
);

pub(super) const PRINT: &str = concat!(
    filters!(),
    "

Examples:
  sudo tracetui print --kind exec,exit
  sudo tracetui print --format json --filter 'path=/etc/* err' | jq .path
  sudo tracetui print --format csv -n 1000 >events.csv
  sudo tracetui print --kind exec -- make
  sudo tracetui print --expect-none 'path~/[.]ssh(/|$)' -- make
  tracetui print build.ttr --failed

COMMAND runs as the user who invoked sudo, doas or pkexec. Its stdout goes to
stderr. If print ends first (after -n N, or when its reader closes the pipe),
the process group of COMMAND gets SIGTERM. On a terminal, Ctrl-C goes to COMMAND
alone; SIGTERM to tracetui ends both.

With --expect-none, the exit status is 3 if an event matched, and 1 if none did
but events are missing; otherwise it is as without. A path does not prove which
file was opened: a hard link, a rename or a bind mount gives a file another
name. At the first match, the process group of COMMAND gets SIGTERM. What is
still running when COMMAND ends is not checked.

Events go to stdout. Messages go to stderr: a line that starts with `tracing`
when every probe is attached, and the account at the end.

An event in two FILEs, such as a recording and a cut of it, is printed twice; a
message reports the number of such events."
);

pub(super) const RECORD: &str = concat!(
    filters!(),
    "

Examples:
  sudo tracetui record -o build.ttr -- make
  sudo tracetui record --duration 10m --comm nginx
  sudo tracetui record -o web.ttr --rotate 1GiB,4
  sudo tracetui record -o all.ttr --rotate 256MiB,5m,48 --resume --metrics
  tracetui print web.*.ttr --failed
  sudo tracetui record --around 'comm=nginx kind=exit err' --before 2m
  tracetui print build.ttr --kind exec
  tracetui info build.ttr

The recording belongs to the user who invoked sudo. Reading it needs no
privileges.

If record ends before COMMAND (--duration, --max-size), the process group of
COMMAND gets SIGTERM.

If stderr is a terminal, a progress line is updated every second, except with a
COMMAND or -o -, whose output may share the terminal. If `replay -` runs there,
redirect stderr (2>FILE), or press Ctrl-L in the replay after a message."
);

pub(super) const CUT: &str = concat!(
    filters!(),
    "

OUT contains the events that pass, lost rows and the text of the filter. Its
process data is limited to the arguments, paths and names in these events;
parents without an event have only ids. In the filter, values that the events
may lack (after not and or) are replaced by …. --redact replaces the matches of
a regex in each path, argument or name, and reports their number. Times count
from the start of the recording.

Examples:
  tracetui cut build.ttr -o ld.ttr --comm ld --from 14:02:11 --to 14:02:20
  tracetui cut build.ttr -o failures.ttr --failed
  tracetui cut build.ttr -o public.ttr --redact '/home/[^/]+' --redact 'token=.*'"
);

pub(super) const REPLAY: &str = concat!(
    filters!(),
    "

Space plays and pauses, < and > change the speed, [ ] { } go 10 s or 1 min back
and forward, T goes to a time, g and G to the ends. All other keys work as in
the dashboard: see tracetui keys.

Examples:
  tracetui replay build.ttr
  tracetui replay build.ttr --from 14:02:11 --failed
  tracetui replay web.*.ttr
  ssh host sudo tracetui record -o - -- make 2>log | tracetui replay -

No privileges are needed."
);

pub(super) const EXPORT: &str = concat!(
    filters!(),
    "

Examples:
  tracetui export build.ttr --format perfetto -o build.pftrace
  tracetui export build.ttr --format parquet -o build.parquet
  tracetui export a.ttr b.ttr --format json -o - --kind exec | jq .argv

perfetto: open the file at https://ui.perfetto.dev. parquet: a table for DuckDB,
Spark or ClickHouse. json, csv: the output of print.

Exit status: 0 success, 1 failure (then OUT is removed) or damage in a
recording, 2 usage error. Reading recordings needs no privileges."
);

pub(super) const DIFF: &str = concat!(
    filters!(),
    "

Processes are compared by role: program, arguments, directory and place in the
tree. Process ids, times, the order of parallel jobs, their number (-j), the
directory of the run (shown as .) and names of temporary files do not count.

Lines, causes first:
  missing  a file or program that was found in one run only
  argv     the arguments changed: those of A -> those of B
  cwd      the working directory changed
  env      a variable of the environment changed; for its values, record with --env diff
  user     the user id changed
  exec     a program that was executed in one run only, or more often
  tcp      an address that only one run connected to, or a port accepted from
  bpf      a BPF program that was loaded or attached in one run only
  exit     the exit status changed
  opened   a file that was opened in one run only
  access   a file that was read in one run and written in the other, or created
  tried    a file that only one run tried to open, without success
  unknown  a difference that may be due to lost events
  follow   the number of further differences; --all shows them
  noise    the number of lines about differences among the good runs; --noise

Examples:
  sudo tracetui record -o good.ttr -- make -j8
  sudo tracetui record -o bad.ttr -- make -j8
  tracetui diff good.ttr bad.ttr
  tracetui diff good1.ttr good2.ttr good3.ttr bad.ttr --ignore '*.log'
  tracetui diff good.ttr bad.ttr --comm cc1 --format json

Exit status: 0 no differences, 1 differences (even unknown ones) or failure,
2 usage error."
);

pub(super) const BTF: &str = "\
No privileges are needed. The file may come from another machine, for example:
  cp /sys/kernel/btf/vmlinux build7.btf";

pub(super) const FILES: &str = concat!(
    filters!(),
    "

Examples:
  tracetui files build.ttr --written
  tracetui files build.ttr --read --comm cc1 --packages
  tracetui files build.ttr --format cyclonedx > build.cdx.json

USE: r opened for reading, w for writing, x executed, c created; none of them:
opened with O_PATH. A shared library or a script counts as read. COUNT:
successful opens and execs. Packages are those that dpkg or rpm have installed
now. cyclonedx: the packages, and other files that were read and not created.

Exit status: 0 success, 1 failure or damage in a recording, 2 usage error.
Reading recordings needs no privileges."
);

pub(super) const BPF: &str = "\
Lists all programs and links, and attachments without a link: to perf events,
cgroups, network interfaces of all network namespaces, sockets, and maps of
sockets. Sockets with a classic filter come last.
HIDDEN marks programs that the kernel's list lacks but another view shows.

Not listed: seccomp filters and lwt, which the kernel does not list, and pins
in other mount namespaces.

Needs root. --stats adds some nanoseconds to each run of every program.";

pub(super) const DOCTOR: &str = "\
Exit status: 0 if every kind of event has a working probe, otherwise 1.";
