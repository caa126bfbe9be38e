//! aarch64. Its 64-bit processes cannot make calls of the 32-bit ARM table. A 32-bit program, which is assembled here,
//! makes them.

use crate::narrow::{BASE, Caller, MEMORY, Narrow, RESULTS, nr};
use crate::sys::{self, Status};
use crate::traced::Dir;
use std::ffi::CStr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

/// The `abi` of 64-bit callers.
pub(crate) const ABI: &str = "aarch64";
/// The `abi` of callers of the 32-bit table.
pub(crate) const NARROW_ABI: &str = "arm";
pub(crate) const ELF_MACHINE: u16 = 183;
/// `O_LARGEFILE`, which C libraries may call 0.
pub(crate) const O_LARGEFILE: i32 = 0x2_0000;

/// System call numbers of 32-bit ARM (EABI), in addition to those of `narrow::nr`.
pub(crate) mod nr32 {
    pub(crate) const OPENAT: u32 = 322;
    pub(crate) const BPF: u32 = 386;
    pub(crate) const CONNECT: u32 = 283;
    pub(crate) const BIND: u32 = 282;
    pub(crate) const LISTEN: u32 = 284;
    pub(crate) const ACCEPT4: u32 = 366;
    pub(crate) const EXECVEAT: u32 = 387;
}

/// The `via` of [`open`].
pub(crate) const OPEN: &str = "openat";
/// The `via` of [`creat`].
pub(crate) const CREAT: &str = "openat";

/// open(2), as C libraries implement it: there is no system call of that name.
pub(crate) fn open(path: &CStr, flags: i32, mode: u32) -> i64 {
    sys::openat(libc::AT_FDCWD, path, flags, mode)
}

/// creat(2), as C libraries implement it: there is no system call of that name.
pub(crate) fn creat(path: &CStr, mode: u32) -> i64 {
    open(path, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, mode)
}

/// Makes the calls in a program of 32-bit ARM.
pub(crate) fn run_narrow(narrow: &Narrow, dir: &Dir) -> Option<Caller> {
    let path = dir.at("arm");
    std::fs::write(&path, program(narrow)).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let spawned = Command::new(path).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let child = match spawned {
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => return None,
        spawned => spawned.expect("a child"),
    };
    let pid = child.id() as i32;
    let output = child.wait_with_output().expect("a status");
    let rets = output.stdout.chunks_exact(4).map(|ret| i32::from_le_bytes(ret.try_into().expect("four bytes")).into());
    Some(Caller { pid, status: Status(output.status.into_raw()), rets: rets.collect() })
}

/// A static program that makes the calls in order, writes their results to its standard output, and exits with 0. Its
/// only segment contains the headers, the results, the memory and the instructions.
fn program(narrow: &Narrow) -> Vec<u8> {
    const WRITE: u32 = 4;
    let mut code = Vec::new();
    let mut result = RESULTS;
    for (number, args) in &narrow.calls {
        call(&mut code, *number, *args);
        // str r0, [r8]
        code.extend(load(8, result));
        code.push(0xe588_0000);
        result += 4;
    }
    call(&mut code, WRITE, [1, RESULTS, result - RESULTS, 0]);
    call(&mut code, nr::EXIT, [0; 4]);

    let entry = MEMORY + narrow.memory.len() as u32;
    let mut elf = header(entry, entry - BASE + 4 * code.len() as u32);
    elf.resize((MEMORY - BASE) as usize, 0);
    elf.extend(&narrow.memory);
    elf.extend(code.into_iter().flat_map(u32::to_le_bytes));
    elf
}

/// A system call: the arguments in r0 to r3, zero in r4 and r5, the number in r7.
fn call(code: &mut Vec<u32>, number: u32, args: [u32; 4]) {
    let registers = args.into_iter().chain([0, 0]).zip(0..);
    code.extend(registers.flat_map(|(value, register)| load(register, value)));
    code.extend(load(7, number));
    // svc #0
    code.push(0xef00_0000);
}

/// movw and movt, which set the lower and then the upper half of a register.
fn load(register: u32, value: u32) -> [u32; 2] {
    let halves = [(0xe300_0000, value & 0xffff), (0xe340_0000, value >> 16)];
    halves.map(|(mov, half)| mov | (half >> 12) << 16 | register << 12 | (half & 0xfff))
}

/// The headers of a 32-bit ELF file with one segment at [`BASE`] of `len` bytes.
fn header(entry: u32, len: u32) -> Vec<u8> {
    const EXEC_ARM: u32 = 40 << 16 | 2;
    const EABI5: u32 = 5 << 24;
    const HEADER: u32 = 52;
    const SEGMENT: u32 = 32;
    const LOAD: u32 = 1;
    const READ_WRITE_EXECUTE: u32 = 7;
    // The maximum size of a page.
    const ALIGN: u32 = 0x1_0000;
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let words = [EXEC_ARM, 1, entry, HEADER, 0, EABI5, SEGMENT << 16 | HEADER, 1, 0];
    let segment = [LOAD, 0, BASE, BASE, len, len, READ_WRITE_EXECUTE, ALIGN];
    elf.extend(words.into_iter().chain(segment).flat_map(u32::to_le_bytes));
    elf
}
