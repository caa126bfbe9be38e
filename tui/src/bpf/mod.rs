//! What is known of BPF programs, links and attachments: plain facts, without I/O.
//!
//! [`crate::source::host::bpf`] collects an [`Inventory`] from the running kernel; [`report`] writes it as text and JSON.
//! Facts hold the numbers of the kernel and bytes; [`frames`] makes host frames of them. Names are added where
//! they are shown.

pub(crate) mod frames;
pub mod place;
pub mod report;

use tracetui_shared::id::{KernelAddr, LinkId, NsInum, ProgId, Tgid, Uid};
use tracetui_shared::time::BootNanos;

/// All BPF programs and where they are attached, at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// The programs, ascending by id.
    pub programs: Vec<ProgramFacts>,
    /// The links, ascending by id, then the attachments without a link.
    pub attachments: Vec<AttachFacts>,
    /// What keeps programs and links in the kernel.
    pub holders: Vec<Holder>,
    /// Programs that one view of the kernel shows and another does not.
    pub hidden: Vec<Hidden>,
    /// Attachments whose program the kernel does not name.
    pub unresolved: Vec<Unresolved>,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
    /// Programs, links and other objects that were removed while they were being read.
    pub vanished: u64,
    /// Those of them that are links: each was removed, or was being made. The kernel lists a link before it can be opened
    /// (`bpf_link_prime` to `bpf_link_settle`; tcx waits for RCU in between, after the program was attached).
    pub unopened_links: Vec<LinkId>,
}

impl Inventory {
    /// The program with an id.
    pub fn program(&self, id: ProgId) -> Option<&ProgramFacts> {
        self.programs.binary_search_by_key(&id, |program| program.id).ok().and_then(|at| self.programs.get(at))
    }
}

/// A program: `struct bpf_prog_info`
/// ([include/uapi/linux/bpf.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/bpf.h)).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProgramFacts {
    /// Its id.
    pub id: ProgId,
    /// `BPF_PROG_TYPE_*`.
    pub prog_type: u32,
    /// The name of its main function where its BTF has it, else the name as loaded, of at most 15 bytes.
    pub name: Vec<u8>,
    /// The hash of its instructions, as a big-endian number.
    pub tag: u64,
    /// The user who loaded it.
    pub uid: Uid,
    /// When it was loaded.
    pub loaded: BootNanos,
    /// How often it ran while statistics were on.
    pub run_count: u64,
    /// How long these runs took, in nanoseconds.
    pub run_time_ns: u64,
    /// How often the kernel skipped it (5.12+).
    pub recursion_misses: u64,
    /// Bytes of machine code; 0 if it is interpreted.
    pub jited_len: u32,
    /// Bytes of instructions after the verifier.
    pub xlated_len: u32,
    /// The addresses of its functions, the main function first. Empty if the kernel hides addresses.
    pub addresses: Vec<KernelAddr>,
    /// The helpers that it calls.
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

/// The reason why the helpers that a program calls are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotScanned {
    /// The kernel hides addresses from tracetui (`kernel.kptr_restrict`, no CAP_SYSLOG).
    NotPermitted,
    /// The kernel withheld the instructions, or has none that call helpers by address (offloaded to a device).
    Withheld,
    /// The program has more instructions than are scanned.
    TooLong,
    /// The addresses of the helpers are not known: /proc/kallsyms cannot be read, or contradicts the kernel.
    NoSymbols,
    /// The program was removed.
    Vanished,
}

impl NotScanned {
    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            NotScanned::NotPermitted => "not_permitted",
            NotScanned::Withheld => "withheld",
            NotScanned::TooLong => "cut",
            NotScanned::NoSymbols => "unreachable",
            NotScanned::Vanished => "vanished",
        }
    }
}

/// A program attached somewhere, by a link or without one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttachFacts {
    /// The program; 0 for a link without one (struct_ops, or detached).
    pub program: ProgId,
    /// The link.
    pub link: Option<Link>,
    /// The mechanism.
    pub via: Via,
    /// What it hangs on.
    pub hook: Hook,
    /// The attach point as text: a tracepoint, a file, an interface, a cgroup, a map, an iterator's target.
    pub target: Vec<u8>,
    /// The kernel function; empty if there is none.
    pub symbol: Vec<u8>,
    /// The offset in the function or file, in bytes.
    pub offset: Option<u64>,
    /// The address of the attach point.
    pub addr: Option<KernelAddr>,
    /// The kernel module, or the name of the kernel object that has the function.
    pub module: Vec<u8>,
    /// The number of attach points of a link with several.
    pub multi: Option<u32>,
    /// The cookie; `None` if the kernel does not say.
    pub cookie: Option<u64>,
    /// The network interface.
    pub ifindex: Option<u32>,
    /// The network namespace of the interface.
    pub netns: Option<NsInum>,
    /// How often the kernel skipped the program here.
    pub missed: Option<u64>,
    /// The only process for which it runs.
    pub only: Option<Tgid>,
    /// Further properties, as words: the mode of XDP, the sharing of cgroups, the direction of tc.
    pub flags: Vec<u8>,
    /// Whether the program does not run here any more: the link was detached, or its interface, namespace or cgroup was removed.
    /// The kernel then names no place.
    pub detached: bool,
}

