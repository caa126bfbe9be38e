//! Facts about BPF programs, links and attachments, without I/O.
//!
//! The crate `tracetui-inspect` collects an [`Inventory`] from the running kernel;
//! [`sink::inventory`](crate::sink::inventory) writes it as text and JSON.
//! Facts hold the numbers of the kernel and bytes; [`frames`] makes host frames of them. Names are added where
//! they are shown.

pub mod frames;
pub mod place;

use frames::hook;
use tracetui_shared::id::{KernelAddr, LinkId, NsInum, ProgId, Tgid, Uid};
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
}

impl Inventory {
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
    /// Whether it belongs to tracetui.
    pub own: bool,
}

/// Helpers that change something outside of the program's own memory. The names are those of the functions in the
/// kernel, each with the helper's name. Bit `n` of [`HelperCalls::altering`] is element `n`; elements are only appended.
pub const ALTERING: [(&str, &str); 22] = [
    ("bpf_probe_write_user", "probe_write_user"),
    ("bpf_override_return", "override_return"),
    ("bpf_send_signal", "send_signal"),
    ("bpf_send_signal_thread", "send_signal_thread"),
    ("bpf_sys_bpf", "sys_bpf"),
    ("bpf_sys_close", "sys_close"),
    ("bpf_set_retval", "set_retval"),
    ("bpf_sysctl_set_new_value", "sysctl_set_new_value"),
    ("bpf_bprm_opts_set", "bprm_opts_set"),
    ("bpf_skb_store_bytes", "skb_store_bytes"),
    ("sk_skb_store_bytes", "skb_store_bytes"),
    ("bpf_xdp_store_bytes", "xdp_store_bytes"),
    ("bpf_clone_redirect", "clone_redirect"),
    ("bpf_redirect", "redirect"),
    ("bpf_redirect_neigh", "redirect_neigh"),
    ("bpf_redirect_peer", "redirect_peer"),
    ("bpf_xdp_redirect", "redirect"),
    ("bpf_sk_setsockopt", "setsockopt"),
    ("bpf_sock_addr_setsockopt", "setsockopt"),
    ("bpf_sock_ops_setsockopt", "setsockopt"),
    ("bpf_unlocked_sk_setsockopt", "setsockopt"),
    ("bpf_msg_push_data", "msg_push_data"),
];

/// The element of [`ALTERING`] that writes to the memory of processes.
const PROBE_WRITE_USER: u32 = 0;

/// The result of a scan of a program's instructions. A scan in the kernel gives the same facts as one in user space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HelperCalls {
    /// The helpers of [`ALTERING`] that it calls, as bits.
    pub altering: u32,
    /// Why other calls may be missing here; `None` if all were seen.
    pub unknown: Option<NotScanned>,
}

impl HelperCalls {
    /// Whether the program calls `bpf_probe_write_user`; `Err` if unknown.
    pub fn write_user(self) -> Result<bool, NotScanned> {
        match self.unknown {
            _ if self.altering >> PROBE_WRITE_USER & 1 != 0 => Ok(true),
            None => Ok(false),
            Some(why) => Err(why),
        }
    }

    /// The names of the helpers that it calls, each once.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let is_set = move |n: usize| self.altering >> n & 1 != 0;
        let is_first = move |n: usize, name: &str| !(0..n).any(|before| is_set(before) && ALTERING[before].1 == name);
        ALTERING.iter().enumerate().filter(move |(n, (_, name))| is_set(*n) && is_first(*n, name)).map(|(_, (_, n))| *n)
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
    }

    /// A way to learn which programs and links exist.
    #[derive(Default)]
    View {
        /// BPF_PROG_GET_NEXT_ID, or BPF_LINK_GET_NEXT_ID for links.
        #[default]
        NextId = 0 "next_id",
        /// BPF_PROG_GET_FD_BY_ID.
        FdById = 1 "fd_by_id",
        /// /proc/kallsyms.
        Kallsyms = 2 "kallsyms",
        /// /proc/PID/fdinfo.
        Fdinfo = 3 "fdinfo",
        /// The program of a link.
        Link = 4 "link",
        /// A program of the iterator `bpf_prog`, in the kernel.
        IterProg = 5 "iter_prog",
        /// A program of the iterator `bpf_link`, in the kernel.
        IterLink = 6 "iter_link",
    }
}

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
    /// Further properties, as words: the mode of XDP, the sharing of cgroups, the direction of tc.
    pub flags: Vec<u8>,
    /// Whether the program no longer runs here: the link was detached, or its interface, namespace or cgroup was removed. The
    /// kernel then names no place.
    pub detached: bool,
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
}

impl Hook {
    /// The hooks beside attach types, with their numbers in frames and their names.
    const NUMBERED: [(Hook, u8, &str); 11] = [
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
}

/// A program or link that one view of the kernel shows and another does not, although it did not just come or go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// The id of the program, if a view shows it; `None` for a link without a program.
    pub id: Option<ProgId>,
    pub link: Option<Link>,
    /// The address of one of its functions, if a view shows it.
    pub addr: Option<KernelAddr>,
    /// The name of its symbol, if a view shows it.
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
    pub pid: Tgid,
    /// The name of its leader.
    pub comm: Vec<u8>,
    pub fd: u32,
}

/// The beginning of [`Unseen::what`] if views could not be compared. All attachments are known in that case.
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
        let unknown = HelperCalls { altering: 0, unknown: Some(NotScanned::Withheld) };
        assert_eq!(unknown.write_user(), Err(NotScanned::Withheld));
        assert_eq!(HelperCalls { altering: 1, ..unknown }.write_user(), Ok(true));
        assert_eq!(HelperCalls { altering: 2, unknown: None }.write_user(), Ok(false));
    }

    #[test]
    fn the_probes_look_for_the_first_ones() {
        for (name, (symbol, helper)) in tracetui_shared::record::bpf::HELPERS.into_iter().zip(ALTERING) {
            assert_eq!((name, symbol), (helper, &*format!("bpf_{name}")));
        }
    }

    #[test]
    fn a_helper_with_several_functions_is_named_once() {
        let all = HelperCalls { altering: u32::MAX, unknown: None };
        let names: Vec<_> = all.names().collect();
        assert_eq!(names.iter().filter(|name| **name == "setsockopt").count(), 1);
        assert_eq!(names[..2], ["probe_write_user", "override_return"]);
        assert_eq!(HelperCalls::default().names().count(), 0);
    }
}
