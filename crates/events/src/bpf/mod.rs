//! Facts about BPF programs, links and attachments, without I/O.
//!
//! The crate `tracetui-inspect` collects an [`Inventory`] from the running kernel;
//! [`sink::inventory`](crate::sink::inventory) writes it as text and JSON.
//! Facts hold the numbers of the kernel and bytes; [`frames`] makes host frames of them. Names are added where
//! they are shown.

pub mod frames;
pub mod place;

use crate::frame::host::{BpfAttachment, BpfMap};
use foldhash::HashSet;
use frames::hook;
use tracetui_shared::helper::{Changes, HELPERS, PROBE_WRITE_USER};
use tracetui_shared::id::{CgroupId, KernelAddr, LinkId, NsInum, ProgId, Tgid, Uid};
use tracetui_shared::time::BootNanos;

/// Enums whose variants have a number in frames and a name.
macro_rules! numbered {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $text:literal,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_doc])* $variant = $number,)* }

        impl $name {
            pub fn of(number: impl TryInto<u8>) -> Option<$name> {
                match number.try_into().ok()? {
                    $($number => Some($name::$variant),)*
                    _ => None,
                }
            }

            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }
        }
    )* };
}

/// All BPF programs and where they are attached, at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// The programs, ascending by id.
    pub programs: Vec<ProgramFacts>,
    /// The links, ascending by id, then the attachments without a link.
    pub attachments: Vec<AttachFacts>,
    /// The holders that keep programs and links in the kernel.
    pub holders: Vec<Holder>,
    /// Programs that one view of the kernel shows and another does not.
    pub hidden: Vec<Hidden>,
    /// Attachments whose program the kernel does not name.
    pub unresolved: Vec<UnresolvedAttachment>,
    /// The places that could not be examined.
    pub unseen: Vec<Unseen>,
    /// Programs, links and other objects that were removed while they were being read.
    pub vanished: u64,
    /// The links among them: each was removed, or was being made. The kernel lists a link before it can be opened (`bpf_link_prime`
    /// to `bpf_link_settle`; tcx waits for RCU in between, after the program was attached).
    pub unopened_links: Vec<LinkId>,
    /// The links that exist and could not be read.
    pub unread_links: HashSet<LinkId>,
}

impl Inventory {
    /// Leaves out tracetui's programs, and their links and holders.
    pub fn without_own(mut self) -> Inventory {
        let mut own: HashSet<Object> = HashSet::default();
        own.extend(self.programs.extract_if(.., |program| program.own).map(|program| Object::Program(program.id)));
        let links = self.attachments.extract_if(.., |facts| own.contains(&Object::Program(facts.program)));
        let links: Vec<_> = links.filter_map(|facts| facts.link).map(|link| Object::Link(link.id)).collect();
        own.extend(links);
        self.holders.retain(|holder| !own.contains(&holder.object));
        self
    }

    pub fn program(&self, id: ProgId) -> Option<&ProgramFacts> {
        self.programs.binary_search_by_key(&id, |program| program.id).ok().and_then(|at| self.programs.get(at))
    }
}

/// A program: `struct bpf_prog_info`
/// ([include/uapi/linux/bpf.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/bpf.h)).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProgramFacts {
    pub id: ProgId,
    /// `BPF_PROG_TYPE_*`.
    pub prog_type: u32,
    /// The name of its main function from its BTF, or else the name as loaded, of at most 15 bytes.
    pub name: Vec<u8>,
    /// The hash of its instructions, as a big-endian number.
    pub tag: u64,
    pub uid: Uid,
    pub loaded: BootNanos,
    /// How often it ran while statistics were on.
    pub run_count: u64,
    /// The total duration of these runs, in nanoseconds.
    pub run_time_ns: u64,
    /// How often the kernel skipped it (5.12+).
    pub recursion_misses: u64,
    /// Bytes of machine code; 0 if it is interpreted.
    pub jited_len: u32,
    /// Bytes of instructions after the verifier.
    pub xlated_len: u32,
    /// The addresses of its functions, the main function first. Empty if the kernel hides addresses.
    pub addresses: Vec<KernelAddr>,
    pub calls: HelperCalls,
    /// The functions of the kernel that it calls directly (kfuncs); empty for an unknown one.
    pub kfuncs: Vec<String>,
    /// The maps that it uses.
    pub maps: Vec<BpfMap>,
    /// Whether it belongs to tracetui.
    pub own: bool,
}

