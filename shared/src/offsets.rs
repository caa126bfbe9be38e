//! The kernel fields that the probes read. User space finds their offsets in the running kernel's BTF and writes them
//! into the probes' instructions before the load, so a field is read by one load.
//!
//! The object contains placeholders: loads whose offset is [`load_placeholder`], and moves of [`move_placeholder`].

use crate::kind::Kind;

/// The offset of a field that the kernel does not have. Reads of it are dead code to the verifier.
pub const ABSENT: u32 = u32::MAX;

/// The largest offset of a field that the probes can read, in bytes. The offset of a load is a signed number of 16 bits.
/// The sum of two must fit ([`SUMS`]), and that of a word after it ([`WORDS`]).
pub const FARTHEST: u32 = (1 << 14) - 8 * WORDS as u32;

/// The location of a field: the first member path that the kernel has, in the first structure that has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldSpec {
    /// The field's name in this table.
    pub name: &'static str,
    /// The structure (`struct` or `union`) in the kernel's BTF.
    pub structure: &'static str,
    /// Member paths (`a.b`), searched through anonymous members. Later ones are the names in other kernels.
    pub members: &'static [&'static str],
    /// The number of bytes that the field must have. A field with another number is not the one that the probes know.
    pub width: Width,
}

/// The number of bytes of a field that the probes can read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// Exactly this many: a number or a pointer, which is read whole.
    Bytes(u32),
    /// One number or the other. The smaller one is read; on a little-endian machine that is the lower part.
    Either(u32, u32),
    /// At least this many, of which this many are read: text, or a structure that may grow at its end.
    AtLeast(u32),
    /// Any: a structure whose members are fields of this table, or an array whose length is a constant of its own.
    Any,
}

impl Width {
    /// Whether the probes can read a field of `size` bytes; `None` is a field without a size.
    pub const fn fits(self, size: Option<u32>) -> bool {
        match (self, size) {
            (Width::Any, _) => true,
            (Width::Bytes(bytes), Some(size)) => size == bytes,
            (Width::Either(one, other), Some(size)) => size == one || size == other,
            (Width::AtLeast(bytes), Some(size)) => size >= bytes,
            (_, None) => false,
        }
    }

    /// Whether the probes may read `bytes` of it at once.
    pub const fn reads(self, bytes: u32) -> bool {
        match self {
            Width::Bytes(all) => bytes == all,
            Width::Either(one, other) => bytes == if one < other { one } else { other },
            Width::AtLeast(all) => bytes <= all,
            Width::Any => false,
        }
    }
}

impl core::fmt::Display for Width {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Width::Bytes(bytes) => write!(f, "{bytes}"),
            Width::Either(one, other) => write!(f, "{one} or {other}"),
            Width::AtLeast(bytes) => write!(f, "{bytes} or more"),
            Width::Any => write!(f, "any number"),
        }
    }
}

macro_rules! fields {
    ($($field:ident = $structure:literal $($member:literal)|+ ;)*) => {
        /// A kernel field.
        #[allow(missing_docs)]
        #[repr(usize)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum Field { $($field,)* }

        /// Every field, in the order of [`Field`].
        pub const FIELDS: &[(Field, FieldSpec)] = &[
            $((
                Field::$field,
                FieldSpec {
                    name: stringify!($field),
                    structure: $structure,
                    members: &[$($member),+],
                    width: Field::$field.width(),
                },
            ),)*
        ];

        /// Each [`Field`] as a type: it decides on an instruction, so it is known when the probes are compiled.
        pub mod field {
            $(
                #[allow(missing_docs)]
                #[derive(Clone, Copy)]
                pub struct $field;

                impl super::Member for $field {
                    const INDEX: usize = super::Field::$field as usize;
                    const WIDTH: super::Width = super::Field::$field.width();
                    const STRUCTURE: &'static str = $structure;
                }
            )*
        }
    };
}

/// A member of a structure that the probes read: a field, or one of [`sum`].
pub trait Member: Copy {
    /// Its number: that of the [`Field`], or [`FIELD_COUNT`] and more for one of [`SUMS`].
    const INDEX: usize;
    /// The number of bytes.
    const WIDTH: Width;
    /// The structure.
    const STRUCTURE: &'static str;
}

