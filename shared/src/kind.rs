//! The tables of kinds and slots: what a frame may contain, and the program that makes it.
//!
//! All lists of kinds and of slots are derived from the two tables in this file, `kinds!` and `slots!`. A new kind is a
//! row in each. `CONTRIBUTING.md` describes what else it needs.

use core::fmt;
use core::ops::{BitAnd, BitAndAssign, BitOr, Not};

/// Converts a column of the table, which contains its word or `-`.
macro_rules! flag {
    (- $word:ident) => {
        false
    };
    (on on) => {
        true
    };
    (aimed on) => {
        false
    };
    (aimed aimed) => {
        true
    };
    (on aimed) => {
        false
    };
    (floods floods) => {
        true
    };
    (table table) => {
        true
    };
}

macro_rules! kinds {
    (
        probed {
            $($kind:ident = $number:literal: $name:literal $key:literal
                $default:tt $floods:tt $bookkeeping:tt, $doc:literal;)+
        }
        made in user space {
            $($made:ident = $made_number:literal: $made_name:literal, $made_doc:literal;)+
        }
    ) => {
        /// What an event is about. The value on the wire is the discriminant, whose meaning never changes.
        #[repr(u16)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum Kind {
            $(#[doc = $doc] $kind = $number,)+
            $(#[doc = $made_doc] $made = $made_number,)+
        }

        impl Kind {
            /// Every kind, in the order in which users see them.
            pub const ALL: [Kind; Kind::PROBED.len() + [$(Kind::$made),+].len()] =
                [$(Kind::$kind,)+ $(Kind::$made,)+];
            /// The kinds that probes make.
            pub const PROBED: [Kind; [$(Kind::$kind),+].len()] = [$(Kind::$kind),+];

            /// The name that filters, JSON and the account use.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)+
                    $(Kind::$made => $made_name,)+
                }
            }

            /// The key that shows and hides the kind in the dashboard, if there is one.
            pub const fn key(self) -> Option<char> {
                match self {
                    $(Kind::$kind => Some($key),)+
                    $(Kind::$made => None,)+
                }
            }

            /// Whether probes make the kind and it is shown if no kinds are named.
            pub const fn on_by_default(self) -> bool {
                match self {
                    $(Kind::$kind => flag!($default on),)+
                    $(Kind::$made => false,)+
                }
            }

            /// Whether the kind is traced only if processes are chosen (a COMMAND, `--pid`, `--tree`) or the kind is named.
            pub const fn needs_aim(self) -> bool {
                match self {
                    $(Kind::$kind => flag!($default aimed),)+
                    $(Kind::$made => false,)+
                }
            }

            /// Whether there may be enough events of the kind to fill the ring. They are refused if less than the
            /// reserve is free ([`crate::offsets::Const::OpenLimit`]).
            #[inline(always)]
            pub const fn floods(self) -> bool {
                match self {
                    $(Kind::$kind => flag!($floods floods),)+
                    $(Kind::$made => false,)+
                }
            }

            /// Whether the process table needs the kind, even if the capture filter rejects it.
            #[inline(always)]
            pub const fn keeps_the_table(self) -> bool {
                match self {
                    $(Kind::$kind => flag!($bookkeeping table),)+
                    $(Kind::$made => false,)+
                }
            }
        }
    };
}

kinds! {
    // kind, number: name, key, on by default (`aimed`: for chosen processes), floods the ring, needed by the process table
    probed {
        Exec = 1: "exec" 'E' on -      table, "A program was started, or failed to start.";
        Exit = 2: "exit" 'X' on -      table, "A process ended: its last thread did.";
        Open = 3: "open" 'O' on floods -,     "A file was opened, or failed to open.";
        Fork = 4: "fork" 'K' -  -      table, "A process was created.";
        Bpf = 5:  "bpf"  'B' on -      -,     "A BPF program was loaded or attached, or failed to.";
        Tcp = 7:  "tcp"  'I' on -      -,     "A TCP connection was requested, accepted or closed.";
        File = 8: "file" 'M' on floods -,     "A name or the attributes of a file were changed, or failed to be.";
        Lookup = 9: "lookup" 'U' aimed floods -, "A path was looked up without opening its file, and the lookup failed.";
        Unix = 10: "unix" 'R' on -     -,     "A Unix socket was connected to, or the connect failed.";
    }
    made in user space {
        Lost = 6: "lost", "Events are missing here.";
    }
}

