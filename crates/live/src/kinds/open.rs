//! `open`: opens by system calls. Opens by io_uring are in `uring.rs`.

use super::*;

pub(super) const FIELDS: &[Field] = &[CredEuid];
pub(super) const WHAT: &str = "file opens";
pub(super) const TP: Probe = Probe::new(
    Slot::OpenTp,
    Classic("syscalls", |arch| arch.open_tracepoints, RET),
    &[HEADER, WALK, FILES, SYSCALL, FIELDS],
    &[WHAT],
);

pub(super) const MULTI: Probe = Probe::new(
    Slot::OpenMulti,
    Functions(At::Return, |arch| arch.opens),
    &[HEADER, WALK, FILES, SYSCALL, FIELDS],
    &[WHAT],
);
