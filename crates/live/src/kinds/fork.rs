//! `fork`: new processes.

use super::*;

const WHAT: &str = "forks; the parent of a new process is unknown until its first event";
const BTF: Probe = Probe::new(Slot::ForkBtf, Btf(&["sched_process_fork"]), &[HEADER], &[WHAT]);
const MULTI: Probe = Probe::new(Slot::ForkMulti, Functions(At::Entry, |_| &["wake_up_new_task"]), &[HEADER], &[WHAT]);
pub(super) const GROUP: Group = Group::always(&[(Way::Typed, &[BTF]), (Way::Functions, &[MULTI])]);
