//! What help says after the options, and of kinds.

use tracetui_shared::kind::{Kind, KindSet};

/// What `--kind` takes: `Kinds: exec exit … [default: all but fork]`.
pub(super) fn kinds() -> String {
    let off: Vec<&str> = KindSet::ON_REQUEST.iter().map(Kind::name).collect();
    format!("Kinds: {} [default: all but {}]", Kind::ALL.map(Kind::name).join(" "), off.join(", "))
}

macro_rules! filters {
    () => {
        "\
Filter expressions: terms side by side mean and; or, not and ( ) as usual.
  comm=cc1 path~\\.h$    err uid=1000    tree=48213    not comm=bash    dur>2s
  = globs, ~ regexes, != !~ < > <= >=; a bare word: in any column; err: failed"
    };
}

/// After `tracetui --help`.
pub(super) const MAIN: &str = concat!(
    filters!(),
    "

Examples:
  sudo tracetui                          everything, live
  sudo tracetui --comm 'cc*' --failed    what fails in a build
  sudo tracetui print --kind exec        programs as they start, one a line
  sudo tracetui -- make -j8              one build, with all that it starts

Exit codes: 0 done, 1 failed, 2 bad usage; with a COMMAND its own, 128+n when
signal n killed it, 127 when it is not found, 126 when it cannot be executed. Tracing needs root:
`tracetui doctor` says what is missing."
);

/// After `tracetui print --help`.
pub(super) const PRINT: &str = concat!(
    filters!(),
    "

Examples:
  sudo tracetui print --kind exec,exit
  sudo tracetui print --format json --filter 'path=/etc/* err' | jq .path
  sudo tracetui print --format csv -n 1000 >events.csv
  sudo tracetui print --kind exec -- make

A COMMAND runs as the user who typed sudo (doas, pkexec); its stdout goes to stderr. It is told
to end (SIGTERM) when print ends before it: after -n N, or when nobody reads.

Data goes to stdout. To stderr go messages, a line that starts with `tracing`
when every probe is attached, and the account at the end."
);

/// After `tracetui btf --help`.
pub(super) const BTF: &str = "\
Needs no privileges: the file may be of any machine, for example
  cp /sys/kernel/btf/vmlinux build7.btf

The minimal BTF resolves to the same offsets; give it to the other commands with
--btf. Type ids in it are its own, so what goes by type ids is not used then.";

/// After `tracetui doctor --help`.
pub(super) const DOCTOR: &str = "\
Exit codes: 0 when every kind of event has a working probe, else 1.";