impl Kind {
    /// The kinds that probes make, those that are on by default first.
    pub const DEFAULT_FIRST: [Kind; Kind::PROBED.len()] = {
        let mut kinds = Kind::PROBED;
        let (mut next, mut at) = (0, 0);
        while at < 2 * Kind::PROBED.len() {
            let kind = Kind::PROBED[at % Kind::PROBED.len()];
            if kind.on_by_default() == (at < Kind::PROBED.len()) {
                kinds[next] = kind;
                next += 1;
            }
            at += 1;
        }
        kinds
    };

    /// The kind of most events that need no attention. Its key also lists those that a calm list leaves out.
    pub const HUSHED: Kind = Kind::Open;

    /// A kind of which tracetui itself makes events. If none arrives, its program does not run or reads wrong offsets.
    pub const CHECKED: Kind = Kind::Open;

    /// The kind of the requests to io_uring that an event of their end completes.
    pub const REQUESTED: Kind = Slot::OpenUring.kind();

    /// Bytes of the longest title.
    pub const TITLE_LEN: usize = 4;

    /// The name in a column: the first letters, in upper case.
    pub fn title(self) -> impl Iterator<Item = u8> {
        self.name().bytes().take(Kind::TITLE_LEN).map(|byte| byte.to_ascii_uppercase())
    }

    /// The index of the kind in [`Kind::PROBED`].
    pub fn place(self) -> Option<usize> {
        Kind::PROBED.iter().position(|kind| *kind == self)
    }

    /// The bit that stands for this kind in [`crate::capture::Capture::kinds`] and in a [`KindSet`].
    pub const fn bit(self) -> u32 {
        1 << self as u16
    }
}

/// The value on the wire is not a kind of event. It may be that of a host frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind(pub u16);

impl TryFrom<u16> for Kind {
    type Error = UnknownKind;
    fn try_from(value: u16) -> Result<Self, UnknownKind> {
        Kind::ALL.into_iter().find(|k| *k as u16 == value).ok_or(UnknownKind(value))
    }
}

/// The kinds that probes make and that pass a test.
macro_rules! probed {
    ($test:ident) => {{
        let (mut set, mut at) = (KindSet::NONE, 0);
        while at < Kind::PROBED.len() {
            if Kind::PROBED[at].$test() {
                set.0 |= Kind::PROBED[at].bit();
            }
            at += 1;
        }
        set
    }};
}

/// A set of kinds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct KindSet(u32);

impl KindSet {
    /// No kind.
    pub const NONE: KindSet = KindSet(0);
    /// Every kind.
    pub const ALL: KindSet = KindSet::of(&Kind::ALL);
    /// The kinds that probes make.
    pub const PROBED: KindSet = KindSet::of(&Kind::PROBED);
    /// The kinds that probes make and that are shown if none are named.
    pub const BY_DEFAULT: KindSet = probed!(on_by_default);

    /// The kinds that probes make and that are shown only on request.
    pub const ON_REQUEST: KindSet = KindSet(KindSet::PROBED.0 & !KindSet::BY_DEFAULT.0 & !KindSet::AIMED.0);

    /// The kinds that are traced only if processes are chosen or the kind is named.
    pub const AIMED: KindSet = probed!(needs_aim);

    /// The kinds that are traced of a COMMAND if none are named.
    pub const OF_COMMAND: KindSet = KindSet(KindSet::BY_DEFAULT.0 | KindSet::AIMED.0);

    /// The kinds of events about objects that the kernel lists: an inventory and a stream of the kernel's own show more of them than
    /// the probes.
    pub const LISTED: KindSet = KindSet::of(&[Kind::Bpf]);

    /// The kinds of events that are calls. The end of a process is none: a call that failed before may be its cause.
    pub const CALLS: KindSet = KindSet(KindSet::ALL.0 & !Kind::Exit.bit());

    /// The kinds of events about the program of a process, from its start to its end. They contain the session.
    pub const OF_PROGRAMS: KindSet = KindSet::of(&[Kind::Exec, Kind::Exit]);

    /// The kinds whose events have the kernel stack by default.
    pub const WITH_STACK: KindSet = KindSet::of(&[Kind::Bpf]);

    /// The set of these kinds.
    pub const fn of(kinds: &[Kind]) -> KindSet {
        let (mut set, mut at) = (KindSet::NONE, 0);
        while at < kinds.len() {
            set.0 |= kinds[at].bit();
            at += 1;
        }
        set
    }