fields! {
    TaskCompat = "task_struct" "thread_info.status" | "thread_info.flags";
    TaskTgid = "task_struct" "tgid";
    TaskPid = "task_struct" "pid";
    TaskComm = "task_struct" "comm";
    TaskCred = "task_struct" "cred";
    TaskRealParent = "task_struct" "real_parent";
    TaskGroupLeader = "task_struct" "group_leader";
    TaskStartBoottime = "task_struct" "start_boottime";
    TaskExitCode = "task_struct" "exit_code";
    TaskFiles = "task_struct" "files";
    TaskFs = "task_struct" "fs";
    TaskMm = "task_struct" "mm";
    TaskSignal = "task_struct" "signal";
    TaskNsproxy = "task_struct" "nsproxy";
    TaskThreadPid = "task_struct" "thread_pid";
    TaskCgroups = "task_struct" "cgroups";
    CredUid = "cred" "uid";
    CredGid = "cred" "gid";
    CredEuid = "cred" "euid";
    CredEgid = "cred" "egid";
    SignalLive = "signal_struct" "live.counter";
    SignalFlags = "signal_struct" "flags";
    SignalGroupExitCode = "signal_struct" "group_exit_code";
    MmArgStart = "mm_struct" "arg_start";
    MmArgEnd = "mm_struct" "arg_end";
    MmEnvStart = "mm_struct" "env_start";
    MmEnvEnd = "mm_struct" "env_end";
    MmExeFile = "mm_struct" "exe_file";
    BprmFilename = "linux_binprm" "filename";
    BprmInterp = "linux_binprm" "interp";
    BprmArgc = "linux_binprm" "argc";
    TaskPending = "task_struct" "pending.signal";
    TaskBlocked = "task_struct" "blocked";
    TaskSeccompMode = "task_struct" "seccomp.mode";
    FilesFdt = "files_struct" "fdt";
    FilesCount = "files_struct" "count.counter";
    FdtableFd = "fdtable" "fd";
    FdtableMaxFds = "fdtable" "max_fds";
    FilePath = "file" "f_path" | "__f_path";
    FileFlags = "file" "f_flags";
    FileMode = "file" "f_mode";
    FilePrivate = "file" "private_data";
    FileCount = "file" "f_count";
    FileRef = "file" "f_ref";
    PathMnt = "path" "mnt";
    PathDentry = "path" "dentry";
    DentrySeq = "dentry" "d_seq";
    DentryParent = "dentry" "d_parent";
    DentryName = "dentry" "d_name.name" | "__d_name.name";
    DentryNameLen = "dentry" "d_name.len" | "__d_name.len";
    DentryInline = "dentry" "d_shortname" | "d_iname";
    DentryHashPprev = "dentry" "d_hash.pprev";
    DentrySb = "dentry" "d_sb";
    SbMagic = "super_block" "s_magic";
    SbDev = "super_block" "s_dev";
    SbType = "super_block" "s_type";
    FsTypeName = "file_system_type" "name";
    MountId = "mount" "mnt_id";
    MountMnt = "mount" "mnt";
    MountParent = "mount" "mnt_parent";
    MountMountpoint = "mount" "mnt_mountpoint";
    VfsmountRoot = "vfsmount" "mnt_root";
    FsRoot = "fs_struct" "root";
    FsPwd = "fs_struct" "pwd";
    NsproxyMntNs = "nsproxy" "mnt_ns";
    MntNsInum = "mnt_namespace" "ns.inum";
    MntNsRoot = "mnt_namespace" "root";
    PidLevel = "pid" "level";
    PidNumbers = "pid" "numbers";
    UpidNr = "upid" "nr";
    UpidNs = "upid" "ns";
    PidNsInum = "pid_namespace" "ns.inum";
    CssSetDflCgrp = "css_set" "dfl_cgrp";
    CgroupKn = "cgroup" "kn";
    KernfsNodeId = "kernfs_node" "id";
    ProgType = "bpf_prog" "type";
    ProgExpectedAttachType = "bpf_prog" "expected_attach_type";
    ProgTag = "bpf_prog" "tag" | "digest";
    ProgAux = "bpf_prog" "aux";
    AuxId = "bpf_prog_aux" "id";
    AuxName = "bpf_prog_aux" "name";
    AuxProg = "bpf_prog_aux" "prog";
    AuxUser = "bpf_prog_aux" "user";
    AuxAttachFuncName = "bpf_prog_aux" "attach_func_name";
    UserUid = "user_struct" "uid";
    LinkId = "bpf_link" "id";
    LinkType = "bpf_link" "type";
    LinkProg = "bpf_link" "prog";
    RawTpLinkBtp = "bpf_raw_tp_link" "btp";
    RawEventMapTp = "bpf_raw_event_map" "tp";
    PerfLinkFile = "bpf_perf_link" "perf_file";
    PerfEventProg = "perf_event" "prog";
    PerfEventPmu = "perf_event" "pmu";
    PerfEventId = "perf_event" "id";
    PmuName = "pmu" "name";
    PerfEventTpEvent = "perf_event" "tp_event";
    PerfEventAttrType = "perf_event" "attr.type";
    PerfEventAttrConfig = "perf_event" "attr.config";
    TraceCallClass = "trace_event_call" "class";
    TraceCallName = "trace_event_call" "name";
    TraceCallFlags = "trace_event_call" "flags";
    TraceClassSystem = "trace_event_class" "system";
    TracepointName = "tracepoint" "name";
    ProgLen = "bpf_prog" "len";
    ProgInsns = "bpf_prog" "insnsi";
    AuxKsymName = "bpf_prog_aux" "ksym.name";
    AuxAttachBtfId = "bpf_prog_aux" "attach_btf_id";
    TraceProbeEventCall = "trace_probe_event" "call";
    TraceProbeEventProbes = "trace_probe_event" "probes.next";
    TraceProbeList = "trace_probe" "list";
    TraceKprobeTp = "trace_kprobe" "tp";
    TraceKprobeSymbol = "trace_kprobe" "symbol";
    TraceKprobeHandler = "trace_kprobe" "rp.handler";
    TraceKprobeAddr = "trace_kprobe" "rp.kp.addr";
    TraceKprobeOffset = "trace_kprobe" "rp.kp.offset";
    TraceUprobeTp = "trace_uprobe" "tp";
    TraceUprobeFilename = "trace_uprobe" "filename";
    TraceUprobeOffset = "trace_uprobe" "offset";
    TraceUprobeRet = "trace_uprobe" "consumer.ret_handler";
    CgroupLinkCgroup = "bpf_cgroup_link" "cgroup";
    XdpLinkDev = "bpf_xdp_link" "dev";
    NetnsLinkNet = "bpf_netns_link" "net";
    TcxLinkDev = "tcx_link" "dev";
    NetkitLinkDev = "netkit_link" "dev";
    NfLinkPf = "bpf_nf_link" "hook_ops.pf";
    NfLinkHooknum = "bpf_nf_link" "hook_ops.hooknum";
    NfLinkPriority = "bpf_nf_link" "hook_ops.priority";
    StructOpsLinkMap = "bpf_struct_ops_link" "map";
    IterLinkTinfo = "bpf_iter_link" "tinfo";
    IterTargetRegInfo = "bpf_iter_target_info" "reg_info";
    IterRegTarget = "bpf_iter_reg" "target";
    SockmapLinkMap = "sockmap_link" "map";
    TracingLinkTgtProg = "bpf_tracing_link" "tgt_prog";
    KprobeMultiAddrs = "bpf_kprobe_multi_link" "addrs";
    KprobeMultiCnt = "bpf_kprobe_multi_link" "cnt";
    UprobeMultiLink = "bpf_uprobe_multi_link" "link";
    UprobeMultiUprobes = "bpf_uprobe_multi_link" "uprobes";
    UprobeMultiCnt = "bpf_uprobe_multi_link" "cnt";
    UprobeOffset = "bpf_uprobe" "offset";
    NetDeviceName = "net_device" "name";
    NetDeviceIfindex = "net_device" "ifindex";
    NetDeviceNet = "net_device" "nd_net.net";
    NetDeviceXdpState = "net_device" "xdp_state";
    NetInum = "net" "ns.inum";
    NsproxyNetNs = "nsproxy" "net_ns";
    MapType = "bpf_map" "map_type";
    MapId = "bpf_map" "id";
    MapName = "bpf_map" "name";
    DentryInode = "dentry" "d_inode";
    InodeIno = "inode" "i_ino";
    InodeRdev = "inode" "i_rdev";
    InodeSb = "inode" "i_sb";
    InodeSize = "inode" "i_size";
    InodeCtime = "inode" "i_ctime_sec" | "__i_ctime.tv_sec" | "i_ctime.tv_sec";
    InodeCtimeNs = "inode" "i_ctime_nsec" | "__i_ctime.tv_nsec" | "i_ctime.tv_nsec";
    InodeMtime = "inode" "i_mtime_sec" | "__i_mtime.tv_sec" | "i_mtime.tv_sec";
    InodeMtimeNs = "inode" "i_mtime_nsec" | "__i_mtime.tv_nsec" | "i_mtime.tv_nsec";
    FilePos = "file" "f_pos";
    TaskSeccompFilter = "task_struct" "seccomp.filter";
    SeccompFilterProg = "seccomp_filter" "prog";
    SocketFile = "socket" "file";
    SocketSk = "socket" "sk";
    SockFilter = "sock" "sk_filter";
    SkFilterProg = "sk_filter" "prog";
    SockReuseport = "sock" "sk_reuseport_cb";
    ReuseportProg = "sock_reuseport" "prog";
    KiocbOpcode = "io_kiocb" "opcode";
    KiocbFlags = "io_kiocb" "flags";
    KiocbCqeRes = "io_kiocb" "cqe.res";
    KiocbTask = "io_kiocb" "task";
    KiocbTctx = "io_kiocb" "tctx";
    IoUringTaskTask = "io_uring_task" "task";
    IoOpenDfd = "io_open" "dfd";
    IoOpenFileSlot = "io_open" "file_slot";
    IoOpenFilename = "io_open" "filename";
    IoOpenHow = "io_open" "how";
    FilenameName = "filename" "name";
    KiocbCtx = "io_kiocb" "ctx";
    KiocbUserData = "io_kiocb" "cqe.user_data";
    KiocbFd = "io_kiocb" "cqe.fd";
    KiocbFile = "io_kiocb" "file";
    IoConnectAddr = "io_connect" "addr";
    IoAcceptFileSlot = "io_accept" "file_slot";
    TaskFlags = "task_struct" "flags";
    InodeMode = "inode" "i_mode";
    SkFamily = "sock" "__sk_common.skc_family";
    SkState = "sock" "__sk_common.skc_state";
    SkDport = "sock" "__sk_common.skc_dport";
    SkDaddr = "sock" "__sk_common.skc_daddr";
    SkSaddr = "sock" "__sk_common.skc_rcv_saddr";
    SkDaddr6 = "sock" "__sk_common.skc_v6_daddr";
    SkSaddr6 = "sock" "__sk_common.skc_v6_rcv_saddr";
    SkNet = "sock" "__sk_common.skc_net.net";
    SkFlags = "sock" "__sk_common.skc_flags";
    SkProtocol = "sock" "sk_protocol";
    SkType = "sock" "sk_type";
    SkErr = "sock" "sk_err";
    SkOwned = "sock" "sk_lock.owned";
    SkBacklogLen = "sock" "sk_backlog.len";
    SkBacklogHead = "sock" "sk_backlog.head";
    SkSocket = "sock" "sk_socket";
    InetSport = "inet_sock" "inet_sport";
    TcpBytesReceived = "tcp_sock" "bytes_received";
    TcpBytesSent = "tcp_sock" "bytes_sent";
    TcpBytesRetrans = "tcp_sock" "bytes_retrans";
    TcpTotalRetrans = "tcp_sock" "total_retrans";
    TcpSrtt = "tcp_sock" "srtt_us";
    TcpEstablished = "tcp_sock" "rcvq_space.time";
    TcpFastopenReq = "tcp_sock" "fastopen_req";
    TcpIsMptcp = "tcp_sock" "is_mptcp";
    FastopenData = "tcp_fastopen_request" "data";
    MptcpFirst = "mptcp_sock" "first";
    TaskSighand = "task_struct" "sighand";
    SighandAction = "sighand_struct" "action";
    SigactionHandler = "k_sigaction" "sa.sa_handler";
    SiginfoCode = "kernel_siginfo" "si_code";
    SiginfoAddress = "kernel_siginfo" "_sifields._sigfault._addr";
    SignalOomMm = "signal_struct" "oom_mm";
    SignalLimits = "signal_struct" "rlim";
    SignalUtime = "signal_struct" "utime";
    SignalStime = "signal_struct" "stime";
    SignalRuntime = "signal_struct" "sum_sched_runtime";
    SignalReadBytes = "signal_struct" "ioac.read_bytes";
    SignalWriteBytes = "signal_struct" "ioac.write_bytes";
    SignalMaxrss = "signal_struct" "maxrss";
    SignalThreadHead = "signal_struct" "thread_head";
    SignalStatsSequence = "signal_struct" "stats_lock.seqcount.seqcount.sequence" | "stats_lock.seqcount.sequence";
    TaskUtime = "task_struct" "utime";
    TaskStime = "task_struct" "stime";
    TaskRuntime = "task_struct" "se.sum_exec_runtime";
    TaskReadBytes = "task_struct" "ioac.read_bytes";
    TaskWriteBytes = "task_struct" "ioac.write_bytes";
    TaskThreadNode = "task_struct" "thread_node";
    TaskExecStart = "task_struct" "se.exec_start";
    TaskLoginuid = "task_struct" "loginuid";
    SignalPids = "signal_struct" "pids";
    SignalTty = "signal_struct" "tty";
    TtyName = "tty_struct" "name";
    FdtableOpenFds = "fdtable" "open_fds";
    UnixPeer = "unix_sock" "peer";
    SkPeerPid = "sock" "sk_peer_pid";
    SkPeerCred = "sock" "sk_peer_cred";
    PidTasks = "pid" "tasks";
    TaskPidLinks = "task_struct" "pid_links";
    UnixAddr = "unix_sock" "addr";
    UnixAddressLen = "unix_address" "len";
    UnixAddressName = "unix_address" "name";
    SocketInode = "socket_alloc" "vfs_inode";
    TaskCfsRq = "task_struct" "se.cfs_rq";
    CfsRqRq = "cfs_rq" "rq";
    RqClock = "rq" "clock";
    RqClockTask = "rq" "clock_task";
}

