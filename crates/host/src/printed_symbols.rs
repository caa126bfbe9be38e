//! Names of kernel addresses as the kernel itself prints them, for kernels that hide their symbols.
//!
//! A small program prints an address with `bpf_snprintf("%pS")` (5.13+) into a map. `BPF_PROG_TEST_RUN` runs it; it is
//! never attached. The answer is valid for the time of the query.

use super::bpf::{bpf, number};
use super::maps::{NewMap, freeze, set};
use super::program::{self, Instruction};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use tracetui_events::frame::host::KernelSymbol;
use tracetui_events::symbols::BPF;
use tracetui_shared::header::until_nul;
use tracetui_shared::id::KernelAddr;
use tracetui_shared::time::BootNanos;

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

impl Namer {
    /// Fails before 5.13, and without CAP_BPF and CAP_PERFMON.
    pub fn load() -> io::Result<Namer> {
        /// Programs may only read the map.
        const BPF_F_RDONLY_PROG: u32 = 1 << 7;
        /// `BPF_PSEUDO_MAP_VALUE` as the source register.
        const VALUE: u8 = 2 << 4;
        let format = NewMap::array(FORMAT.len() as u32).flags(BPF_F_RDONLY_PROG).create()?;
        let out = NewMap::array(TEXT as u32).create()?;
        // SAFETY: the value has as many bytes as the array was created for.
        unsafe { set(format.as_fd(), 0, &FORMAT) }?;
        freeze(format.as_fd())?;
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

    /// The symbol that contains an address now. A module or a program is known to be there since `at` only.
    pub fn name(&self, address: KernelAddr, at: BootNanos) -> Option<KernelSymbol> {
        const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
        program::run(self.program.as_raw_fd(), &mut [address.0]).ok()?;
        let (key, mut text) = (0u32, [0u8; TEXT]);
        let mut look = [u64::from(number(&self.out)), (&raw const key) as u64, text.as_mut_ptr() as u64, 0];
        // SAFETY: `look` has the layout of the `BPF_MAP_LOOKUP_ELEM` member. The key and the text are live, have the sizes of those of
        // the map, and the text is writable.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut look) }.ok()?;
        let (name, offset, size, owner) = parse(until_nul(&text))?;
        let from = if owner.is_empty() { BootNanos(0) } else { at };
        let addr = KernelAddr(address.0.checked_sub(offset)?);
        Some(KernelSymbol { addr, size, from, to: BootNanos(0), name: name.into(), owner: owner.into() })
    }
}

/// Parses `name+0x1a2/0x400`, possibly followed by ` [module]`: the name, the offset and size in bytes, and the module or `bpf`, empty
/// for the kernel itself. An address without a symbol is printed as a number.
pub fn parse(text: &[u8]) -> Option<(&[u8], u64, u64, &[u8])> {
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
    let owner = if is_program(name) { BPF } else { module.as_bytes() };
    (!name.is_empty() && offset < size).then_some((name.as_bytes(), offset, size, owner))
}

/// Whether this is the symbol of a program: `bpf_prog_`, 16 hex digits, and maybe a name.
fn is_program(name: &str) -> bool {
    let tag = name.strip_prefix("bpf_prog_").and_then(|rest| rest.split_at_checked(16));
    tag.is_some_and(|(tag, rest)| {
        tag.bytes().all(|byte| byte.is_ascii_hexdigit()) && matches!(rest.get(..1), None | Some("_"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::Pieces;
    use crate::kallsyms;

    #[test]
    fn what_the_kernel_prints_is_read() {
        for (text, expected) in [
            ("bpf_link_settle+0x5/0x50", Some(("bpf_link_settle", 5, 0x50, ""))),
            ("f.isra.0+0x10/0x20 [nf_tables]", Some(("f.isra.0", 16, 32, "nf_tables"))),
            ("f+0x10/0x20 [nf 0123456789abcdef]", Some(("f", 16, 32, "nf"))),
            ("bpf_prog_188d86a1865fce09_x+0x1/0x2", Some(("bpf_prog_188d86a1865fce09_x", 1, 2, "bpf"))),
            ("bpf_prog_188d86a1865fce09+0x1/0x2", Some(("bpf_prog_188d86a1865fce09", 1, 2, "bpf"))),
            ("bpf_prog_get_info_by_fd+0x1/0x2", Some(("bpf_prog_get_info_by_fd", 1, 2, ""))),
            ("", None),
            ("0xffffffff81000000", None),
            ("(efault)", None),
            ("f+0x20/0x20", None),
            ("+0x1/0x2", None),
            ("f+1/2", None),
        ] {
            let expected =
                expected.map(|(name, offset, size, owner)| (name.as_bytes(), offset, size, owner.as_bytes()));
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
        // The kernel names a function as /proc/kallsyms does.
        let (Ok(namer), Ok(symbols)) = (Namer::load(), kallsyms::snapshot(&mut Pieces::new(None))) else {
            return crate::not_checked("no privileges, no symbols, or before 5.13");
        };
        let [Some(start)] = symbols.table.addresses(["do_exit"]) else { panic!("every kernel has it") };
        let name = |address| namer.name(KernelAddr(address), BootNanos(7));
        let named = name(start.0 + 5).expect("a name");
        assert_eq!(
            (&named.name[..], named.addr, named.from, &named.owner[..]),
            (&b"do_exit"[..], start, BootNanos(0), &b""[..])
        );
        assert_eq!((name(0), name(0x1000)), (None, None), "each query has its own answer");
    }
}