    /// The set as [`crate::capture::Capture::kinds`] holds it: [`Kind::bit`]s.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The set with these [`Self::bits`]. Bits that belong to no kind are ignored.
    pub const fn from_bits(bits: u32) -> KindSet {
        KindSet(bits & KindSet::ALL.0)
    }

    /// Whether the kind is in the set.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Whether no kind is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds, in the order of [`Kind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// The set with the kind added, or removed if the set contains it.
    #[must_use]
    pub const fn toggled(self, kind: Kind) -> KindSet {
        KindSet(self.0 ^ kind.bit())
    }
}

impl From<Kind> for KindSet {
    fn from(kind: Kind) -> KindSet {
        KindSet(kind.bit())
    }
}

impl FromIterator<Kind> for KindSet {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> KindSet {
        kinds.into_iter().fold(KindSet::NONE, |set, kind| set | kind.into())
    }
}

impl BitOr for KindSet {
    type Output = KindSet;
    fn bitor(self, other: KindSet) -> KindSet {
        KindSet(self.0 | other.0)
    }
}

impl BitAnd for KindSet {
    type Output = KindSet;
    fn bitand(self, other: KindSet) -> KindSet {
        KindSet(self.0 & other.0)
    }
}

impl BitAndAssign for KindSet {
    fn bitand_assign(&mut self, other: KindSet) {
        self.0 &= other.0;
    }
}

impl Not for KindSet {
    type Output = KindSet;
    fn not(self) -> KindSet {
        KindSet(!self.0 & KindSet::ALL.0)
    }
}

impl fmt::Debug for KindSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Whether a slot is one of those whose last column is `Request`.
macro_rules! is_request {
    ($of:expr, [$($found:ident)+]) => {
        matches!($of, $(Slot::$found)|+)
    };
    ($of:expr, [$($found:ident)*] $slot:ident Request, $($rest:tt)*) => {
        is_request!($of, [$($found)* $slot] $($rest)*)
    };
    ($of:expr, [$($found:ident)*] $slot:ident $shows:ident, $($rest:tt)*) => {
        is_request!($of, [$($found)*] $($rest)*)
    };
}

// The probes' machine code depends on the form of these matches: one arm per kind, and no further inlining.
macro_rules! slots {
    ($($kind:ident { $($slot:ident = $number:literal: $program:literal $shows:ident, $doc:literal;)+ })+) => {
        /// One stream of numbered events: a kind as one program makes it. Sequence numbers and counters are kept for
        /// each (slot, CPU), because only there a plain increment is exact: the kernel never runs one program twice at
        /// once on a CPU.
        #[repr(u16)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum Slot {
            $($(#[doc = $doc] $slot = $number,)+)+
        }

        impl Slot {
            /// Every slot.
            pub const ALL: [Slot; [$($(Slot::$slot),+),+].len()] = [$($(Slot::$slot),+),+];

            /// The kind of event that this slot makes.
            pub const fn kind(self) -> Kind {
                match self {
                    $($(Slot::$slot)|+ => Kind::$kind,)+
                }
            }

            /// The program in the probe object that fills this slot.
            pub const fn program(self) -> &'static str {
                match self {
                    $($(Slot::$slot => $program,)+)+
                }
            }

            /// The part of its kind that this slot shows.
            #[inline(always)]
            pub const fn shows(self) -> Shows {
                match self {
                    $($(Slot::$slot => Shows::$shows,)+)+
                }
            }

            /// Whether each of its events ends a request ([`Shows::End`]).
            #[inline(always)]
            pub const fn ends_a_request(self) -> bool {
                matches!(self.shows(), Shows::End)
            }

            /// Whether its records are requests ([`Shows::Request`]).
            pub const fn is_request(self) -> bool {
                is_request!(self, [] $($($slot $shows,)+)+)
            }
        }
    };
}

