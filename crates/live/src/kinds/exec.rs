//! `exec`: successful execs, for the process table, and failed ones.

use super::*;

pub(super) const FIELDS: &[Field] =
    &[TaskSignal, TaskMm, MmArgStart, MmArgEnd, MmEnvStart, MmEnvEnd, MmExeFile, CredEuid, CredEgid];
const BPRM: &[Field] = &[BprmFilename, BprmInterp, BprmArgc];
/// The fields of stdin, stdout and stderr. Peers of sockets are optional.
const STDIO: &[Field] = &[DentryInode, InodeMode, InodeIno, InodeRdev];
const STARTED: &str = "successful execs";
/// What a trace lacks without the programs at the end of system calls.
pub(super) const WHAT: &str = "failed execs";
const STARTED_BTF: Probe =
    Probe::new(Slot::ExecBtf, Btf(&["sched_process_exec"]), &[HEADER, WALK, FILES, FIELDS, BPRM, STDIO], &[STARTED]);
const STARTED_TP: Probe = Probe::new(
    Slot::ExecTp,
    Classic("sched", |_| &["sched_process_exec"], &[("filename", 8, 4), ("old_pid", 16, 4)]),
    &[HEADER, WALK, FILES, FIELDS, BPRM, STDIO],
    &[STARTED],
);

const BPRM_MULTI: Probe = Probe::part(
    Slot::ExecTp,
    "exec_bprm_multi",
    Functions(At::Entry, |_| &["finalize_exec"]),
    &[HEADER, BPRM],
    &["script interpreters"],
);

pub(super) const TP: Probe = Probe::new(
    Slot::ExecFailTp,
    Classic("syscalls", |_| &["sys_exit_execve", "sys_exit_execveat"], RET),
    &[HEADER, WALK, SYSCALL, FIELDS],
    &[WHAT],
);

pub(super) const MULTI: Probe = Probe::new(
    Slot::ExecFailMulti,
    Functions(At::Return, |arch| arch.execs),
    &[HEADER, WALK, SYSCALL, FIELDS],
    &[WHAT],
);

/// The programs at successful execs.
pub(super) const GROUP: Group =
    Group::always(&[(Way::Typed, &[STARTED_BTF]), (Way::Classic, &[STARTED_TP, BPRM_MULTI])]);
