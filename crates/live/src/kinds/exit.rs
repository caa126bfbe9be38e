//! `exit`: the ends of processes.

use super::*;

const FIELDS: &[Field] = &[TaskSignal, TaskExitCode, SignalFlags, SignalGroupExitCode, SignalLive];
const WHAT: &str = "process exits";
const BTF: Probe = Probe::new(Slot::ExitBtf, Btf(&["sched_process_exit"]), &[HEADER, FIELDS], &[WHAT]);
const TP: Probe =
    Probe::new(Slot::ExitTp, Classic("sched", |_| &["sched_process_exit"], &[]), &[HEADER, FIELDS], &[WHAT]);
pub(super) const GROUP: Group = Group::always(&[(Way::Typed, &[BTF]), (Way::Classic, &[TP])]);

/// Who ended a process. Signals are sent with interrupts disabled, so the program is never preempted.
const SIGNAL: Probe = Probe::part(
    Slot::ExitBtf,
    "signal_btf",
    Btf(&["signal_generate"]),
    &[
        &[TaskTgid, TaskGroupLeader, TaskStartBoottime, TaskComm, TaskCred, CredUid, TaskFlags],
        &[TaskSighand, SighandAction, SigactionHandler, SiginfoCode, SiginfoAddress],
    ],
    &["who ended a process"],
)
.repaired();
pub(super) const SIGNALS: Group = Group::wanted(&[(Way::Typed, &[SIGNAL])]);