macro_rules! widths {
    ($($width:ident $(($($bytes:literal),+))? : $($field:ident)+ ;)*) => {
        impl Field {
            /// The number of bytes of the field.
            pub const fn width(self) -> Width {
                match self {
                    $($(Field::$field)|+ => Width::$width $(($($bytes),+))?,)*
                }
            }
        }
    };
}

// Each field of the table above. The sizes that gcc gives for the known kernels are in tui/tests/data/offsets.tsv.
widths! {
    Bytes(2048): SighandAction;
    Bytes(1): KiocbOpcode NfLinkPf SkState TcpIsMptcp;
    Bytes(2): InodeMode SkFamily SkDport SkProtocol SkType InetSport;
    Bytes(4):
        TaskTgid TaskPid TaskExitCode CredUid CredGid CredEuid CredEgid SignalLive SignalFlags SignalGroupExitCode
        BprmArgc TaskSeccompMode FilesCount FdtableMaxFds FileFlags FileMode DentrySeq DentryNameLen MntNsInum PidLevel UpidNr PidNsInum
        ProgType ProgExpectedAttachType AuxId UserUid LinkId LinkType PerfEventAttrType TraceCallFlags KiocbCqeRes
        IoOpenDfd IoOpenFileSlot ProgLen AuxAttachBtfId TraceKprobeOffset NfLinkHooknum NfLinkPriority KprobeMultiCnt
        UprobeMultiCnt NetDeviceIfindex NetInum MapType MapId SbDev MountId
        InodeRdev KiocbFd IoAcceptFileSlot TaskFlags SkDaddr SkSaddr SkErr SkOwned SkBacklogLen TcpTotalRetrans TcpSrtt
        SiginfoCode SignalStatsSequence TaskLoginuid UnixAddressLen;
    Bytes(8):
        TaskCred TaskRealParent TaskGroupLeader TaskStartBoottime TaskFiles TaskFs TaskMm TaskSignal TaskNsproxy
        TaskThreadPid TaskCgroups MmArgStart MmArgEnd MmEnvStart MmEnvEnd MmExeFile BprmFilename BprmInterp TaskPending TaskBlocked KiocbTask KiocbTctx IoUringTaskTask FilesFdt FdtableFd
        FilePrivate FileCount FileRef PathMnt PathDentry DentryParent DentryName DentryHashPprev DentrySb SbMagic SbType FsTypeName MountParent
        MountMountpoint VfsmountRoot NsproxyMntNs MntNsRoot UpidNs CssSetDflCgrp CgroupKn KernfsNodeId ProgTag ProgAux
        AuxProg AuxUser AuxAttachFuncName LinkProg RawTpLinkBtp RawEventMapTp PerfLinkFile PerfEventProg
        PerfEventTpEvent PerfEventAttrConfig TraceCallClass TraceCallName TraceClassSystem TracepointName
        IoOpenFilename FilenameName PerfEventPmu PerfEventId PmuName TraceProbeEventProbes TraceKprobeSymbol TraceKprobeHandler TraceKprobeAddr
        TraceUprobeFilename TraceUprobeOffset TraceUprobeRet CgroupLinkCgroup XdpLinkDev NetnsLinkNet TcxLinkDev
        NetkitLinkDev StructOpsLinkMap IterLinkTinfo IterTargetRegInfo IterRegTarget SockmapLinkMap TracingLinkTgtProg
        KprobeMultiAddrs UprobeMultiUprobes UprobeOffset NsproxyNetNs NetDeviceNet DentryInode InodeIno TaskSeccompFilter
        SeccompFilterProg SocketFile SocketSk SockFilter SkFilterProg SockReuseport ReuseportProg
        KiocbCtx KiocbUserData KiocbFile IoConnectAddr SkNet SkFlags SkSocket SkBacklogHead TcpBytesReceived TcpBytesSent TcpBytesRetrans
        TcpEstablished TcpFastopenReq FastopenData MptcpFirst TaskSighand SigactionHandler SiginfoAddress SignalOomMm
        SignalUtime SignalStime SignalRuntime SignalReadBytes SignalWriteBytes SignalMaxrss TaskUtime TaskStime TaskRuntime
        TaskReadBytes TaskWriteBytes TaskExecStart TaskCfsRq CfsRqRq RqClock RqClockTask SignalTty
        InodeSb InodeSize InodeCtime InodeMtime FilePos FdtableOpenFds UnixPeer UnixAddr SkPeerPid SkPeerCred;
    Bytes(16): TaskThreadNode SignalThreadHead;
    Either(4, 8): TaskCompat KiocbFlags InodeCtimeNs InodeMtimeNs;
    AtLeast(16): SignalLimits TaskComm AuxName MapName NetDeviceName SkDaddr6 SkSaddr6 TtyName;
    AtLeast(32): SignalPids PidTasks TaskPidLinks;
    AtLeast(128): AuxKsymName;
    AtLeast(24): IoOpenHow NetDeviceXdpState;
    Any:
        FilePath DentryInline MountMnt FsRoot FsPwd PidNumbers ProgInsns TraceProbeEventCall TraceProbeList TraceKprobeTp
        TraceUprobeTp UprobeMultiLink UnixAddressName SocketInode;
}