slots! {
    // slot, number in recordings: program, the part of the kind that it shows
    Exec {
        Exec = 0:             "sched_exec"      Most,    "`exec` from the tracepoint `sched_process_exec`.";
        ExecFailed = 9:       "sys_exit"        Failures,"Failed `exec`, from the ends of system calls.";
    }
    Exit {
        Exit = 2:             "sched_exit"      Most,    "`exit` from the tracepoint `sched_process_exit`.";
    }
    Open {
        Open = 5:             "sys_exit"        Most,    "`open` from the ends of system calls.";
        OpenUring = 11:       "uring_complete"  End,     "`open` through io_uring, from the tracepoint `io_uring_complete`.";
        UringSubmit = 18:     "uring_submit"    Request, "Requests of io_uring, from the tracepoint `io_uring_submit_req` (`io_uring_submit_sqe`).";
        UringRefused = 20:    "uring_refused"   Request, "Requests that io_uring refuses, from the tracepoint `io_uring_req_failed`.";
    }
    Fork {
        Fork = 4:             "sched_fork"      Most,    "`fork` from the tracepoint `sched_process_fork`, or the entry of `wake_up_new_task`.";
    }
    Bpf {
        Bpf = 6:              "sys_exit"        Most,    "`bpf` from the ends of system calls.";
        BpfNetlink = 35:      "bpf_netlink"     Request, "Changes of attachments by rtnetlink, from its notifications.";
        BpfXdp = 17:          "bpf_xdp"         Request, "Changes of XDP programs by rtnetlink, from the return of `dev_change_xdp_fd`.";
    }
    File {
        File = 36:            "sys_exit"        Most,    "`file` from the ends of system calls.";
        FileWritten = 43:     "file_closed"     Rest,    "`file` from the end of the last reference to a file that was open for writing.";
        FileUring = 37:       "uring_complete"  Rest,    "`file` through io_uring, from the tracepoint `io_uring_complete`. It makes no records: each is counted as missed.";
    }
    Lookup {
        Lookup = 38:          "sys_exit"        Most,    "`lookup` from the ends of system calls.";
        LookupUring = 42:     "uring_complete"  Rest,    "`lookup` through io_uring, as [`Slot::FileUring`].";
    }
    Unix {
        Unix = 39:            "sys_exit"        Most,    "`unix` from the ends of system calls.";
        UnixUring = 40:       "uring_complete"  Rest,    "`unix` through io_uring, from the tracepoint `io_uring_complete`. It makes no records: each is counted as missed.";
        UnixSubmit = 41:      "uring_submit"    Rest,    "Those of [`Slot::UnixUring`] that post no completion on success.";
    }
    Tcp {
        TcpState = 22:        "tcp_state"       Most,    "`tcp` from the tracepoint `inet_sock_set_state`.";
        TcpDestroy = 24:      "tcp_destroy"     Rest,    "`tcp` from the tracepoint `tcp_destroy_sock`.";
        TcpCall = 26:         "sys_exit"        Rest,    "`tcp` from the ends of system calls.";
        TcpUring = 29:        "uring_complete"  Rest,    "`tcp` through io_uring, from the tracepoint `io_uring_complete`.";
        TcpBegun = 34:        "tcp_begun"       Rest,    "`tcp` of calls that began before programs were attached to the returns of their functions.";
        TcpSweep = 31:        "tcp_sweep"       Rest,    "`tcp` from an iterator over the connections without an outcome.";
        TcpSubmit = 32:       "uring_submit"    Request, "Requests of io_uring for connections, from the same tracepoint as [`Slot::UringSubmit`]. It makes no records.";
    }
}

/// The part of its kind that a slot shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shows {
    /// Most events of the kind.
    Most,
    /// Only events that slots of [`Shows::Most`] do not see.
    Rest,
    /// Only failed events, which slots of [`Shows::Most`] do not see.
    Failures,
    /// As [`Shows::Rest`], and each event ends a request.
    End,
    /// Requests, each of which is only a part of an event ([`crate::header::flag::REQUEST`]).
    Request,
}

/// The number of slots for which the counters have room.
pub const SLOTS: usize = 64;

/// The number of kinds for which a [`KindSet`] and the index of a recording have room. There is no kind 0.
pub const KINDS: usize = 32;

const _: () = {
    let mut at = 0;
    while at < Kind::ALL.len() {
        let number = Kind::ALL[at] as usize;
        assert!(1 <= number && number <= Kind::ALL.len(), "kinds are numbered from 1, without holes");
        assert!(number < KINDS, "the sets and the index have no room for so many kinds");
        at += 1;
    }
    let mut at = 0;
    while at < Slot::ALL.len() {
        assert!((Slot::ALL[at] as usize) < SLOTS, "the counters have no room for the slot");
        at += 1;
    }
};

impl Slot {
    /// The slots of a kind.
    pub fn of_kind(kind: Kind) -> impl Iterator<Item = Slot> {
        Slot::ALL.into_iter().filter(move |slot| slot.kind() == kind)
    }

