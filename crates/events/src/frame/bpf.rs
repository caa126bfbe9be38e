//! The words in the frames of BPF programs: mechanisms, attach points, views and holders.

use super::wire::Wire;

/// Enums whose variants have a number in frames and a name. An unknown number is read as the default.
macro_rules! numbered {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $text:literal,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                (*self as u8).put(out);
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                u8::take(bytes).map(|number| $name::of(number).unwrap_or_default())
            }
        }
    )* };
}

numbered! {
    /// The reason why the helpers that a program calls are not known.
    NotScanned {
        /// The kernel hides addresses from tracetui (`kernel.kptr_restrict`, no CAP_SYSLOG).
        NotPermitted = 1 "not_permitted",
        /// The kernel withheld the instructions, or has none that call helpers by address (offloaded to a device).
        #[default]
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

    /// What keeps a program or link in the kernel. The name precedes the process in texts.
    HeldBy {
        /// A descriptor of a process.
        #[default]
        Process = 0 "",
        /// A perf event of a process, to which the program was attached by ioctl.
        Perf = 1 "perf event of ",
        /// A file in a bpffs.
        Pin = 2 "pin ",
        /// A socket of a process.
        Socket = 3 "socket of ",
    }
}

impl Via {
    pub(crate) fn named(name: &str) -> Option<Via> {
        (0..=u8::MAX).map_while(Via::of).find(|via| via.name() == name)
    }
}

/// An attach point, regardless of the mechanism.
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
    /// The number of attach types in frames.
    const TYPE: u8 = 1;

    /// The hooks beside attach types, with their numbers in frames and their names.
    const NUMBERED: [(Hook, u8, &str); 16] = [
        (Hook::Kprobe, 2, "kprobe"),
        (Hook::Kretprobe, 3, "kretprobe"),
        (Hook::Uprobe, 4, "uprobe"),
        (Hook::Uretprobe, 5, "uretprobe"),
        (Hook::Tracepoint, 6, "tracepoint"),
        (Hook::RawTracepoint, 7, "raw_tracepoint"),
        (Hook::PerfEvent, 8, "perf_event"),
        (Hook::Freplace, 9, "freplace"),
        (Hook::Tc, 10, "tc"),
        (Hook::StructOps, 11, "struct_ops"),
        (Hook::Netfilter, 12, "netfilter"),
        (Hook::ProgArray, 13, "prog_array"),
        (Hook::Devmap, 14, "devmap"),
        (Hook::Cpumap, 15, "cpumap"),
        (Hook::SocketFilter, 16, "socket_filter"),
        (Hook::Reuseport, 17, "reuseport"),
    ];

    /// The numbers of the hook, and of the attach type.
    pub(crate) fn numbers(self) -> (u8, u32) {
        match self {
            Hook::Type(attach_type) => (Hook::TYPE, attach_type),
            _ => (Hook::NUMBERED.iter().find(|(hook, ..)| *hook == self).map_or(0, |(_, number, _)| *number), 0),
        }
    }

    pub(crate) fn of(number: u8, attach_type: u32) -> Hook {
        match number {
            Hook::TYPE => Hook::Type(attach_type),
            _ => Hook::NUMBERED.iter().find(|(_, known, _)| *known == number).map_or(Hook::Unknown, |(hook, ..)| *hook),
        }
    }

    pub(crate) fn named(name: &str) -> Option<Hook> {
        Hook::NUMBERED.iter().find(|(.., known)| *known == name).map(|(hook, ..)| *hook)
    }

    /// The name; `None` of an attach type and of an unknown hook.
    pub fn name(self) -> Option<&'static str> {
        Hook::NUMBERED.iter().find(|(hook, ..)| *hook == self).map(|(.., name)| *name)
    }

    /// Whether it is a kprobe or a uprobe.
    pub(crate) fn is_probe(self) -> bool {
        matches!(self, Hook::Kprobe | Hook::Kretprobe | Hook::Uprobe | Hook::Uretprobe)
    }
}

impl Wire for Hook {
    fn put(&self, out: &mut Vec<u8>) {
        self.numbers().put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Wire::take(bytes).map(|(number, attach_type)| Hook::of(number, attach_type))
    }
}