/// Fields without which the code of a kind must go: programs of several kinds would need them.
pub const NEEDED: &[(Kind, Field)] = &[(Kind::Tcp, Field::SkFamily)];

/// How many fields there are.
pub const FIELD_COUNT: usize = FIELDS.len();

macro_rules! sums {
    ($($sum:ident = $outer:ident + $inner:ident;)*) => {
        /// The fields of [`sum`], in order.
        pub const SUMS: &[[Field; 2]] = &[$([Field::$outer, Field::$inner],)*];

        /// Fields in structures that are fields themselves: the offset is the sum of two.
        pub mod sum {
            enum Sum { $($sum,)* }

            $(
                #[allow(missing_docs)]
                #[derive(Clone, Copy)]
                pub struct $sum;

                impl super::Member for $sum {
                    const INDEX: usize = super::FIELD_COUNT + Sum::$sum as usize;
                    const WIDTH: super::Width = super::Field::$inner.width();
                    const STRUCTURE: &'static str = <super::field::$outer as super::Member>::STRUCTURE;
                }
            )*
        }
    };
}

sums! {
    FileMnt = FilePath + PathMnt;
    FileDentry = FilePath + PathDentry;
    RootMnt = FsRoot + PathMnt;
    RootDentry = FsRoot + PathDentry;
    PwdMnt = FsPwd + PathMnt;
    PwdDentry = FsPwd + PathDentry;
    MountRoot = MountMnt + VfsmountRoot;
    PidNr = PidNumbers + UpidNr;
    PidNs = PidNumbers + UpidNs;
}

