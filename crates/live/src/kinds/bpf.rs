//! `bpf`: loads of programs, and attachments by system calls.

use super::*;

pub(super) const FIELDS: &[Field] = &[FilePrivate, ProgAux, AuxProg, AuxId];
pub(super) const WHAT: &str = "BPF program loads and attachments";
pub(super) const TP: Probe = Probe::new(
    Slot::BpfTp,
    Classic(
        "syscalls",
        |_| &["sys_exit_bpf", "sys_exit_ioctl", "sys_exit_setsockopt", "sys_exit_seccomp", "sys_exit_prctl"],
        RET,
    ),
    &[HEADER, FILES, SYSCALL, FIELDS],
    &[WHAT],
);

pub(super) const MULTI: Probe =
    Probe::new(Slot::BpfMulti, Functions(At::Return, |arch| arch.bpfs), &[HEADER, FILES, SYSCALL, FIELDS], &[WHAT]);

/// The fields of an interface.
const INTERFACE: &[Field] =
    &[ProgAux, AuxId, NetDeviceIfindex, NetDeviceName, NetDeviceNet, NetDeviceXdpState, NetInum];
/// Changes of XDP programs by netlink, in all network namespaces. Without it, the inventory reports most of the changes.
pub(super) const XDP: Group = Group::listed(&[(
    Way::Functions,
    &[Probe::new(
        Slot::BpfXdp,
        Exit("dev_change_xdp_fd"),
        &[HEADER, INTERFACE],
        &["short XDP attachments at interfaces that are down or in other network namespaces"],
    )],
)]);

/// Who attached or detached a program by netlink. Without it, the inventory reports the change without a process.
pub(super) const NETLINK: Group = Group::wanted(&[(
    Way::Typed,
    &[Probe::new(Slot::BpfNetlink, Notified, &[HEADER], &["processes that attach BPF programs by netlink"]).optional()],
)]);
