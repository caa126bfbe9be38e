//! The running processes, with start times and parents.
//!
//! The iterator program `task_starts` returns exact start times, reads no files, and shows processes that `hidepid`
//! hides. It runs each time its link is opened. It needs a kernel with its own BTF; with `--btf FILE` the list is read
//! from /proc, which truncates start times to the clock tick.
//!
//! In a pid namespace other than the initial one, the iterator shows the processes of that namespace and below
//! ([`task_seq_get_next`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/task_iter.c)), with their ids in the
//! initial one. If a /proc of the initial namespace is mounted, it is read instead, since it shows all processes.
//! Otherwise trees within the namespace are still complete: the descendants of a process are in its namespace or below
//! (pid_namespaces(7)).

use super::load::{ITERATOR, KernelFacts};
use super::object::ProbeObject;
use foldhash::HashMap;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use tracetui_host::bpf::{link_iterator, open_iterator};
use tracetui_host::procfs;
use tracetui_host::program::ProgramKind;
use tracetui_shared::record::task::TaskStart;
use zerocopy::FromBytes as _;

const PROGRAM: &str = "task_starts";

/// The process id of `kthreadd` in the initial pid namespace.
const KTHREADD: u32 = 2;

/// The unit of the starts of processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// Nanoseconds, as in the kernel.
    Nanoseconds,
    /// Clock ticks, as in /proc.
    Ticks,
}

pub(super) struct Tasks {
    /// The link of the iterator; `None` if it cannot be used.
    iterator: Option<OwnedFd>,
}

impl Tasks {
    /// Loads the iterator and tests it. It is used if it shows all processes, or if /proc is not usable.
    pub(super) fn new(object: &ProbeObject, facts: &KernelFacts) -> Tasks {
        // The ids are those of the initial namespace, where process 2 is the parent of all kernel threads. Process 2 is
        // in no other namespace.
        let shows_all = |list: &[TaskStart]| list.iter().any(|task| task.tgid == KTHREADD);
        // A valid list contains at least the process that reads it.
        let is_best = |list: &[TaskStart]| !list.is_empty() && (shows_all(list) || procfs::initial_self().is_err());
        let iterator = load(object, facts);
        Tasks { iterator: iterator.filter(|link| read(link).is_ok_and(|list| is_best(&list))) }
    }

    pub(super) fn unit(&self) -> Unit {
        match self.iterator {
            Some(_) => Unit::Nanoseconds,
            None => Unit::Ticks,
        }
    }

    /// All processes, including zombies. Their starts have this [`unit`](Self::unit).
    pub(super) fn list(&self) -> io::Result<Vec<TaskStart>> {
        self.iterator.as_ref().map_or_else(of_proc, read)
    }

    /// Every process with its exact start, oldest first; empty if exact starts are unknown.
    pub(super) fn started(&self) -> Vec<TaskStart> {
        let mut started = self.iterator.as_ref().and_then(|link| read(link).ok()).unwrap_or_default();
        started.sort_by_key(|process| process.start);
        started
    }
}

/// Loads the program and creates a link, which keeps the program in the kernel.
fn load(object: &ProbeObject, facts: &KernelFacts) -> Option<OwnedFd> {
    let id = facts.ids.as_ref()?.function(ITERATOR)?;
    let program = object.load(PROGRAM, ProgramKind::Iterator(id)).ok()?;
    link_iterator(&program).ok()
}

/// Runs the iterator, and returns its records.
fn read(link: &OwnedFd) -> io::Result<Vec<TaskStart>> {
    let mut file = open_iterator(link)?;
    let (mut bytes, mut read) = (Vec::new(), 0);
    loop {
        bytes.resize(read + READ, 0);
        match file.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            // After many threads without a record, the kernel returns EAGAIN
            // ([`bpf_seq_read`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/bpf_iter.c)), and the read
            // must be repeated.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    let records = bytes[..read].chunks_exact(size_of::<TaskStart>());
    Ok(records.filter_map(|bytes| TaskStart::read_from_bytes(bytes).ok()).collect())
}

/// Reads /proc. Parents are found by process id. A process with that id that started after the child is not the parent:
/// the id was reused.
fn of_proc() -> io::Result<Vec<TaskStart>> {
    let list = procfs::list()?;
    let starts: HashMap<u32, u64> = list.iter().map(|process| (process.tgid.0, process.start_ticks)).collect();
    let task = |process: &procfs::Listed| {
        let start = process.start_ticks;
        let parent = starts.get(&process.ppid.0).filter(|parent_start| **parent_start <= start);
        let (parent, parent_start) = parent.map_or((0, 0), |parent_start| (process.ppid.0, *parent_start));
        TaskStart { tgid: process.tgid.0, start, parent, parent_start, ..TaskStart::default() }
    };
    Ok(list.iter().map(task).collect())
}

/// Bytes per read. With pages of 4 KiB, the kernel never returns more at a time.
const READ: usize = 32 << 10;
