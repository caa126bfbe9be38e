//! Roles, and what the processes of a role did.

use super::environment::Variables;
use foldhash::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;

pub(super) type RoleId = usize;

/// Processes that count as the same in every run: program, arguments and directory, with the same parent. Texts have numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Role {
    pub(super) parent: RoleId,
    pub(super) children: Vec<RoleId>,
    /// It was forked, and runs the program of its parent.
    pub(super) forked: bool,
    pub(super) exe: u32,
    pub(super) cwd: u32,
    pub(super) argv: Arc<[u32]>,
    /// Its environment, if that is known.
    pub(super) env: Option<Variables>,
    pub(super) did: Activity,
}

/// What the processes of a role run: whether it was forked, the executed file, the working directory and the arguments.
pub(super) type Image = (bool, u32, u32, Arc<[u32]>);

/// The roles of a run. The first one is above all others.
#[derive(Debug)]
pub(super) struct Roles {
    pub(super) all: Vec<Role>,
    index: HashMap<(RoleId, Image), RoleId>,
}

impl Default for Roles {
    fn default() -> Roles {
        Roles { all: vec![Role::default()], index: HashMap::default() }
    }
}

impl Roles {
    /// The number of a role. A new one has this process.
    pub(super) fn id(&mut self, parent: RoleId, image: Image, process: Tgid, orphan: bool) -> RoleId {
        *self.index.entry((parent, image)).or_insert_with_key(|(_, (forked, exe, cwd, argv))| {
            let did = Activity { process, orphan, ..Activity::default() };
            let (forked, exe, cwd, argv) = (*forked, *exe, *cwd, Arc::clone(argv));
            let id = self.all.len();
            self.all[parent].children.push(id);
            self.all.push(Role { parent, forked, exe, cwd, argv, did, ..Role::default() });
            id
        })
    }

    /// Removes the data that only [`id`](Self::id) needs.
    pub(super) fn close(&mut self) {
        self.index = HashMap::default();
    }
}

/// A role's use of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub(super) struct Did {
    /// [`did`] bits.
    pub(super) bits: u8,
    /// The lowest error number; 0 for none.
    pub(super) errno: u8,
}

/// Bits of [`Did`].
pub(super) mod did {
    /// It was opened or executed.
    pub(in super::super) const FOUND: u8 = 1;
    /// It was opened for writing.
    pub(in super::super) const WROTE: u8 = 2;
    /// It was opened as a directory.
    pub(in super::super) const DIRECTORY: u8 = 8;
}

impl Did {
    pub(super) fn add(&mut self, other: Did) {
        self.bits |= other.bits;
        self.errno = match (self.errno, other.errno) {
            (0, errno) | (errno, 0) => errno,
            (one, other) => one.min(other),
        };
    }

    pub(super) fn has(self, bit: u8) -> bool {
        self.bits & bit != 0
    }
}

/// Files by the numbers of their paths, which are in the order of their first use.
pub(super) type Files = BTreeMap<u32, Did>;

/// A role's events of a kind with the same subject.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Other {
    pub(super) did: Did,
    pub(super) count: u64,
}

impl Other {
    pub(super) fn add(&mut self, other: Other) {
        self.did.add(other.did);
        self.count += other.count;
    }
}

/// What the processes of a role did.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity {
    /// A process of the role: the first one that failed, otherwise the first one.
    pub(super) process: Tgid,
    pub(super) failed: bool,
    /// Whether its parent is unknown because the fork was lost.
    pub(super) orphan: bool,
    pub(super) execs: u64,
    /// Its processes that have not ended, with those that it forked and that have not executed a program.
    pub(super) living: u64,
    /// The lowest user id at an exec.
    pub(super) uid: Option<u32>,
    /// Wait statuses, each with its count.
    pub(super) exits: BTreeMap<u32, u64>,
    /// What the processes that ended in this role used.
    pub(super) used: Used,
    /// The files that it opened or tried to open.
    pub(super) opens: Files,
    /// The programs that it, or a process forked from it, executed or tried to execute.
    pub(super) tries: Files,
    /// What else it did, by kind and subject.
    pub(super) others: BTreeMap<(Kind, u32), Other>,
}

impl Activity {
    /// Adds what the processes of an equal role did, whose strings have other numbers.
    pub(super) fn add(&mut self, other: Activity, number: impl Fn(u32) -> u32) {
        if other.failed && !self.failed {
            (self.process, self.failed) = (other.process, true);
        }
        self.execs += other.execs;
        self.living += other.living;
        self.executed_as(other.uid);
        for (status, count) in other.exits {
            *self.exits.entry(status).or_default() += count;
        }
        self.used.add(other.used);
        for (all, files) in [(&mut self.opens, other.opens), (&mut self.tries, other.tries)] {
            files.into_iter().for_each(|(path, did)| all.entry(number(path)).or_default().add(did));
        }
        for ((kind, subject), used) in other.others {
            self.others.entry((kind, number(subject))).or_default().add(used);
        }
    }

    /// What it did of a kind, by subject.
    pub(super) fn others(&self, kind: Kind) -> BTreeMap<u32, Other> {
        let all = self.others.range((kind, 0)..=(kind, u32::MAX));
        all.map(|((_, subject), used)| (*subject, *used)).collect()
    }

    pub(super) fn executed_as(&mut self, uid: Option<u32>) {
        self.uid = self.uid.into_iter().chain(uid).min();
    }
}

/// What the processes of a role used, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) cpu: u64,
    pub(super) ran: u64,
}

impl Used {
    pub(super) fn add(&mut self, other: Used) {
        self.cpu = self.cpu.saturating_add(other.cpu);
        self.ran = self.ran.saturating_add(other.ran);
    }
}

impl Role {
    /// The exit statuses to compare. Depending on timing, a writer to a pipe gets SIGPIPE when the reader ends, so SIGPIPE counts as
    /// success. So does SIGTERM for a forked process, as in a pool of workers. The number of forked processes that ended successfully
    /// depends on the number of jobs.
    pub(super) fn exits(&self) -> BTreeMap<u32, u64> {
        const SIGPIPE: u32 = 13;
        const SIGTERM: u32 = 15;
        let mut sums = BTreeMap::new();
        for (status, count) in &self.did.exits {
            // A core dump depends on the limits of the machine.
            let status = if *status & 0x7f == 0 { *status } else { *status & 0x7f };
            let ended = status == SIGPIPE || status == (128 + SIGPIPE) << 8 || self.forked && status == SIGTERM;
            let status = if ended { 0 } else { status };
            if !(self.forked && status == 0) {
                *sums.entry(status).or_default() += count;
            }
        }
        sums
    }
}
