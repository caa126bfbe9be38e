//! Looks up addresses of kernel symbols without reading all symbols.
//!
//! A program of type syscall calls `bpf_kallsyms_lookup_name` (5.16). Before 6.2, the kernel compares each of its
//! symbols for that ([`kallsyms_lookup_name`](https://elixir.bootlin.com/linux/v6.2/source/kernel/kallsyms.c)), which
//! takes as long as reading them all.

use super::machine::{Release, running_release};
use super::program::{self, Instruction, ProgramKind};
use std::io;
use std::os::fd::AsRawFd as _;
use tracetui_shared::id::KernelAddr;

/// The first release whose symbols are sorted by name.
const SORTED: Release = (6, 2);

/// The addresses of these symbols. `None` for a symbol that the kernel does not have.
/// Fails before 6.2, and if the kernel hides addresses.
pub fn addresses<const N: usize>(names: [&str; N]) -> io::Result<[Option<KernelAddr>; N]> {
    if running_release().is_none_or(|running| running < SORTED) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let program = program::load_as("tt_addresses", &asking(&names), ProgramKind::Syscall)?;
    let mut found = [0u64; N];
    let result = program::run(program.as_raw_fd(), &mut found)?;
    match i32::from_ne_bytes(result.to_ne_bytes()) {
        refused if refused == -libc::EPERM => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Ok(found.map(|address| (address != 0).then_some(KernelAddr(address)))),
    }
}

/// A program that writes the addresses of the names into its context, in their order. It returns the error of the last
/// lookup.
fn asking(names: &[&str]) -> Vec<Instruction> {
    const LOOKUP: i32 = 179;
    /// The offset of the address on the stack. The name ends below it.
    const ADDRESS: i16 = -8;
    // r6: the context.
    let mut program = vec![(0xbf, 0x16, 0, 0)];
    for (index, name) in names.iter().enumerate() {
        let mut name = name.as_bytes().to_vec();
        name.push(0);
        let len = name.len() as i32;
        name.resize(name.len().next_multiple_of(8), 0);
        let start = ADDRESS - name.len() as i16;
        let words = name.as_chunks::<4>().0.iter().enumerate();
        program.extend(words.map(|(at, word)| (0x62, 0x0a, start + 4 * at as i16, i32::from_ne_bytes(*word))));
        program.extend([
            (0x7a, 0x0a, ADDRESS, 0),
            // The arguments: the name, its length, no flags, and the destination of the address, which gets 0 if there
            // is no such symbol.
            (0xbf, 0xa1, 0, 0),
            (0x07, 0x01, 0, start.into()),
            (0xb7, 0x02, 0, len),
            (0xb7, 0x03, 0, 0),
            (0xbf, 0xa4, 0, 0),
            (0x07, 0x04, 0, ADDRESS.into()),
            (0x85, 0, 0, LOOKUP),
            (0x79, 0xa1, ADDRESS, 0),
            (0x7b, 0x16, 8 * index as i16, 0),
        ]);
    }
    program.push((0x95, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::Pieces;
    use crate::kallsyms;

    #[test]
    fn an_address_is_that_of_the_list() {
        let names = ["__bpf_call_base", "tt_no_such_symbol", "bpf_probe_write_user", "bpf_send_signal"];
        match (addresses(names), kallsyms::snapshot(&mut Pieces::new(None))) {
            (Ok(found), Ok(listed)) => {
                assert_eq!(found, listed.table.addresses(names));
                assert!(found[0].is_some() && found[1].is_none());
            }
            (asked, listed) => crate::not_checked(&format!("{:?}, {:?}", asked.err(), listed.err())),
        }
    }
}
