//! What help says after the options.

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

Exit codes: 0 done, 1 failed, 2 bad usage. Tracing needs root:
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

Data goes to stdout. To stderr go messages, a line that starts with `tracing`
when every probe is attached, and the account at the end."
);

/// After `tracetui doctor --help`.
pub(super) const DOCTOR: &str = "\
Exit codes: 0 when every kind of event has a working probe, else 1.";