/// The result of a scan of a program's instructions. A scan in the kernel gives the same facts as one in user space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HelperCalls {
    /// The helpers of [`HELPERS`] that it calls, as bits.
    pub helpers: u64,
    /// Why other calls may be missing here; `None` if all were seen.
    pub unknown: Option<NotScanned>,
}

impl HelperCalls {
    /// Whether the program calls `bpf_probe_write_user`; `Err` if unknown.
    pub fn write_user(self) -> Result<bool, NotScanned> {
        match self.unknown {
            _ if self.helpers & PROBE_WRITE_USER != 0 => Ok(true),
            None => Ok(false),
            Some(why) => Err(why),
        }
    }

    /// The names of the helpers that it calls.
    pub fn names(self) -> Words {
        Words::new(self.helpers, |bit| HELPERS.get(bit).map_or("unknown", |helper| helper.name))
    }

    /// The names of the helpers that change this.
    pub fn that_change(self, what: Changes) -> Words {
        HelperCalls { helpers: self.helpers & changing(what), ..self }.names()
    }

    /// What the helpers change that it calls.
    pub fn changes(self) -> Words {
        let calls = Changes::ALL.into_iter().enumerate().filter(|(_, what)| self.helpers & changing(*what) != 0);
        let bits = calls.fold(0, |bits, (index, _)| bits | 1 << index);
        Words::new(bits, |bit| Changes::ALL.get(bit).map_or("unknown", |what| what.name()))
    }
}

/// The bits of the helpers that change this.
fn changing(what: Changes) -> u64 {
    let set = HELPERS.iter().enumerate().filter(|(_, helper)| helper.changes == what);
    set.fold(0, |bits, (index, _)| bits | 1 << index)
}

/// A set of words.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    bits: u64,
    /// The word of a bit.
    word: fn(usize) -> &'static str,
}

impl Words {
    pub fn new(bits: u64, word: fn(usize) -> &'static str) -> Words {
        Words { bits, word }
    }
}

impl Iterator for Words {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        let bit = self.bits.trailing_zeros();
        self.bits &= self.bits.checked_sub(1)?;
        Some((self.word)(bit as usize))
    }
}

numbered! {
    /// The reason why the helpers that a program calls are not known.
    NotScanned {
        /// The kernel hides addresses from tracetui (`kernel.kptr_restrict`, no CAP_SYSLOG).
        NotPermitted = 1 "not_permitted",
        /// The kernel withheld the instructions, or has none that call helpers by address (offloaded to a device).
        Withheld = 2 "withheld",
        /// The program has more instructions than are scanned.
        TooLong = 3 "cut",
        /// The addresses of the helpers are not known: /proc/kallsyms cannot be read, or contradicts the kernel.
        NoSymbols = 4 "unreachable",
        Vanished = 5 "vanished",
        /// It continues with other programs, which may call any helper.
        TailCall = 6 "tail_call",
    }

    /// The mechanism of an attachment.
    #[derive(Default)]
    Via {
        #[default]
        Link = 0 "link",
        /// PERF_EVENT_IOC_SET_BPF.
        Ioctl = 1 "ioctl",
        /// BPF_PROG_ATTACH.
        ProgAttach = 2 "prog_attach",
        Netlink = 3 "netlink",
        /// An element of a map.
        Map = 4 "map",
        /// SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_EBPF.
        Setsockopt = 5 "setsockopt",
    }

    /// A way to learn which programs and links exist.
    #[derive(Default)]
    View {
        /// BPF_PROG_GET_NEXT_ID, or BPF_LINK_GET_NEXT_ID for links.
        #[default]
        NextId = 0 "next_id",
        /// BPF_PROG_GET_FD_BY_ID, or BPF_LINK_GET_FD_BY_ID.
        FdById = 1 "fd_by_id",
        /// BPF_OBJ_GET_INFO_BY_FD.
        ObjInfo = 2 "obj_info",
        /// A program of the iterator `bpf_prog`, in the kernel.
        IterProg = 3 "iter_prog",
        /// A program of the iterator `bpf_link`, in the kernel.
        IterLink = 4 "iter_link",
    }
}

