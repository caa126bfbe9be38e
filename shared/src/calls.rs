//! The system calls at whose end events are made.

use crate::kind::{Kind, KindSet};
use crate::offsets::arch;
use crate::record::open::{abi, via};
use crate::record::tcp::via as tcp_via;

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
    /// Where its arguments are, if its events have paths.
    pub places: Places,
    /// Whether only its failures are events.
    pub fails_only: bool,
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

    /// Whether the call makes events of some of these kinds: connect(2) serves two.
    pub const fn serves(&self, kinds: KindSet) -> bool {
        let connects = matches!(self.kind, Kind::Tcp) && matches!(self.op, tcp::CONNECT | tcp::SOCKETCALL);
        kinds.contains(self.kind) || connects && kinds.contains(Kind::Unix)
    }

    /// Whether the 64-bit table of an architecture ([`arch`]) has the call.
    pub const fn is_native(&self, on: u32) -> bool {
        let table = if on == arch::AARCH64 { abi::AARCH64 } else { abi::X86_64 };
        self.numbers[table as usize] != NONE
    }
}

/// Which arguments of a call are the directory at which a path starts, and the path: for two paths, and for a third text; and which
/// are its values. An argument is counted from 0.
#[derive(Clone, Copy)]
pub struct Places([u8; 8]);

/// No such argument. A path without a directory starts at the working directory.
pub const NO_ARGUMENT: u8 = 7;
/// In place of a directory: the text is no path that the call looks up.
pub const NO_START: u8 = 6;
/// The indexes of [`PLACES`].
pub const PATH: usize = 0;
pub const DIR: usize = 1;
pub const NEW_PATH: usize = 2;
pub const NEW_DIR: usize = 3;
pub const TEXT: usize = 4;
pub const VALUE: usize = 5;
pub const NEXT_VALUE: usize = 6;
pub const FLAGS: usize = 7;

impl Places {
    const NONE: Places = Places([NO_ARGUMENT; 8]);

    const fn path(path: u8) -> Places {
        Places::NONE.with(PATH, path)
    }

    /// A path that starts at a descriptor.
    const fn at(dir: u8, path: u8) -> Places {
        Places::path(path).with(DIR, dir)
    }

    /// A descriptor of the file itself.
    const fn file(fd: u8) -> Places {
        Places::NONE.with(DIR, fd)
    }

    /// A second path.
    const fn to(self, path: u8) -> Places {
        self.with(NEW_PATH, path)
    }

    /// A second path that starts at a descriptor.
    const fn to_at(self, dir: u8, path: u8) -> Places {
        self.to(path).with(NEW_DIR, dir)
    }

    /// A text instead of a second path.
    const fn of(self, text: u8) -> Places {
        self.to(text).with(NEW_DIR, NO_START)
    }

    /// A third text.
    const fn named(self, text: u8) -> Places {
        self.with(TEXT, text)
    }

    /// Flags.
    const fn flags(self, argument: u8) -> Places {
        self.with(FLAGS, argument)
    }

    /// A mode or a size.
    const fn value(self, argument: u8) -> Places {
        self.with(VALUE, argument)
    }

    /// Two values, the second in the next argument: owner and group, or the halves of a size.
    const fn values(self, argument: u8) -> Places {
        self.value(argument).with(NEXT_VALUE, argument + 1)
    }

    const fn with(self, place: usize, argument: u8) -> Places {
        let Places(mut places) = self;
        places[place] = argument;
        Places(places)
    }
}

/// The places of each entry, for every value of a byte.
pub const PLACES: [[u8; 8]; 256] = {
    let mut places = [[NO_ARGUMENT; 8]; 256];
    let mut row = 0;
    while row < ROWS.len() {
        places[row + 1] = ROWS[row].places.0;
        row += 1;
    }
    places
};

/// Not in this table.
pub const NONE: u32 = u32::MAX;

macro_rules! places {
    () => {
        Places::NONE
    };
    ($places:expr) => {
        $places
    };
}

