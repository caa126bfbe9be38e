//! The counts of events that did not pair up.

/// Events that did not pair up: counted, never corrected silently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairing {
    /// An exit of a process whose start was neither seen nor found in the process scan.
    pub unpaired_exit: u64,
    /// A fork of a process that was in the table already.
    pub repeated_start: u64,
    /// A successful exec, an exit or a fork's child whose thread id is not its process id.
    pub tid_not_pid: u64,
    /// A process id whose start changed though no exit was seen between.
    pub start_mismatch: u64,
    /// An exec of a process that had ended.
    pub exit_before_exec: u64,
    /// An exit of a process that had ended.
    pub exit_twice: u64,
}

impl Pairing {
    /// Combines each count with that of another one, for example into sums.
    pub fn combined(self, other: Pairing, with: fn(u64, u64) -> u64) -> Pairing {
        let both = self.each().into_iter().zip(other.each());
        Pairing::of(&both.map(|((_, one), (_, other))| with(one, other)).collect::<Vec<_>>())
    }

    /// Names and counts, in the order of the account.
    pub fn each(&self) -> [(&'static str, u64); 6] {
        [
            ("unpaired_exit", self.unpaired_exit),
            ("repeated_start", self.repeated_start),
            ("tid_not_pid", self.tid_not_pid),
            ("start_mismatch", self.start_mismatch),
            ("exit_before_exec", self.exit_before_exec),
            ("exit_twice", self.exit_twice),
        ]
    }

    /// From the counts, in the order of [`each`](Self::each).
    pub(super) fn of(counts: &[u64]) -> Pairing {
        let count = |at: usize| counts.get(at).copied().unwrap_or_default();
        Pairing {
            unpaired_exit: count(0),
            repeated_start: count(1),
            tid_not_pid: count(2),
            start_mismatch: count(3),
            exit_before_exec: count(4),
            exit_twice: count(5),
        }
    }
}