/// The number of words of 8 bytes of a [`Member`] that loads of their own can read.
pub const WORDS: usize = 8;

/// The offset in the placeholder of a load: a word of the member with this index. No other instruction of the probes
/// has such an offset: a frame of the stack has 512 bytes, and offsets in maps are positive.
pub const fn load_placeholder(index: usize, word: usize) -> i16 {
    assert!(word < WORDS && index < MEMBER_COUNT);
    i16::MIN + (index * WORDS + word) as i16
}

/// The index and the word of [`load_placeholder`]; `None` for another offset.
pub const fn load_placed(offset: i16) -> Option<(usize, usize)> {
    let code = offset.wrapping_sub(i16::MIN) as u16 as usize;
    if code < MEMBER_COUNT * WORDS { Some((code / WORDS, code % WORDS)) } else { None }
}

/// The number in the placeholder of a move into a register. The index is that of a [`Member`] for its offset,
/// [`MEMBER_COUNT`] and more for a [`Const`], and after those for one of [`TYPES`].
pub const fn move_placeholder(index: usize) -> i32 {
    assert!(index < NUMBER_COUNT);
    FIRST_NUMBER + index as i32
}

/// The index of [`move_placeholder`]; `None` for another number.
pub const fn move_placed(number: i32) -> Option<usize> {
    let index = number.wrapping_sub(FIRST_NUMBER) as u32 as usize;
    if index < NUMBER_COUNT { Some(index) } else { None }
}

