//! Callers of the kernel's 32-bit system call table, whose pointers have 32 bits: i386 on x86-64, and 32-bit ARM on
//! aarch64.

use crate::arch;
use crate::sys::{Status, c};
use crate::traced::Dir;

/// System call numbers that i386 and 32-bit ARM share. Others are in `arch::nr32`.
pub(crate) mod nr {
    pub(crate) const EXIT: u32 = 1;
    pub(crate) const OPEN: u32 = 5;
    pub(crate) const CREAT: u32 = 8;
    pub(crate) const EXECVE: u32 = 11;
    pub(crate) const IOCTL: u32 = 54;
    pub(crate) const OPENAT2: u32 = 437;
}

/// The address of the caller's memory, with room for the headers of a program, the results, and the arguments in
/// memory.
pub(crate) const BASE: u32 = 0x1000_0000;
pub(crate) const RESULTS: u32 = BASE + 0x100;
pub(crate) const MEMORY: u32 = BASE + 0x200;

/// System calls to make in order, and the memory to which they point.
pub(crate) struct Narrow {
    pub(crate) calls: Vec<(u32, [u32; 4])>,
    pub(crate) memory: Vec<u8>,
}

pub(crate) struct Caller {
    pub(crate) pid: i32,
    pub(crate) status: Status,
    /// The results of the calls; empty if one of them did not return.
    pub(crate) rets: Vec<i64>,
}

impl Narrow {
    pub(crate) fn new() -> Narrow {
        Narrow { calls: Vec::new(), memory: Vec::new() }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> u32 {
        let at = MEMORY + self.memory.len() as u32;
        self.memory.extend(bytes);
        self.memory.resize(self.memory.len().next_multiple_of(8), 0);
        at
    }

    pub(crate) fn text(&mut self, text: &str) -> u32 {
        self.put(&c(text).into_bytes_with_nul())
    }

    /// Appends C strings and the null-terminated list of their addresses. Returns the address of the list.
    pub(crate) fn list(&mut self, texts: &[&str]) -> u32 {
        let mut pointers: Vec<u32> = texts.iter().map(|text| self.text(text)).collect();
        pointers.push(0);
        self.put(&pointers.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<_>>())
    }

    pub(crate) fn call(&mut self, number: u32, args: [u32; 4]) {
        assert!(self.calls.len() < ((MEMORY - RESULTS) / 4) as usize, "there is room for its result");
        self.calls.push((number, args));
    }

    pub(crate) fn run(&self, dir: &Dir) -> Result<Caller, String> {
        arch::run_narrow(self, dir).ok_or_else(|| "this CPU or kernel runs no 32-bit callers".to_owned())
    }

    pub(crate) fn run_to_its_end(&self, dir: &Dir) -> Result<Caller, String> {
        let caller = self.run(dir)?;
        assert_eq!((caller.status.code(), caller.rets.len()), (Some(0), self.calls.len()), "each call returned");
        Ok(caller)
    }
}