/// A link: `struct bpf_link_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// `BPF_LINK_TYPE_*`.
    pub link_type: u32,
}

/// The mechanism of an attachment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// A BPF link.
    #[default]
    Link,
    /// PERF_EVENT_IOC_SET_BPF.
    Ioctl,
    /// BPF_PROG_ATTACH.
    ProgAttach,
    /// rtnetlink.
    Netlink,
}

impl Via {
    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Via::Link => "link",
            Via::Ioctl => "ioctl",
            Via::ProgAttach => "prog_attach",
            Via::Netlink => "netlink",
        }
    }
}

/// What a program hangs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// The kernel does not say.
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
    /// A perf event that is no tracepoint or probe.
    PerfEvent,
    /// A function of another program.
    Freplace,
    /// A classifier of tc.
    Tc,
    /// A table of functions of the kernel.
    StructOps,
    /// A hook of netfilter.
    Netfilter,
}

/// What keeps a program or link in the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// The object.
    pub object: Object,
    /// What holds it.
    pub by: HeldBy,
}

/// A program or link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A program.
    Program(ProgId),
    /// A link.
    Link(LinkId),
}

/// What holds a program or link.
#[derive(Clone, Debug, PartialEq)]
pub enum HeldBy {
    /// A process's descriptor.
    Process {
        /// The process id.
        pid: Tgid,
        /// The name of its leader.
        comm: Vec<u8>,
        /// The number of the descriptor.
        fd: u32,
    },
    /// A file in a bpffs.
    Pin(Vec<u8>),
    /// A perf event of a process, to which the program was attached by ioctl.
    Perf {
        /// The process id.
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
    /// The id of the program, if a view shows it; of a link without a program `None`.
    pub id: Option<ProgId>,
    /// The link, if that is hidden.
    pub link: Option<Link>,
    /// The address of a function of it, if a view shows it.
    pub addr: Option<KernelAddr>,
    /// The name of its symbol, if a view shows it.
    pub name: Vec<u8>,
    /// The view that shows it.
    pub seen_by: View,
    /// The view that does not.
    pub missing_in: View,
}

/// A way to learn which programs and links exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// BPF_PROG_GET_NEXT_ID, of links BPF_LINK_GET_NEXT_ID.
    #[default]
    NextId,
    /// BPF_PROG_GET_FD_BY_ID.
    FdById,
    /// /proc/kallsyms.
    Kallsyms,
    /// /proc/PID/fdinfo.
    Fdinfo,
    /// The program of a link.
    Link,
    /// A program of the iterator `bpf_prog`, in the kernel.
    IterProg,
    /// A program of the iterator `bpf_link`, in the kernel.
    IterLink,
}

impl View {
    /// All, by number.
    pub const ALL: [View; 7] =
        [View::NextId, View::FdById, View::Kallsyms, View::Fdinfo, View::Link, View::IterProg, View::IterLink];

    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            View::NextId => "next_id",
            View::FdById => "fd_by_id",
            View::Kallsyms => "kallsyms",
            View::Fdinfo => "fdinfo",
            View::Link => "link",
            View::IterProg => "iter_prog",
            View::IterLink => "iter_link",
        }
    }
}

/// An attachment whose program the kernel does not name.
#[derive(Clone, Debug, PartialEq)]
pub struct Unresolved {
    /// What the program hangs on.
    pub hook: Hook,
    /// The process whose descriptor it is.
    pub pid: Tgid,
    /// The name of its leader.
    pub comm: Vec<u8>,
    /// The number of the descriptor.
    pub fd: u32,
}

/// How [`Unseen::what`] begins where views could not be compared. Attachments are all known then.
pub(crate) const VIEWS: &str = "hidden programs";

impl Unseen {
    /// `network namespaces: there are more than 1024`, and the remedy.
    pub fn text(&self) -> String {
        let remedy = if self.remedy.is_empty() { "" } else { ": " };
        format!("{}: {}{remedy}{}", self.what, self.why, self.remedy)
    }
}

/// What could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// What, as a phrase.
    pub what: &'static str,
    /// The reason.
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