const FIRST_NUMBER: i32 = 0x7e57_1000;

/// How many members there are.
pub const MEMBER_COUNT: usize = FIELD_COUNT + SUMS.len();

/// How many numbers user space writes into the probes: offsets of members, constants, BTF type ids.
pub const NUMBER_COUNT: usize = MEMBER_COUNT + CONST_COUNT + TYPE_COUNT;

// Positive offsets stay for the instructions of the probes themselves.
const _: () = assert!(MEMBER_COUNT * WORDS < i16::MAX as usize);

/// Constants other than offsets that user space sets before the load.
#[repr(usize)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Const {
    /// tracetui's own process (tgid in the initial pid namespace).
    SelfTgid,
    /// The process that takes inventories, likewise; `u32::MAX` without one.
    InspectorTgid,
    /// When it started, to a clock tick: the low and the high half of the earliest nanosecond.
    InspectorStart,
    InspectorStartHigh,
    /// 0: tasks are read as typed pointers (5.11+). 1: by `bpf_probe_read_kernel`. The instruction that a test of it
    /// leaves behind is the cheapest if it is 0.
    ByHelper,
    /// 1: `sched_process_exit` has the argument `group_dead` (6.16+).
    ExitHasGroupDead,
    /// Size of each ring in bytes.
    RingSize,
    /// The number of rings, a power of two, minus 1: the bits of the CPU's number that select its ring.
    RingMask,
    /// Fill of the ring in bytes above which opens are refused.
    OpenLimit,
    /// Bytes that a CPU may write before it queries the fill of the ring.
    Credit,
    /// Bytes of an inline name in `struct dentry` (include/linux/dcache.h): `d_shortname` has 40, earlier 32 or 36.
    InlineNameLen,
    /// `TRACE_EVENT_FL_TRACEPOINT` (include/linux/trace_events.h): 16 up to 6.1, 8 later.
    TraceFlagTracepoint,
    /// `BPF_LINK_TYPE_PERF_EVENT` (`enum bpf_link_type`, include/uapi/linux/bpf.h).
    LinkTypePerf,
    /// `BPF_LINK_TYPE_RAW_TRACEPOINT` (same enum).
    LinkTypeRawTp,
    /// `TRACE_EVENT_FL_KPROBE` (include/linux/trace_events.h); 0 if the kernel has no such events.
    TraceFlagKprobe,
    /// `TRACE_EVENT_FL_UPROBE` (same enum).
    TraceFlagUprobe,
    /// 1: addresses are read as typed pointers made by the kernel function [`CAST_FUNCTION`] (6.2+), else by
    /// `bpf_probe_read_kernel`. If it is 1, [`Const::ByHelper`] is 0.
    Cast,
    /// 1: loops are bounded by the instruction `may_goto` (6.9+), else by counters that the verifier follows.
    MayGoto,
    /// The kinds whose events have the kernel stack, as a [`crate::kind::KindSet`].
    Stacks,
    /// 1: `io_uring_complete` passes the completion (`struct io_uring_cqe`), else its fields.
    UringCqe,
    /// 1: execs carry the environment.
    Environment,
    /// 1: execs carry all descriptors below [`FDS`](crate::record::exec::FDS), not only the standard ones.
    AllFds,
    /// 1: opens carry the identity of the file.
    Identities,
    /// The kinds that are requested, as a [`crate::kind::KindSet`].
    Kinds,
    /// The architecture: one of [`arch`].
    Arch,
    /// Bytes of a page.
    PageSize,
    /// How the program is attached: one of [`carrier`]. It is written at the load of each program.
    Carrier,
}