macro_rules! calls {
    ($($(#[$doc:meta])* $kind:ident mod $module:ident $(: $via:ident)? {
        $($op:ident $(= $number:literal)?: $name:literal $compat:literal $numbers:expr $(, $places:expr)?;)+
    })+) => {
        $($(#[$doc])*
        pub mod $module {
            $(pub use super::$via::*;)?
            $($(pub const $op: u8 = $number;)?)+
        })+

        /// The calls.
        pub const ROWS: &[Row] = &[$($(Row {
            kind: Kind::$kind,
            op: $module::$op,
            name: $name,
            tracepoint: concat!("sys_exit_", $name),
            places: places!($($places)?),
            fails_only: matches!((Kind::$kind, $module::$op), (Kind::Lookup, _) | (Kind::Tcp, tcp::BIND)),
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
        }),+),+];
    };
}

calls! {
    // kind and module { operation = its number: name, whether the 32-bit tables have their own function, numbers of x86-64, i386,
    // x32, arm64, arm }. Only the first row of an operation has its number, unless the record's module has it.
    /// The calls that open files.
    Open mod open: via {
        OPENAT: "openat" true [257, 295, 257, 56, 322];
        OPEN: "open" true [2, 5, 2, NONE, 5];
        OPENAT2: "openat2" false [437, 437, 437, 437, 437];
        CREAT: "creat" false [85, 8, 85, NONE, 8];
        OPEN_BY_HANDLE_AT: "open_by_handle_at" true [304, 342, 304, 265, 371];
    }
    /// The calls that start programs. Those that succeed are reported at `sched_process_exec`.
    Exec mod exec {
        EXECVE = 0: "execve" true [59, 11, 520, 221, 11];
        EXECVEAT = 1: "execveat" true [322, 358, 545, 281, 387];
    }
    /// The calls that may load, attach or detach BPF programs.
    Bpf mod bpf {
        BPF = 0: "bpf" false [321, 357, 321, 280, 386];
        IOCTL = 1: "ioctl" true IOCTL;
        // x32 has a number of its own, which the 64-bit table has, too.
        IOCTL: "ioctl" true [514, NONE, 514, NONE, NONE];
        PRCTL = 4: "prctl" false [157, 172, 157, 167, 172];
        SECCOMP = 3: "seccomp" false [317, 354, 317, 277, 383];
        SETSOCKOPT = 2: "setsockopt" false [54, 366, 541, 208, 294];
    }
    /// The calls that make, accept or prepare TCP connections. socketcall(2) includes all of them.
    Tcp mod tcp: tcp_via {
        // `unix` has its connects from here, too. The probe puts the address of the path after the other arguments.
        CONNECT: "connect" false [42, 362, 42, 203, 283], Places::path(4);
        ACCEPT: "accept" false [43, NONE, 43, 202, 285];
        ACCEPT4: "accept4" false [288, 364, 288, 242, 366];
        SOCKETCALL = 255: "socketcall" true [NONE, 102, NONE, NONE, NONE], Places::path(4);
        BIND: "bind" false [49, 361, 49, 200, 282];
        LISTEN: "listen" false [50, 363, 50, 201, 284];
    }
    /// The calls that change names and attributes of files. The numbers are in recordings.
    File mod file {
        RENAME = 0: "rename" false [82, 38, 82, NONE, 38], Places::path(0).to(1);
        RENAMEAT = 1: "renameat" false [264, 302, 264, 38, 329], Places::at(0, 1).to_at(2, 3);
        RENAMEAT2 = 2: "renameat2" false [316, 353, 316, 276, 382], Places::at(0, 1).to_at(2, 3).flags(4);
        UNLINK = 3: "unlink" false [87, 10, 87, NONE, 10], Places::path(0);
        UNLINKAT = 4: "unlinkat" false [263, 301, 263, 35, 328], Places::at(0, 1).flags(2);
        RMDIR = 5: "rmdir" false [84, 40, 84, NONE, 40], Places::path(0);
        MKDIR = 6: "mkdir" false [83, 39, 83, NONE, 39], Places::path(0).value(1);
        MKDIRAT = 7: "mkdirat" false [258, 296, 258, 34, 323], Places::at(0, 1).value(2);
        LINK = 8: "link" false [86, 9, 86, NONE, 9], Places::path(0).to(1);
        LINKAT = 9: "linkat" false [265, 303, 265, 37, 330], Places::at(0, 1).to_at(2, 3).flags(4);
        SYMLINK = 10: "symlink" false [88, 83, 88, NONE, 83], Places::path(1).of(0);
        SYMLINKAT = 11: "symlinkat" false [266, 304, 266, 36, 331], Places::at(1, 2).of(0);
        MKNOD = 12: "mknod" false [133, 14, 133, NONE, 14], Places::path(0).value(1);
        MKNODAT = 13: "mknodat" false [259, 297, 259, 33, 324], Places::at(0, 1).value(2);
        CHMOD = 14: "chmod" false [90, 15, 90, NONE, 15], Places::path(0).value(1);
        FCHMOD = 15: "fchmod" false [91, 94, 91, 52, 94], Places::file(0).value(1);
        FCHMODAT = 16: "fchmodat" false [268, 306, 268, 53, 333], Places::at(0, 1).value(2);
        FCHMODAT2 = 17: "fchmodat2" false [452, 452, 452, 452, 452], Places::at(0, 1).value(2).flags(3);
        CHOWN = 18: "chown" false [92, 212, 92, NONE, 212], Places::path(0).values(1);
        LCHOWN = 19: "lchown" false [94, 198, 94, NONE, 198], Places::path(0).values(1);
        FCHOWN = 20: "fchown" false [93, 207, 93, 55, 207], Places::file(0).values(1);
        FCHOWNAT = 21: "fchownat" false [260, 298, 260, 54, 325], Places::at(0, 1).values(2).flags(4);
        CHOWN16 = 22: "chown16" false [NONE, 182, NONE, NONE, 182], Places::path(0).values(1);
        LCHOWN16 = 23: "lchown16" false [NONE, NONE, NONE, NONE, 16], Places::path(0).values(1);
        FCHOWN16 = 24: "fchown16" false [NONE, 95, NONE, NONE, 95], Places::file(0).values(1);
        TRUNCATE = 25: "truncate" true [76, 92, 76, 45, 92], Places::path(0).value(1);
        FTRUNCATE = 26: "ftruncate" true [77, 93, 77, 46, 93], Places::file(0).value(1);
        TRUNCATE64 = 27: "truncate64" true [NONE, 193, NONE, NONE, NONE], Places::path(0).values(1);
        // ARM passes the halves in an even and an odd register.
        TRUNCATE64: "truncate64" true [NONE, NONE, NONE, NONE, 193], Places::path(0).values(2);
        FTRUNCATE64 = 28: "ftruncate64" true [NONE, 194, NONE, NONE, NONE], Places::file(0).values(1);
        FTRUNCATE64: "ftruncate64" true [NONE, NONE, NONE, NONE, 194], Places::file(0).values(2);
        SETXATTR = 29: "setxattr" false [188, 226, 188, 5, 226], Places::path(0).named(1);
        LSETXATTR = 30: "lsetxattr" false [189, 227, 189, 6, 227], Places::path(0).named(1);
        FSETXATTR = 31: "fsetxattr" false [190, 228, 190, 7, 228], Places::file(0).named(1);
        SETXATTRAT = 32: "setxattrat" false [463, 463, 463, 463, 463], Places::at(0, 1).named(3).flags(2);
        REMOVEXATTR = 33: "removexattr" false [197, 235, 197, 14, 235], Places::path(0).named(1);
        LREMOVEXATTR = 34: "lremovexattr" false [198, 236, 198, 15, 236], Places::path(0).named(1);
        FREMOVEXATTR = 35: "fremovexattr" false [199, 237, 199, 16, 237], Places::file(0).named(1);
        REMOVEXATTRAT = 36: "removexattrat" false [466, 466, 466, 466, 466], Places::at(0, 1).named(3).flags(2);
        MOUNT = 37: "mount" false [165, 21, 165, 40, 21], Places::path(1).of(0).named(2).flags(3);
        UMOUNT = 38: "umount" false [166, 52, 166, 39, 52], Places::path(0).flags(1);
        UMOUNT: "oldumount" false [NONE, 22, NONE, NONE, NONE], Places::path(0);
        MOVE_MOUNT = 39: "move_mount" false [429, 429, 429, 429, 429], Places::at(0, 1).to_at(2, 3).flags(4);
        PIVOT_ROOT = 40: "pivot_root" false [155, 217, 155, 41, 218], Places::path(0).to(1);
    }
    /// The calls that look up a path without opening its file. The numbers are in recordings.
    Lookup mod lookup {
        STAT = 0: "newstat" true [4, 106, 4, NONE, 106], Places::path(0);
        STAT: "stat" false [NONE, 18, NONE, NONE, NONE], Places::path(0);
        STAT: "ia32_stat64" true [NONE, 195, NONE, NONE, NONE], Places::path(0);
        STAT: "stat64" false [NONE, NONE, NONE, NONE, 195], Places::path(0);
        LSTAT = 1: "newlstat" true [6, 107, 6, NONE, 107], Places::path(0);
        LSTAT: "lstat" false [NONE, 84, NONE, NONE, NONE], Places::path(0);
        LSTAT: "ia32_lstat64" true [NONE, 196, NONE, NONE, NONE], Places::path(0);
        LSTAT: "lstat64" false [NONE, NONE, NONE, NONE, 196], Places::path(0);
        FSTATAT = 2: "newfstatat" false [262, NONE, 262, 79, NONE], Places::at(0, 1).flags(3);
        FSTATAT: "ia32_fstatat64" true [NONE, 300, NONE, NONE, NONE], Places::at(0, 1).flags(3);
        FSTATAT: "fstatat64" false [NONE, NONE, NONE, NONE, 327], Places::at(0, 1).flags(3);
        STATX = 3: "statx" false [332, 383, 332, 291, 397], Places::at(0, 1).flags(2);
        ACCESS = 4: "access" false [21, 33, 21, NONE, 33], Places::path(0).value(1);
        FACCESSAT = 5: "faccessat" false [269, 307, 269, 48, 334], Places::at(0, 1).value(2);
        FACCESSAT2 = 6: "faccessat2" false [439, 439, 439, 439, 439], Places::at(0, 1).value(2).flags(3);
        READLINK = 7: "readlink" false [89, 85, 89, NONE, 85], Places::path(0);
        READLINKAT = 8: "readlinkat" false [267, 305, 267, 78, 332], Places::at(0, 1);
        CHDIR = 9: "chdir" false [80, 12, 80, 49, 12], Places::path(0);
        FCHDIR = 10: "fchdir" false [81, 133, 81, 50, 133], Places::file(0);
    }
}

/// The numbers of ioctl(2).
pub const IOCTL: [u32; 5] = [16, 54, 16, 29, 54];

/// In an entry: all calls with this number report failures only.
pub const FAILS_ONLY: u32 = 1 << 31;

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
/// no events. So one load and one test dismiss most calls. The highest bit is [`FAILS_ONLY`].
const fn entries<const COUNT: usize>((first, tables): (usize, usize), kinds: KindSet) -> [u32; COUNT] {
    let mut entries = [0; COUNT];
    let mut row = 0;
    while row < ROWS.len() {
        let mut table = 0;
        while table < tables {
            let number = ROWS[row].numbers[first + table];
            if number != NONE && ROWS[row].serves(kinds) {
                let entry = entries[number as usize];
                assert!(entry & 0xff << (8 * table) == 0, "a system call is in two rows");
                let fails_only = ROWS[row].fails_only && (entry == 0 || entry & FAILS_ONLY != 0);
                let bit = if fails_only { FAILS_ONLY } else { 0 };
                entries[number as usize] = entry & !FAILS_ONLY | bit | (row as u32 + 1) << (8 * table);
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
