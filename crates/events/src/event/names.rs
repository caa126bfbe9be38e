//! Names of the numbers of the kernel: errors, signals, open flags, BPF types. Each table names its UAPI header.

/// The word at an index; `None` if the list is shorter or has `-` there.
fn word(words: &'static str, number: u32) -> Option<&'static str> {
    words.split(' ').nth(number as usize).filter(|word| *word != "-")
}

/// `errno` by number:
/// [errno-base.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/asm-generic/errno-base.h) and
/// [errno.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/asm-generic/errno.h) of
/// include/uapi/asm-generic. x86-64 uses them unchanged.
const ERRNO: &str = "\
    - EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST \
    EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM \
    ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG \
    EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET \
    ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG \
    ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE \
    EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE \
    EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN \
    ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL \
    EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD \
    ENOTRECOVERABLE ERFKILL EHWPOISON";

/// Errors internal to the kernel that a traced call can return when a signal interrupts it:
/// [include/linux/errno.h](https://elixir.bootlin.com/linux/v6.12/source/include/linux/errno.h).
const KERNEL_ERRNO: &[(i32, &str)] = &[
    (512, "ERESTARTSYS"),
    (513, "ERESTARTNOINTR"),
    (514, "ERESTARTNOHAND"),
    (515, "ENOIOCTLCMD"),
    (516, "ERESTART_RESTARTBLOCK"),
    (517, "EPROBE_DEFER"),
    (518, "EOPENSTALE"),
    (524, "ENOTSUPP"),
];

/// The name of the error (−errno) that a system call returned. `None` if the call succeeded.
pub fn err(ret: i32) -> Option<&'static str> {
    if !(-4095..0).contains(&ret) {
        return None;
    }
    let known = word(ERRNO, ret.unsigned_abs());
    let own = || KERNEL_ERRNO.iter().find(|(n, _)| *n == -ret).map(|(_, name)| *name);
    Some(known.or_else(own).unwrap_or("EUNKNOWN"))
}

/// Signals by number:
/// [include/uapi/asm-generic/signal.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/asm-generic/signal.h).
/// The names of the real-time signals are those of `kill -l`.
const SIGNALS: &str = "\
    - SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM \
    SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF \
    SIGWINCH SIGIO SIGPWR SIGSYS SIG32 SIG33 SIGRTMIN SIGRTMIN+1 SIGRTMIN+2 SIGRTMIN+3 SIGRTMIN+4 SIGRTMIN+5 \
    SIGRTMIN+6 SIGRTMIN+7 SIGRTMIN+8 SIGRTMIN+9 SIGRTMIN+10 SIGRTMIN+11 SIGRTMIN+12 SIGRTMIN+13 SIGRTMIN+14 \
    SIGRTMIN+15 SIGRTMAX-14 SIGRTMAX-13 SIGRTMAX-12 SIGRTMAX-11 SIGRTMAX-10 SIGRTMAX-9 SIGRTMAX-8 SIGRTMAX-7 \
    SIGRTMAX-6 SIGRTMAX-5 SIGRTMAX-4 SIGRTMAX-3 SIGRTMAX-2 SIGRTMAX-1 SIGRTMAX";

/// The name of a signal; `None` for 0 and for numbers outside of the table.
pub fn signal(number: u32) -> Option<&'static str> {
    word(SIGNALS, number)
}

/// The bits of the access mode in the open flags.
pub const O_ACCMODE: u64 = 3;

/// Open flags beside the access mode, as numbered in
/// [include/uapi/asm-generic/fcntl.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/asm-generic/fcntl.h).
/// A flag that contains another one comes first.
pub(crate) const OPEN_FLAGS: &[(u64, &str)] = &[
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o4010000, "O_SYNC"),
    (0o10000, "O_DSYNC"),
    (0o20000, "O_ASYNC"),
    (0o40000, "O_DIRECT"),
    (0o100000, "O_LARGEFILE"),
    (0o20200000, "O_TMPFILE"),
    (0o200000, "O_DIRECTORY"),
    (0o400000, "O_NOFOLLOW"),
    (0o1000000, "O_NOATIME"),
    (0o2000000, "O_CLOEXEC"),
    (0o10000000, "O_PATH"),
];

/// `O_CREAT`, which makes `open` use its `mode`.
pub const O_CREAT: u64 = 0o100;
/// `O_DIRECTORY`.
pub const O_DIRECTORY: u64 = 0o200000;
/// `O_TRUNC`, which empties the file.
pub const O_TRUNC: u64 = 0o1000;
/// `O_EXCL`: with `O_CREAT`, an existing file is an error.
pub const O_EXCL: u64 = 0o200;
/// `O_TMPFILE`, including its bit of `O_DIRECTORY`.
pub const O_TMPFILE: u64 = 0o20200000;
/// `O_PATH`, with which the access mode has no meaning.
pub const O_PATH: u64 = 0o10000000;
/// `RESOLVE_IN_ROOT` of openat2: an absolute path starts at the descriptor too.
pub(super) const RESOLVE_IN_ROOT: u64 = 16;