/// The ways in which a program is attached.
pub mod carrier {
    /// A BTF tracepoint: the context has its arguments.
    pub const TYPED: u32 = 0;
    /// A classic tracepoint: the context is its record.
    pub const CLASSIC: u32 = 1;
    /// The entry or the return of a function: the context is the registers.
    pub const FUNCTION: u32 = 2;
}

/// How many constants there are.
pub const CONST_COUNT: usize = Const::Carrier as usize + 1;

/// The kernel function that casts an address to a typed pointer
/// ([`bpf_rdonly_cast`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/helpers.c)). It is compiled to a move.
pub const CAST_FUNCTION: &str = "bpf_rdonly_cast";

/// The structures to which the probes cast addresses.
pub const TYPES: &[&str] = &[
    "task_struct",
    "linux_binprm",
    "file",
    "path",
    "dentry",
    "mount",
    "upid",
    "pid_namespace",
    "inode",
    "socket",
    "sock",
    "inet_sock",
    "tcp_sock",
    "tcp_fastopen_request",
    "mptcp_sock",
    "net",
    "k_sigaction",
    "kernel_siginfo",
    "signal_struct",
    "super_block",
    "unix_sock",
    "unix_address",
    "socket_alloc",
];

/// How many types there are.
pub const TYPE_COUNT: usize = TYPES.len();

/// The index of a structure in [`TYPES`].
pub const fn type_of(structure: &str) -> usize {
    let mut index = 0;
    while !same(structure, TYPES[index]) {
        index += 1;
    }
    index
}

/// Whether two texts are equal, for constants.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut i = 0;
    while i < one.len() && i < other.len() && one[i] == other[i] {
        i += 1;
    }
    i == one.len() && i == other.len()
}

/// The immediate of the placeholder for a call of [`CAST_FUNCTION`] in the probes. User space replaces it by a call of
/// the kernel function, or by `r0 = r1` if the kernel does not have it.
pub const CAST_PLACEHOLDER: i32 = 0x7e57_0003;

/// The architectures that the probes support.
pub mod arch {
    /// x86-64, with the tables of i386 and x32.
    pub const X86_64: u32 = 0;
    /// aarch64, with the table of 32-bit ARM.
    pub const AARCH64: u32 = 1;
}
