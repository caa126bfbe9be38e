//! x86-64, with the tables of i386 and x32.

use super::Arch;
use tracetui_shared::offsets::arch;

pub(super) static ARCH: Arch = Arch {
    name: "x86_64",
    number: arch::X86_64,
    opens: &[
        "__x64_sys_openat",
        "__x64_sys_open",
        "__x64_sys_openat2",
        "__x64_sys_creat",
        "__x64_sys_open_by_handle_at",
        "__ia32_compat_sys_openat",
        "__ia32_compat_sys_open",
        "__ia32_sys_openat2",
        "__ia32_sys_creat",
        "__ia32_compat_sys_open_by_handle_at",
    ],
    bpfs: &[
        "__x64_sys_bpf",
        "__x64_sys_ioctl",
        "__x64_sys_setsockopt",
        "__x64_sys_seccomp",
        "__x64_sys_prctl",
        "__ia32_sys_bpf",
        "__ia32_compat_sys_ioctl",
        "__x64_compat_sys_ioctl",
        "__ia32_sys_setsockopt",
        "__ia32_sys_seccomp",
        "__ia32_sys_prctl",
    ],
    execs: &[
        "__x64_sys_execve",
        "__x64_sys_execveat",
        "__ia32_compat_sys_execve",
        "__ia32_compat_sys_execveat",
        "__x64_compat_sys_execve",
        "__x64_compat_sys_execveat",
    ],
    tcps: &[
        "__x64_sys_connect",
        "__x64_sys_accept",
        "__x64_sys_accept4",
        "__ia32_sys_connect",
        "__ia32_sys_accept4",
        "__ia32_compat_sys_socketcall",
    ],
    open_tracepoints: &[
        "sys_exit_openat",
        "sys_exit_open",
        "sys_exit_openat2",
        "sys_exit_creat",
        "sys_exit_open_by_handle_at",
    ],
    compat_callers: "32-bit and x32 programs",
};
