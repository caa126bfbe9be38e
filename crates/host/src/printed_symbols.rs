//! Names of kernel addresses as the kernel itself prints them, for kernels that hide their symbols.
//!
//! A small program prints an address with `bpf_snprintf("%pS")` (5.13+) into a map. `BPF_PROG_TEST_RUN` runs it; it is
//! never attached. The answer is valid for the time of the query.

use super::bpf::{bpf, number};
use super::maps::{NewMap, freeze, set};
use super::program::{self, Instruction};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrintedSymbol {
    pub name: Vec<u8>,
    /// The distance of the address from the start of the symbol.
    pub offset: u64,
    /// The size of the symbol in bytes.
    pub size: u64,
    /// The module. Empty for the kernel itself, and for a program.
    pub module: Vec<u8>,
}

#[derive(Debug)]
pub struct Namer {
    program: OwnedFd,
    out: OwnedFd,
    /// The program's format string. The program refers to this map.
    _format: OwnedFd,
}

/// The size of the text in bytes. `KSYM_SYMBOL_LEN` is about 600, and nearly all names are shorter than this.
const TEXT: usize = 512;
/// `%pS` with its NUL, padded.
const FORMAT: [u8; 8] = *b"%pS\0\0\0\0\0";

const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
/// Programs may only read the map.
const BPF_F_RDONLY_PROG: u32 = 1 << 7;

impl Namer {
    /// Fails before 5.13, and without CAP_BPF and CAP_PERFMON.
    pub fn load() -> io::Result<Namer> {
        let format = NewMap::array(FORMAT.len() as u32).flags(BPF_F_RDONLY_PROG).create()?;
        let out = NewMap::array(TEXT as u32).create()?;
        // SAFETY: the value has as many bytes as the array was created for.
        unsafe { set(format.as_fd(), 0, &FORMAT) }?;
        freeze(format.as_fd())?;
        // Only the program writes to it.
        freeze(out.as_fd())?;
        /// `BPF_PSEUDO_MAP_VALUE` as the source register.
        const VALUE: u8 = 2 << 4;
        let rest: Instruction = (0, 0, 0, 0);
        let program: [Instruction; 12] = [
            // The address is the first argument: r6 = ctx[0], and goes to the stack.
            (0x79, 1 << 4 | 6, 0, 0),
            (0x7b, 6 << 4 | 10, -8, 0),
            (0x18, VALUE | 1, 0, out.as_raw_fd()),
            rest,
            (0xb7, 2, 0, TEXT as i32),
            (0x18, VALUE | 3, 0, format.as_raw_fd()),
            rest,
            (0xbf, 10 << 4 | 4, 0, 0),
            (0x07, 4, 0, -8),
            (0xb7, 5, 0, 8),
            // bpf_snprintf
            (0x85, 0, 0, 165),
            (0x95, 0, 0, 0),
        ];
        Ok(Namer { program: program::load("tt_names", &program)?, out, _format: format })
    }

    /// The kernel's current answer for an address. `None` if no symbol contains it.
    pub fn name(&self, address: u64) -> Option<PrintedSymbol> {
        program::run(self.program.as_raw_fd(), &mut [address]).ok()?;
        let (key, mut text) = (0u32, [0u8; TEXT]);
        let mut look = [u64::from(number(&self.out)), (&raw const key) as u64, text.as_mut_ptr() as u64, 0];
        // SAFETY: `look` has the layout of the `BPF_MAP_LOOKUP_ELEM` member. The key and the text are live, have the sizes of those of
        // the map, and the text is writable.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut look) }.ok()?;
        parse(tracetui_shared::header::until_nul(&text))
    }
}

/// Parses `name+0x1a2/0x400`, possibly followed by ` [module]`. An address without a symbol is printed as a number.
pub fn parse(text: &[u8]) -> Option<PrintedSymbol> {
    let text = std::str::from_utf8(text).ok()?;
    let (place, module) = match text.split_once(" [") {
        // Some kernels append the build id to the module.
        Some((place, module)) => (place, module.split([' ', ']']).next()?),
        None => (text, ""),
    };
    let (name, numbers) = place.rsplit_once('+')?;
    let (offset, size) = numbers.split_once('/')?;
    let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let (offset, size) = (number(offset)?, number(size)?);
    let named = PrintedSymbol { name: name.into(), offset, size, module: module.into() };
    (!name.is_empty() && offset < size).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::Pieces;
    use crate::kallsyms;

    #[test]
    fn what_the_kernel_prints_is_read() {
        let named = |name: &str, offset, size, module: &str| {
            Some(PrintedSymbol { name: name.into(), offset, size, module: module.into() })
        };
        assert_eq!(parse(b"bpf_link_settle+0x5/0x50"), named("bpf_link_settle", 5, 0x50, ""));
        assert_eq!(parse(b"f.isra.0+0x10/0x20 [nf_tables]"), named("f.isra.0", 16, 32, "nf_tables"));
        assert_eq!(parse(b"f+0x10/0x20 [nf 0123456789abcdef]"), named("f", 16, 32, "nf"));
        for text in ["", "0xffffffff81000000", "0x0", "(efault)", "f+0x20/0x20", "+0x1/0x2", "f+1/2"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        // The kernel names a function as /proc/kallsyms does.
        let (Ok(namer), Ok(symbols)) = (Namer::load(), kallsyms::snapshot(&mut Pieces::new(None))) else {
            return crate::not_checked("no privileges, no symbols, or before 5.13");
        };
        let [start] = symbols.table.addresses(["do_exit"]);
        let start = start.expect("every kernel has it").0;
        let named = namer.name(start + 5).expect("a name");
        assert_eq!((named.name.as_slice(), named.offset, named.module.as_slice()), (&b"do_exit"[..], 5, &b""[..]));
        assert_eq!(namer.name(start).map(|named| named.offset), Some(0), "each question has its own answer");
        assert_eq!((namer.name(0), namer.name(0x1000)), (None, None));
    }
}