/// The programs at a part of a network interface without links, as a notification of the kernel shows them.
#[derive(Clone, Debug, PartialEq)]
pub struct InterfacePart {
    pub netns: NsInum,
    pub ifindex: u32,
    pub part: Part,
    /// All programs that are attached there now.
    pub programs: Vec<AttachFacts>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// The interface is gone, or is in another namespace now.
    All,
    Xdp,
    /// The filters at places that begin so, in [`AttachFacts::flags`]. `number`: only those with this priority, chain and handle.
    /// `any_handle`: those with any handle.
    Filters {
        places: Vec<Vec<u8>>,
        number: Option<Vec<u8>>,
        any_handle: bool,
    },
}

impl InterfacePart {
    /// Whether an attachment in the frames of an inventory belongs to this part.
    fn covers(&self, known: &BpfAttachment) -> bool {
        let is_there = (known.link.0, known.ifindex, known.netns) == (0, Some(self.ifindex), Some(self.netns));
        let hook = Hook::of(known.hook, known.attach_type);
        is_there
            && match &self.part {
                Part::All => true,
                Part::Xdp => hook == Hook::Type(XDP),
                Part::Filters { places, number, any_handle } => {
                    let mut rests = places.iter().filter_map(|place| known.flags.strip_prefix(place.as_slice()));
                    let is_numbered = |rest: &[u8]| {
                        let Some(number) = number else { return true };
                        let words = [&b" direct-action"[..], b" action"];
                        let rest = words.iter().find_map(|word| rest.strip_prefix(*word)).unwrap_or(rest);
                        let rest = rest.strip_prefix(number.as_slice());
                        rest.is_some_and(|rest| rest.is_empty() || *any_handle && rest.starts_with(b" handle "))
                    };
                    hook == Hook::Tc && rests.any(is_numbered)
                }
            }
    }
}

/// BPF_XDP, an attach type.
pub const XDP: u32 = 37;

/// A program attached somewhere, by a link or without one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttachFacts {
    /// The program; 0 for a link without one (struct_ops, or detached).
    pub program: ProgId,
    pub link: Option<Link>,
    pub via: Via,
    pub hook: Hook,
    /// The attach point as text: a tracepoint, a file, an interface, a cgroup, a map, an iterator's target.
    pub target: Vec<u8>,
    /// The kernel function; empty if there is none.
    pub symbol: Vec<u8>,
    /// The offset in the function or file, in bytes.
    pub offset: Option<u64>,
    pub addr: Option<KernelAddr>,
    /// The kernel module, or the name of the kernel object that has the function.
    pub module: Vec<u8>,
    /// The number of attach points of a link with several.
    pub multi: Option<u32>,
    /// The cookie; `None` if the kernel does not report it.
    pub cookie: Option<u64>,
    pub ifindex: Option<u32>,
    /// The network namespace of the interface.
    pub netns: Option<NsInum>,
    /// How often the kernel skipped the program here.
    pub missed: Option<u64>,
    /// The only process for which it runs.
    pub only: Option<Tgid>,
    /// The map that it is in, and the index or key there.
    pub map: Option<u32>,
    pub index: Option<u32>,
    /// Further properties, as words: the mode of XDP, the sharing of cgroups, the direction of tc.
    pub flags: Vec<u8>,
    /// The cgroup, without a link; 0 if it is attached elsewhere.
    pub cgroup: CgroupId,
    /// The perf event, without a link, if it is neither a tracepoint nor a probe (`perf_event.id`); 0 if it is attached elsewhere.
    pub event: u32,
    /// Whether the program no longer runs here: the link was detached, or its interface, namespace or cgroup was removed. The
    /// kernel then names no place.
    pub detached: bool,
}

impl AttachFacts {
    /// The address of the function; `None` for a group of sockets, which an address only identifies.
    pub fn function(&self) -> Option<KernelAddr> {
        self.addr.filter(|_| self.hook != Hook::Reuseport)
    }
}

/// A link: `struct bpf_link_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub id: LinkId,
    /// `BPF_LINK_TYPE_*`.
    pub link_type: u32,
}

