//! aarch64, with the table of 32-bit ARM.

use super::Arch;
use tracetui_shared::offsets::arch;

pub(super) static ARCH: Arch = Arch {
    name: "aarch64",
    number: arch::AARCH64,
    // The 64-bit table has neither open nor creat. The 32-bit table has its own creat under the 64-bit name.
    opens: &[
        "__arm64_sys_openat",
        "__arm64_sys_openat2",
        "__arm64_sys_open_by_handle_at",
        "__arm64_compat_sys_openat",
        "__arm64_compat_sys_open",
        "__arm64_sys_creat",
        "__arm64_compat_sys_open_by_handle_at",
    ],
    bpfs: &[
        "__arm64_sys_bpf",
        "__arm64_sys_ioctl",
        "__arm64_sys_setsockopt",
        "__arm64_sys_seccomp",
        "__arm64_sys_prctl",
        "__arm64_compat_sys_ioctl",
    ],
    execs: &["__arm64_sys_execve", "__arm64_sys_execveat", "__arm64_compat_sys_execve", "__arm64_compat_sys_execveat"],
    tcps: &["__arm64_sys_connect", "__arm64_sys_accept", "__arm64_sys_accept4"],
    open_tracepoints: &["sys_exit_openat", "sys_exit_openat2", "sys_exit_open_by_handle_at"],
    compat_callers: "32-bit programs",
};
