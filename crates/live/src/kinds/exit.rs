//! `exit`: the ends of processes.

use super::*;

const FIELDS: &[Field] = &[TaskSignal, TaskExitCode, SignalFlags, SignalGroupExitCode, SignalLive, CredEuid];
/// The fields from which the costs are summed. Bytes read and written are optional.
const COST: &[Field] = &[
    TaskExecStart,
    TaskThreadNode,
    TaskUtime,
    TaskStime,
    TaskRuntime,
    SignalThreadHead,
    SignalStatsSequence,
    SignalUtime,
    SignalStime,
    SignalRuntime,
    SignalMaxrss,
];
const WHAT: &str = "process exits";
const BTF: Probe = Probe::new(Slot::ExitBtf, Btf(&["sched_process_exit"]), &[HEADER, FIELDS, COST], &[WHAT]);
const TP: Probe =
    Probe::new(Slot::ExitTp, Classic("sched", |_| &["sched_process_exit"], &[]), &[HEADER, FIELDS, COST], &[WHAT]);
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
/// Which of several signals ended a process. Interrupts are disabled there, too.
const DELIVER: Probe = Probe::part(
    Slot::ExitBtf,
    "deliver_btf",
    Btf(&["signal_deliver"]),
    &[&[TaskTgid, TaskGroupLeader, TaskStartBoottime], &[SiginfoCode, SiginfoAddress]],
    &["the sender of a signal that a tracer replaced, or of one of several that waited"],
)
.repaired();
pub(super) const SIGNALS: Group = Group::wanted(&[(Way::Typed, &[SIGNAL, DELIVER])]);