    /// The slots that a program fills.
    pub fn of_program(program: &str) -> impl Iterator<Item = Slot> {
        Slot::ALL.into_iter().filter(move |slot| slot.program() == program)
    }
}

/// Whether a program shows most events of a kind, instead of only those that another program does not see.
pub fn shows_most(program: &str, kind: Kind) -> bool {
    Slot::of_program(program).any(|slot| slot.kind() == kind && slot.shows() == Shows::Most)
}

impl TryFrom<u16> for Slot {
    type Error = UnknownKind;
    fn try_from(value: u16) -> Result<Self, UnknownKind> {
        Slot::ALL.into_iter().find(|s| *s as u16 == value).ok_or(UnknownKind(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_values_stay() {
        let kinds = ["exec", "exit", "open", "fork", "bpf", "lost", "tcp", "file", "lookup", "unix"];
        for (number, name) in (1..).zip(kinds) {
            assert_eq!(Kind::try_from(number).map(Kind::name), Ok(name));
        }
        let slots = [
            (0, Kind::Exec, "sched_exec"),
            (2, Kind::Exit, "sched_exit"),
            (4, Kind::Fork, "sched_fork"),
            (5, Kind::Open, "sys_exit"),
            (6, Kind::Bpf, "sys_exit"),
            (9, Kind::Exec, "sys_exit"),
            (11, Kind::Open, "uring_complete"),
            (17, Kind::Bpf, "bpf_xdp"),
            (18, Kind::Open, "uring_submit"),
            (20, Kind::Open, "uring_refused"),
            (22, Kind::Tcp, "tcp_state"),
            (24, Kind::Tcp, "tcp_destroy"),
            (26, Kind::Tcp, "sys_exit"),
            (29, Kind::Tcp, "uring_complete"),
            (31, Kind::Tcp, "tcp_sweep"),
            (32, Kind::Tcp, "uring_submit"),
            (34, Kind::Tcp, "tcp_begun"),
            (35, Kind::Bpf, "bpf_netlink"),
            (36, Kind::File, "sys_exit"),
            (37, Kind::File, "uring_complete"),
            (38, Kind::Lookup, "sys_exit"),
            (39, Kind::Unix, "sys_exit"),
            (40, Kind::Unix, "uring_complete"),
            (41, Kind::Unix, "uring_submit"),
            (42, Kind::Lookup, "uring_complete"),
            (43, Kind::File, "file_closed"),
        ];
        assert_eq!((kinds.len(), slots.len()), (Kind::ALL.len(), Slot::ALL.len()));
        for (number, kind, program) in slots {
            assert_eq!(Slot::try_from(number).map(|slot| (slot.kind(), slot.program())), Ok((kind, program)));
        }
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let set = KindSet::of(&[Kind::Fork, Kind::Exec]);
        assert!(set.iter().eq([Kind::Exec, Kind::Fork]), "{set:?}");
        assert_eq!((set.bits(), KindSet::from_bits(set.bits())), (1 << 4 | 1 << 1, set));
        assert_eq!((KindSet::from_bits(u32::MAX), !KindSet::NONE), (KindSet::ALL, KindSet::ALL));
        assert!((!set & set).is_empty() && !set | set == KindSet::ALL);
        assert_eq!(set.toggled(Kind::Fork), Kind::Exec.into());
        assert_eq!(set.toggled(Kind::Open), set | Kind::Open.into());
        assert_eq!(set.iter().collect::<KindSet>(), set);
    }

    #[test]
    fn kinds_that_are_hidden_at_first_come_last() {
        assert!(Kind::DEFAULT_FIRST.iter().is_sorted_by_key(|kind| !kind.on_by_default()));
        assert_eq!(KindSet::of(&Kind::DEFAULT_FIRST), KindSet::PROBED);
        assert!(KindSet::BY_DEFAULT.iter().eq(Kind::PROBED.into_iter().filter(|kind| kind.on_by_default())));
    }

    #[test]
    fn a_program_shows_most_of_a_kind_or_the_rest() {
        for (program, kind) in [("sched_exec", Kind::Exec), ("sys_exit", Kind::Open), ("sys_exit", Kind::Bpf)] {
            assert!(shows_most(program, kind), "{program}");
        }
        for program in ["sys_exit", "exec_bprm"] {
            assert!(!shows_most(program, Kind::Exec), "{program}");
        }
        for program in ["uring_submit", "uring_complete", "sched_exec"] {
            assert!(!shows_most(program, Kind::Open), "{program}");
        }
    }
}