/// Appends the flags of a call that changes or looks up files, in C syntax (include/uapi/linux/fcntl.h, fs.h and mount.h).
pub fn call_flags(op: &str, flags: u32, out: &mut Vec<u8>) {
    let names: &[(u64, &str)] = match op {
        "rename" => &[(1, "RENAME_NOREPLACE"), (2, "RENAME_EXCHANGE"), (4, "RENAME_WHITEOUT")],
        "umount" => &[(1, "MNT_FORCE"), (2, "MNT_DETACH"), (4, "MNT_EXPIRE"), (8, "UMOUNT_NOFOLLOW")],
        "mount" => &[
            (1, "MS_RDONLY"),
            (2, "MS_NOSUID"),
            (4, "MS_NODEV"),
            (8, "MS_NOEXEC"),
            (32, "MS_REMOUNT"),
            (1 << 12, "MS_BIND"),
            (1 << 13, "MS_MOVE"),
            (1 << 14, "MS_REC"),
            (1 << 17, "MS_UNBINDABLE"),
            (1 << 18, "MS_PRIVATE"),
            (1 << 19, "MS_SLAVE"),
            (1 << 20, "MS_SHARED"),
        ],
        "rmdir" => &[(0x200, "AT_REMOVEDIR")],
        "access" => &[(0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_EACCESS"), (0x1000, "AT_EMPTY_PATH")],
        "move_mount" => &[],
        _ => &[
            (0x100, "AT_SYMLINK_NOFOLLOW"),
            (0x400, "AT_SYMLINK_FOLLOW"),
            (0x800, "AT_NO_AUTOMOUNT"),
            (0x1000, "AT_EMPTY_PATH"),
        ],
    };
    // The kernel drops the magic number of old programs (`MS_MGC_VAL`).
    let flags = if op == "mount" && flags >> 16 == 0xc0ed { flags & 0xffff } else { flags };
    flag_names(names, flags.into(), out);
}

/// Appends the names of flags, and the rest in hex.
fn flag_names(names: &[(u64, &str)], flags: u64, out: &mut Vec<u8>) {
    let begin = out.len();
    let mut rest = flags;
    let mut next = |text: &[u8]| {
        out.extend_from_slice(if out.len() > begin { b"|" } else { b"" });
        out.extend_from_slice(text);
    };
    for (bits, name) in names {
        if rest & bits == *bits {
            rest &= !bits;
            next(name.as_bytes());
        }
    }
    if rest != 0 {
        next(format!("{rest:#x}").as_bytes());
    }
}

/// Appends the flags in C syntax, access mode first. Bits without a name are written in hex.
pub fn open_flags(flags: u64, out: &mut Vec<u8>) {
    let access = match flags & O_ACCMODE {
        0 => "O_RDONLY",
        1 => "O_WRONLY",
        2 => "O_RDWR",
        _ => "O_ACCMODE",
    };
    out.extend_from_slice(access.as_bytes());
    let rest = flags & !O_ACCMODE;
    if rest != 0 {
        out.push(b'|');
        flag_names(OPEN_FLAGS, rest, out);
    }
}

/// The access mode in one or two letters, as in the DETAIL column.
pub fn access_letters(flags: u64) -> &'static str {
    match flags & O_ACCMODE {
        _ if flags & O_PATH != 0 => "p",
        0 => "r",
        1 => "w",
        2 => "rw",
        _ => "-",
    }
}

/// `enum bpf_prog_type`, include/uapi/linux/bpf.h (7.x).
const PROG_TYPES: &str = "\
    unspec socket_filter kprobe sched_cls sched_act tracepoint xdp perf_event cgroup_skb cgroup_sock lwt_in lwt_out \
    lwt_xmit sock_ops sk_skb cgroup_device sk_msg raw_tracepoint cgroup_sock_addr lwt_seg6local lirc_mode2 \
    sk_reuseport flow_dissector cgroup_sysctl raw_tracepoint_writable cgroup_sockopt tracing struct_ops ext lsm \
    sk_lookup syscall netfilter";

/// The name of a program type, as in bpftool.
pub fn prog_type(number: u32) -> Option<&'static str> {
    word(PROG_TYPES, number)
}

