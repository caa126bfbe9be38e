//! The system calls at whose end events are made.

use crate::kind::{Kind, KindSet};
use crate::offsets::arch;
use crate::record::open::{abi, via};

/// A system call.
pub struct Row {
    /// The kind of its events.
    pub kind: Kind,
    /// Which of the kind's calls it is.
    pub op: u8,
    /// The name in the tables of the kernel.
    pub name: &'static str,
    /// The classic tracepoint `syscalls:sys_exit_NAME`.
    pub tracepoint: &'static str,
    /// Its number in each table, in the order of [`abi`]: x86-64, i386, x32, arm64, arm. [`NONE`] if the table does not have it.
    pub numbers: [u32; 5],
    /// Whether the 32-bit tables have a function of their own for it.
    compat: bool,
    /// The functions behind it (`syscall_wrapper.h` of
    /// [x86](https://elixir.bootlin.com/linux/v6.12/source/arch/x86/include/asm/syscall_wrapper.h) and
    /// [arm64](https://elixir.bootlin.com/linux/v6.12/source/arch/arm64/include/asm/syscall_wrapper.h)).
    functions: [&'static str; 6],
}

impl Row {
    /// The functions behind the call in the tables of an architecture ([`arch`]). The kernel may lack some.
    pub fn functions(&self, on: u32) -> impl Iterator<Item = &'static str> {
        let [x64, ia32, ia32_compat, x64_compat, arm64, arm64_compat] = self.functions;
        let native = |name| Some(name).filter(|_| self.is_native(on) || !self.compat);
        let own = |name| Some(name).filter(|_| self.compat);
        let shared = |name| Some(name).filter(|_| !self.compat);
        let functions = match on {
            arch::AARCH64 => [native(arm64), own(arm64_compat), None, None],
            _ => [native(x64), shared(ia32), own(ia32_compat), own(x64_compat)],
        };
        functions.into_iter().flatten()
    }

    /// Whether the 64-bit table of an architecture ([`arch`]) has the call.
    pub const fn is_native(&self, on: u32) -> bool {
        let table = if on == arch::AARCH64 { abi::AARCH64 } else { abi::X86_64 };
        self.numbers[table as usize] != NONE
    }
}

/// Not in this table.
pub const NONE: u32 = u32::MAX;

macro_rules! calls {
    ($($kind:ident $op:path: $name:literal $compat:literal $numbers:expr;)+) => {
        /// The calls.
        pub const ROWS: &[Row] = &[$(Row {
            kind: Kind::$kind,
            op: $op,
            name: $name,
            tracepoint: concat!("sys_exit_", $name),
            numbers: $numbers,
            compat: $compat,
            functions: [
                concat!("__x64_sys_", $name),
                concat!("__ia32_sys_", $name),
                concat!("__ia32_compat_sys_", $name),
                concat!("__x64_compat_sys_", $name),
                concat!("__arm64_sys_", $name),
                concat!("__arm64_compat_sys_", $name),
            ],
        }),+];
    };
}

calls! {
    // kind, which of its calls: name, whether the 32-bit tables have their own function, numbers of x86-64, i386, x32, arm64, arm
    Open via::OPENAT: "openat" true [257, 295, 257, 56, 322];
    Open via::OPEN: "open" true [2, 5, 2, NONE, 5];
    Open via::OPENAT2: "openat2" false [437, 437, 437, 437, 437];
    Open via::CREAT: "creat" false [85, 8, 85, NONE, 8];
    Open via::OPEN_BY_HANDLE_AT: "open_by_handle_at" true [304, 342, 304, 265, 371];
    Exec exec::EXECVE: "execve" true [59, 11, 520, 221, 11];
    Exec exec::EXECVEAT: "execveat" true [322, 358, 545, 281, 387];
    Bpf bpf::BPF: "bpf" false [321, 357, 321, 280, 386];
    Bpf bpf::IOCTL: "ioctl" true IOCTL;
    // x32 has a number of its own, which the 64-bit table has, too.
    Bpf bpf::IOCTL: "ioctl" true [514, NONE, 514, NONE, NONE];
    Bpf bpf::PRCTL: "prctl" false [157, 172, 157, 167, 172];
    Bpf bpf::SECCOMP: "seccomp" false [317, 354, 317, 277, 383];
    Bpf bpf::SETSOCKOPT: "setsockopt" false [54, 366, 541, 208, 294];
    Tcp tcp::CONNECT: "connect" false [42, 362, 42, 203, 283];
    Tcp tcp::ACCEPT: "accept" false [43, NONE, 43, 202, 285];
    Tcp tcp::ACCEPT4: "accept4" false [288, 364, 288, 242, 366];
    Tcp tcp::SOCKETCALL: "socketcall" true [NONE, 102, NONE, NONE, NONE];
}

