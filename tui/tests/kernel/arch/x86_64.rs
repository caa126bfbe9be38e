//! x86-64, whose 64-bit processes can make calls of the i386 table and of x32.

use crate::narrow::{BASE, Caller, MEMORY, Narrow};
use crate::sys::{self, Actor, Pages};
use crate::traced::Dir;
use std::ffi::CStr;

/// The `abi` of 64-bit callers.
pub(crate) const ABI: &str = "x86_64";
/// The `abi` of callers of the 32-bit table.
pub(crate) const NARROW_ABI: &str = "i386";
pub(crate) const ELF_MACHINE: u16 = 62;
/// `O_LARGEFILE`, which C libraries call 0.
pub(crate) const O_LARGEFILE: i32 = 0x8000;

/// System call numbers of i386, in addition to those of `narrow::nr`.
pub(crate) mod nr32 {
    pub(crate) const OPENAT: u32 = 295;
    pub(crate) const BPF: u32 = 357;
    pub(crate) const CONNECT: u32 = 362;
    pub(crate) const BIND: u32 = 361;
    pub(crate) const LISTEN: u32 = 363;
    pub(crate) const ACCEPT4: u32 = 364;
    pub(crate) const EXECVEAT: u32 = 358;
}

/// The `via` of [`open`].
pub(crate) const OPEN: &str = "open";
/// The `via` of [`creat`].
pub(crate) const CREAT: &str = "creat";

/// open(2), as the system call of that name.
pub(crate) fn open(path: &CStr, flags: i32, mode: u32) -> i64 {
    sys::call(libc::SYS_open, &[path.as_ptr() as u64, flags as u64, mode.into()])
}

/// creat(2), as the system call of that name.
pub(crate) fn creat(path: &CStr, mode: u32) -> i64 {
    sys::call(libc::SYS_creat, &[path.as_ptr() as u64, mode.into()])
}

/// A system call of x32. Its registers have 64 bits, but pointers in memory have 32 bits.
pub(crate) fn x32(number: libc::c_long, args: &[u64]) -> i64 {
    sys::call(number | 0x4000_0000, &args)
}

/// Makes the calls by `int 0x80` in a child that is a 64-bit process.
pub(crate) fn run_narrow(narrow: &Narrow, _: &Dir) -> Option<Caller> {
    const GETPID: u32 = 20;
    // Without such a table, the instruction faults or the system call is unknown.
    let mut asks = Actor::new(|| vec![int80(GETPID, [0; 4])]);
    let pid = asks.pid;
    asks.go();
    if asks.end().1 != [i64::from(pid)] {
        return None;
    }
    let mut actor = Actor::new(|| {
        let memory = (MEMORY - BASE) as usize;
        let pages = Pages::map(BASE as usize, memory + narrow.memory.len(), 0, libc::MAP_FIXED_NOREPLACE);
        pages.put(memory, &narrow.memory);
        narrow.calls.iter().map(|(number, args)| int80(*number, *args)).collect()
    });
    actor.go();
    let pid = actor.pid;
    let (status, rets) = actor.end();
    Some(Caller { pid, status, rets })
}

fn int80(number: u32, args: [u32; 4]) -> i64 {
    int80_wide(number, args.map(u64::from))
}

/// A system call of the i386 table with full registers, of which the kernel uses the lower halves.
pub(crate) fn int80_wide(number: u32, args: [u64; 4]) -> i64 {
    let ret: i32;
    // SAFETY: the kernel reads memory at the addresses, which are below 4 GiB. rbx, which the compiler reserves, is
    // restored.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {ebx:r}",
            "int 0x80",
            "xchg rbx, {ebx:r}",
            ebx = inout(reg) args[0] => _,
            inlateout("eax") number => ret,
            in("rcx") args[1],
            in("rdx") args[2],
            in("rsi") args[3],
            in("rdi") 0u64,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    ret.into()
}