impl Via {
    pub(crate) fn named(name: &str) -> Option<Via> {
        (0..=u8::MAX).map_while(Via::of).find(|via| via.name() == name)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// The kernel does not report it.
    #[default]
    Unknown,
    /// A `BPF_*` attach type.
    Type(u32),
    /// The entry of a kernel function, or an address in it.
    Kprobe,
    /// The return of a kernel function.
    Kretprobe,
    /// A place in a file's code.
    Uprobe,
    /// The return of a function of a file.
    Uretprobe,
    /// A tracepoint by its event.
    Tracepoint,
    /// A tracepoint by its name.
    RawTracepoint,
    /// A perf event that is neither a tracepoint nor a probe.
    PerfEvent,
    /// A function of another program.
    Freplace,
    Tc,
    /// A table of functions of the kernel.
    StructOps,
    Netfilter,
    /// An element of a map of programs, which `bpf_tail_call` runs.
    ProgArray,
    /// An element of a map of interfaces: the program sees the packets that are redirected to it.
    Devmap,
    /// An element of a map of processors.
    Cpumap,
    /// The filter of a socket.
    SocketFilter,
    /// A group of sockets (SO_REUSEPORT), for which the program selects the receiver.
    Reuseport,
}

impl Hook {
    /// The hooks beside attach types, with their numbers in frames and their names.
    const NUMBERED: [(Hook, u8, &str); 16] = [
        (Hook::Kprobe, hook::KPROBE, "kprobe"),
        (Hook::Kretprobe, hook::KRETPROBE, "kretprobe"),
        (Hook::Uprobe, hook::UPROBE, "uprobe"),
        (Hook::Uretprobe, hook::URETPROBE, "uretprobe"),
        (Hook::Tracepoint, hook::TRACEPOINT, "tracepoint"),
        (Hook::RawTracepoint, hook::RAW_TRACEPOINT, "raw_tracepoint"),
        (Hook::PerfEvent, 8, "perf_event"),
        (Hook::Freplace, 9, "freplace"),
        (Hook::Tc, 10, "tc"),
        (Hook::StructOps, 11, "struct_ops"),
        (Hook::Netfilter, 12, "netfilter"),
        (Hook::ProgArray, 13, "prog_array"),
        (Hook::Devmap, 14, "devmap"),
        (Hook::Cpumap, 15, "cpumap"),
        (Hook::SocketFilter, 16, "socket_filter"),
        (Hook::Reuseport, hook::REUSEPORT, "reuseport"),
    ];

    /// The numbers in [`BpfAttachment`](crate::frame::host::BpfAttachment): of the hook, and of the attach type.
    fn numbers(self) -> (u8, u32) {
        match self {
            Hook::Type(attach_type) => (hook::TYPE, attach_type),
            _ => (Hook::NUMBERED.iter().find(|(hook, ..)| *hook == self).map_or(0, |(_, number, _)| *number), 0),
        }
    }

    pub(crate) fn of(number: u8, attach_type: u32) -> Hook {
        match number {
            hook::TYPE => Hook::Type(attach_type),
            _ => Hook::NUMBERED.iter().find(|(_, known, _)| *known == number).map_or(Hook::Unknown, |(hook, ..)| *hook),
        }
    }

    /// The number in frames of the hook with a name.
    pub(crate) fn named(name: &str) -> Option<u8> {
        Hook::NUMBERED.iter().find(|(.., known)| *known == name).map(|(_, number, _)| *number)
    }

    /// The name; `None` of an attach type and of an unknown hook.
    pub(crate) fn name(self) -> Option<&'static str> {
        Hook::NUMBERED.iter().find(|(hook, ..)| *hook == self).map(|(.., name)| *name)
    }
}

/// A program or link, and its holder, which keeps it in the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    pub object: Object,
    pub by: HeldBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    Program(ProgId),
    Link(LinkId),
}

/// The holder of a program or link, which keeps it in the kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum HeldBy {
    Process {
        pid: Tgid,
        /// The name of its leader.
        comm: Vec<u8>,
        fd: u32,
    },
    /// A file in a bpffs.
    Pin(Vec<u8>),
    /// A perf event of a process, to which the program was attached by ioctl.
    Perf {
        pid: Tgid,
        /// The name of its leader.
        comm: Vec<u8>,
        /// The number of the descriptor of the event.
        fd: u32,
    },
    /// A socket of a process.
    Socket {
        pid: Tgid,
        /// The name of its leader.
        comm: Vec<u8>,
        /// The number of the descriptor of the socket.
        fd: u32,
    },
}