/// The numbers of ioctl(2).
pub const IOCTL: [u32; 5] = [16, 54, 16, 29, 54];

/// The calls that start programs. Those that succeed are reported at `sched_process_exec`.
pub mod exec {
    /// execve(2).
    pub const EXECVE: u8 = 0;
    /// execveat(2).
    pub const EXECVEAT: u8 = 1;
}

/// The calls that may load, attach or detach BPF programs.
pub mod bpf {
    /// bpf(2).
    pub const BPF: u8 = 0;
    /// ioctl(2).
    pub const IOCTL: u8 = 1;
    /// setsockopt(2).
    pub const SETSOCKOPT: u8 = 2;
    /// seccomp(2).
    pub const SECCOMP: u8 = 3;
    /// prctl(2).
    pub const PRCTL: u8 = 4;
}

/// The calls that make or accept TCP connections. The numbers are those of [`via`](crate::record::tcp::via).
pub mod tcp {
    pub use crate::record::tcp::via::{ACCEPT, ACCEPT4, CONNECT};

    /// socketcall(2), which includes all of them.
    pub const SOCKETCALL: u8 = u8::MAX;
}

/// The tables of x86-64, and those of aarch64, from the first on.
const X86: (usize, usize) = (abi::X86_64 as usize, 3);
const ARM: (usize, usize) = (abi::AARCH64 as usize, 2);

/// The entries of the tables of x86-64 for some kinds ([`entries`]).
pub const fn x86(kinds: KindSet) -> [u32; count(X86)] {
    entries(X86, kinds)
}

/// The entries of the tables of aarch64 for some kinds ([`entries`]).
pub const fn arm(kinds: KindSet) -> [u32; count(ARM)] {
    entries(ARM, kinds)
}

/// One more than the highest number in some tables.
const fn count((first, tables): (usize, usize)) -> usize {
    let (mut count, mut row) = (0, 0);
    while row < ROWS.len() {
        let mut table = first;
        while table < first + tables {
            let number = ROWS[row].numbers[table];
            if number != NONE && number as usize >= count {
                count = number as usize + 1;
            }
            table += 1;
        }
        row += 1;
    }
    count
}

/// The calls of some kinds, by number. Each table has a byte: the index of the call in [`ROWS`], and 1 more; 0 for a call that makes
/// no events. So one load and one test dismiss most calls.
const fn entries<const COUNT: usize>((first, tables): (usize, usize), kinds: KindSet) -> [u32; COUNT] {
    let mut entries = [0; COUNT];
    let mut row = 0;
    while row < ROWS.len() {
        let mut table = 0;
        while table < tables {
            let number = ROWS[row].numbers[first + table];
            if number != NONE && kinds.contains(ROWS[row].kind) {
                assert!(entries[number as usize] & 0xff << (8 * table) == 0, "a system call is in two rows");
                entries[number as usize] |= (row as u32 + 1) << (8 * table);
            }
            table += 1;
        }
        row += 1;
    }
    entries
}

/// The kind and the operation of each entry, for every value of a byte.
pub const MEANINGS: [[u8; 2]; 256] = {
    let mut meanings = [[0; 2]; 256];
    let mut row = 0;
    while row < ROWS.len() {
        meanings[row + 1] = [ROWS[row].kind as u8, ROWS[row].op];
        row += 1;
    }
    meanings
};
