//! Places of programs, those that the kernel's lists have there, and the answers to queries about them.

use super::sys::{self, Queried};
use rustc_hash::FxHashMap;
use std::io;
use tracetui_events::bpf::View;
use tracetui_shared::id::ProgId;

/// A place of programs: the view that lists them; the id of the cgroup, network namespace, map or thread; the index of the
/// interface, the descriptor, or 0.
pub(super) type Place = (View, u64, u32);

/// The place of the program of a perf event, which a thread has by a descriptor.
pub(super) fn event_of(tid: u32, fd: u32) -> Place {
    (View::IterFile, tid.into(), fd)
}

/// The programs in the kernel's lists, and how often each is at a place.
pub(super) type Listed = FxHashMap<(Place, ProgId), usize>;

/// The answers of BPF_PROG_QUERY, BPF_TASK_FD_QUERY and rtnetlink in one inventory. `None` if a query failed.
#[derive(Default)]
pub(super) struct Answers(FxHashMap<Place, Option<Vec<u32>>>);

impl Answers {
    /// Asks for the programs of an attach type at a place.
    pub(super) fn query(&mut self, place: Place, target: u32, attach_type: u32) -> io::Result<Vec<Queried>> {
        let queried = sys::query(target, attach_type);
        let answers = self.0.entry(place).or_insert_with(|| Some(Vec::new()));
        match (&queried, answers.as_mut()) {
            (Ok(found), Some(answers)) => answers.extend(found.iter().map(|queried| queried.program)),
            // The kernel does not have the type, or a program of another type excludes it, so there is none.
            (Err(error), _) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::EBUSY)) => {}
            (Err(_), _) => *answers = None,
            (Ok(_), None) => {}
        }
        queried
    }

    /// Sets the programs of a place.
    pub(super) fn set(&mut self, place: Place, programs: impl Iterator<Item = ProgId>) {
        self.0.insert(place, Some(programs.map(|program| program.0).collect()));
    }

    pub(super) fn extend(&mut self, other: Answers) {
        self.0.extend(other.0);
    }

    /// Whether a program is at a place, where all queries succeeded, more often than they report.
    pub(super) fn lack(&self, (place, program): &(Place, ProgId), count: usize) -> bool {
        let answers = self.0.get(place).and_then(Option::as_ref);
        answers.is_some_and(|all| all.iter().filter(|answer| **answer == program.0).count() < count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_hidden_only_where_every_query_was_answered() {
        let (cgroup, map) = ((View::IterCgroup, 7, 0), (View::IterMap, 7, 0));
        let answers = Answers([(cgroup, Some(vec![3, 4, 4])), (map, None)].into_iter().collect());
        let lack = |place, program, count| answers.lack(&(place, ProgId(program)), count);
        assert!(lack(cgroup, 5, 1) && lack(cgroup, 3, 2));
        assert!(!lack(cgroup, 3, 1) && !lack(cgroup, 4, 2) && !lack(cgroup, 5, 0));
        assert!(!lack(map, 5, 1), "a query failed");
        assert!(!lack((View::IterTask, 7, 0), 5, 1), "it was not asked");
    }
}