/// `enum bpf_attach_type`, include/uapi/linux/bpf.h (7.x).
const ATTACH_TYPES: &str = "\
    cgroup_inet_ingress cgroup_inet_egress cgroup_inet_sock_create cgroup_sock_ops sk_skb_stream_parser \
    sk_skb_stream_verdict cgroup_device sk_msg_verdict cgroup_inet4_bind cgroup_inet6_bind cgroup_inet4_connect \
    cgroup_inet6_connect cgroup_inet4_post_bind cgroup_inet6_post_bind cgroup_udp4_sendmsg cgroup_udp6_sendmsg \
    lirc_mode2 flow_dissector cgroup_sysctl cgroup_udp4_recvmsg cgroup_udp6_recvmsg cgroup_getsockopt \
    cgroup_setsockopt trace_raw_tp trace_fentry trace_fexit modify_return lsm_mac trace_iter \
    cgroup_inet4_getpeername cgroup_inet6_getpeername cgroup_inet4_getsockname cgroup_inet6_getsockname xdp_devmap \
    cgroup_inet_sock_release xdp_cpumap sk_lookup xdp sk_skb_verdict sk_reuseport_select \
    sk_reuseport_select_or_migrate perf_event trace_kprobe_multi lsm_cgroup struct_ops netfilter tcx_ingress \
    tcx_egress trace_uprobe_multi cgroup_unix_connect cgroup_unix_sendmsg cgroup_unix_recvmsg \
    cgroup_unix_getpeername cgroup_unix_getsockname netkit_primary netkit_peer trace_kprobe_session \
    trace_uprobe_session trace_fsession";

/// The name of an attach type, lower case and without `BPF_`.
pub fn attach_type(number: u32) -> Option<&'static str> {
    word(ATTACH_TYPES, number)
}

/// `enum bpf_link_type`, include/uapi/linux/bpf.h (7.x).
const LINK_TYPES: &str = "\
    unspec raw_tracepoint tracing cgroup iter netns xdp perf_event kprobe_multi struct_ops netfilter tcx \
    uprobe_multi netkit sockmap tracing_multi";

/// The name of a link type, lower case and without `BPF_LINK_TYPE_`.
pub fn link_type(number: u32) -> Option<&'static str> {
    word(LINK_TYPES, number)
}

/// `enum bpf_map_type`, include/uapi/linux/bpf.h (7.x).
const MAP_TYPES: &str = "\
    unspec hash array prog_array perf_event_array percpu_hash percpu_array stack_trace cgroup_array lru_hash \
    lru_percpu_hash lpm_trie array_of_maps hash_of_maps devmap sockmap cpumap xskmap sockhash cgroup_storage \
    reuseport_sockarray percpu_cgroup_storage queue stack sk_storage devmap_hash struct_ops ringbuf inode_storage \
    task_storage bloom_filter user_ringbuf cgrp_storage arena insn_array";

/// The name of a map type, as in bpftool.
pub fn map_type(number: u32) -> Option<&'static str> {
    word(MAP_TYPES, number)
}

/// The errors of ordinary work: files and processes are looked up where they may not be, and calls do not wait.
const EXPECTED: [&str; 8] = ["ENOENT", "ENOTDIR", "EEXIST", "EAGAIN", "ENXIO", "ENODEV", "EINTR", "ESRCH"];

/// Whether an error, given by name, is part of ordinary work.
pub fn is_expected(err: &[u8]) -> bool {
    EXPECTED.iter().any(|expected| expected.as_bytes() == err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_flags(flags: u64, text: &str) {
        let mut out = Vec::new();
        open_flags(flags, &mut out);
        assert_eq!(String::from_utf8(out).expect("ASCII"), text);
    }

    #[test]
    fn numbers_and_flags_have_the_names_that_users_know() {
        let errors = ["ENOENT", "EACCES", "EAGAIN", "ELOOP", "EHWPOISON", "ERESTARTSYS", "EUNKNOWN"];
        assert_eq!([-2, -13, -11, -40, -133, -512, -4000].map(err), errors.map(Some));
        assert_eq!([3, 0].map(err), [None; 2]);
        assert_eq!([9, 34, 64].map(signal), ["SIGKILL", "SIGRTMIN", "SIGRTMAX"].map(Some));
        assert_eq!([0, 65].map(signal), [None; 2]);
        assert_eq!([26, 29].map(prog_type), ["tracing", "lsm"].map(Some));
        assert_eq!([23, 41, 46].map(attach_type), ["trace_raw_tp", "perf_event", "tcx_ingress"].map(Some));
        assert_eq!(link_type(7), Some("perf_event"));
        assert_eq!([9, 27].map(map_type), ["lru_hash", "ringbuf"].map(Some));
        // Open flags read as in c.
        check_flags(0, "O_RDONLY");
        check_flags(0o2000000, "O_RDONLY|O_CLOEXEC");
        check_flags(0o1101, "O_WRONLY|O_CREAT|O_TRUNC");
        check_flags(0o20200002, "O_RDWR|O_TMPFILE");
        check_flags(0o200000, "O_RDONLY|O_DIRECTORY");
        check_flags(0o4010001, "O_WRONLY|O_SYNC");
        check_flags(0o10001, "O_WRONLY|O_DSYNC");
        check_flags(1 << 40, "O_RDONLY|0x10000000000");
    }
}