/// What [`Unseen`] says of the programs of sockets.
pub const SOCKETS: &str = "programs of sockets";

/// What [`Unseen`] says of the programs of maps of sockets.
pub const SOCKMAPS: &str = "programs of maps of sockets";

/// What [`Unseen`] says of perf_event programs that ioctl(2) attached.
pub const EVENTS: &str = "programs of perf events";

/// What [`Unseen`] says of links. A link that cannot be read explains no place, so it hides no attachment without a link.
pub const LINKS: &str = "links";

/// What [`Unseen`] says of pins, which attach nothing.
pub const PINS: &str = "pinned programs and links";

/// Whether what could not be read, as [`Unseen`] says it, may be where a program of this type is attached.
pub fn may_hide_place(unseen: &str, prog_type: u32) -> bool {
    const PERF_EVENT: u32 = 7;
    const SK_SKB: u32 = 14;
    const SK_MSG: u32 = 16;
    let only = [(SOCKMAPS, matches!(prog_type, SK_SKB | SK_MSG)), (EVENTS, prog_type == PERF_EVENT)];
    // Programs of sockets are never said to be attached nowhere.
    ![VIEWS, SOCKETS, PINS].iter().any(|what| unseen.starts_with(what))
        && only.iter().all(|(what, is_of_them)| *is_of_them || !unseen.starts_with(what))
}

/// A program or link that one view of the kernel shows and another does not, although it did not just come or go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// The id of the program, if a view shows it; `None` for a link without a program.
    pub id: Option<ProgId>,
    pub link: Option<Link>,
    /// The name of its symbol; empty for a link.
    pub name: Vec<u8>,
    /// The view that shows it.
    pub seen_by: View,
    /// The view that does not.
    pub missing_in: View,
}

/// An attachment whose program the kernel does not name.
#[derive(Clone, Debug, PartialEq)]
pub struct UnresolvedAttachment {
    pub hook: Hook,
    /// The socket as text; empty for a perf event.
    pub target: Vec<u8>,
    pub pid: Tgid,
    /// The name of its leader.
    pub comm: Vec<u8>,
    pub fd: u32,
}

/// What [`Unseen`] says if views could not be compared. All attachments are known in that case.
pub const VIEWS: &str = "hidden programs";

impl Unseen {
    /// `network namespaces: there are more than 1024`, and the remedy.
    pub fn text(&self) -> String {
        let remedy = if self.remedy.is_empty() { "" } else { ": " };
        format!("{}: {}{remedy}{}", self.what, self.why, self.remedy)
    }
}

/// A place that could not be examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The place, as a phrase.
    pub what: &'static str,
    pub why: String,
    /// The remedy; empty if there is none.
    pub remedy: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_scanned_is_not_said_to_be_harmless() {
        let unknown = HelperCalls { helpers: 0, unknown: Some(NotScanned::Withheld) };
        assert_eq!(unknown.write_user(), Err(NotScanned::Withheld));
        assert_eq!(HelperCalls { helpers: 1, ..unknown }.write_user(), Ok(true));
        assert_eq!(HelperCalls { helpers: 2, unknown: None }.write_user(), Ok(false));
    }

    #[test]
    fn helpers_are_grouped_by_what_they_change() {
        let all = HelperCalls { helpers: (1 << HELPERS.len()) - 1, unknown: None };
        assert_eq!(all.names().count(), HELPERS.len());
        let grouped: usize = Changes::ALL.map(|what| all.that_change(what).count()).iter().sum();
        assert_eq!((grouped, all.changes().count()), (HELPERS.len(), Changes::ALL.len()));
        let of = |name| 1 << HELPERS.iter().position(|helper| helper.name == name).expect("a helper");
        let calls = HelperCalls { helpers: of("redirect_map") | of("bind") | of("xdp_adjust_tail"), unknown: None };
        assert_eq!(calls.changes().collect::<Vec<_>>(), ["packet", "socket"]);
        assert_eq!(calls.that_change(Changes::Packet).collect::<Vec<_>>(), ["xdp_adjust_tail", "redirect_map"]);
        assert_eq!(HelperCalls { helpers: u64::MAX, unknown: None }.names().last(), Some("unknown"), "a later version");
    }
}
