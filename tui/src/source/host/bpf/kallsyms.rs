//! The few symbols of /proc/kallsyms that the inventory needs: the functions of helpers, and those of programs.

use super::helpers::{BASE, KNOWN};
use crate::bpf::ALTERING;
use crate::limits;
use rustc_hash::FxHashMap;
use std::fs::File;
use std::io::{self, Read};
use tracetui_shared::id::KernelAddr;

/// The prefix of the symbols of programs: `bpf_prog_`, the tag, and `_` with the name of the function if it has one
/// ([`bpf_prog_get_name`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/core.c)).
const PROGRAM: &[u8] = b"bpf_prog_";

/// Hex digits of a tag.
const TAG: usize = 16;

/// The symbols.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    named: FxHashMap<&'static str, KernelAddr>,
    /// The functions of programs.
    pub(super) programs: Vec<(KernelAddr, Vec<u8>)>,
}

impl Symbols {
    /// Reads /proc/kallsyms.
    pub(crate) fn read() -> io::Result<Symbols> {
        Symbols::from_reader(File::open("/proc/kallsyms")?.take(limits::KALLSYMS))
    }

    /// The address of a symbol; `None` if there is none, or it is hidden.
    pub(crate) fn of(&self, name: &str) -> Option<KernelAddr> {
        self.named.get(name).copied()
    }

    fn from_reader(mut reader: impl Read) -> io::Result<Symbols> {
        let mut symbols = Symbols::default();
        let mut buffer = vec![0; 1 << 18];
        let mut kept = 0;
        loop {
            let more = match reader.read(buffer.get_mut(kept..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let filled = kept + more;
            let lines = buffer.get(..filled).unwrap_or_default();
            let end = match lines.iter().rposition(|byte| *byte == b'\n') {
                Some(end) if more > 0 => end + 1,
                None if more > 0 && filled < buffer.len() => 0,
                // The end, or a line that fills the buffer.
                _ => filled,
            };
            lines[..end].split(|byte| *byte == b'\n').for_each(|line| symbols.add(line));
            if more == 0 {
                return Ok(symbols);
            }
            buffer.copy_within(end..filled, 0);
            kept = filled - end;
        }
    }

    /// `ADDRESS TYPE NAME`, then a tab and `[MODULE]` for those of modules and programs.
    fn add(&mut self, line: &[u8]) {
        // All that are wanted have it in their names; most lines do not.
        let Some(name) = line.get(19..).filter(|name| name.contains(&b'b')) else { return };
        let (name, module) = match name.iter().position(|byte| *byte == b'\t') {
            Some(tab) => (&name[..tab], &name[tab + 1..]),
            None => (name, &b""[..]),
        };
        let addr = str::from_utf8(&line[..16]).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let Some(addr) = addr.filter(|addr| *addr != 0).map(KernelAddr) else { return };
        if module == b"[bpf]" {
            let tag = name.strip_prefix(PROGRAM).and_then(|rest| rest.get(..TAG));
            if tag.is_some_and(|tag| tag.iter().all(u8::is_ascii_hexdigit))
                && self.programs.len() < limits::BPF_FUNCTIONS
            {
                self.programs.push((addr, name.to_vec()));
            }
        } else if module.is_empty()
            && (name.starts_with(b"bpf_") || name.starts_with(b"__bpf") || name.starts_with(b"sk_"))
            && let Some(wanted) = wanted(name)
        {
            self.named.entry(wanted).or_insert(addr);
        }
    }
}

/// The name, if its address is needed.
fn wanted(name: &[u8]) -> Option<&'static str> {
    let names = ALTERING.iter().map(|(symbol, _)| *symbol).chain([BASE, KNOWN]);
    names.into_iter().find(|wanted| wanted.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let (now, rest) = self.0.split_at(self.1.min(self.0.len()).min(into.len()));
            into[..now.len()].copy_from_slice(now);
            self.0 = rest;
            Ok(now.len())
        }
    }

    const TEXT: &str = "ffffffff81000000 T _text\nffffffff814bcb00 T bpf_probe_write_user\n\
        ffffffff814ca4d0 T __bpf_call_base\nffffffffc0001000 t bpf_probe_write_user\t[evil]\n\
        ffffffffc0002000 t bpf_prog_0123456789abcdef_name\t[bpf]\nffffffffc0003000 t bpf_trampoline_1\t[bpf]\n\
        bad\nffffffffc0004000 t bpf_prog_0123456789abcdef\t[bpf]";

    #[test]
    fn helpers_and_programs_are_found_however_the_text_is_cut() {
        for step in [1, 7, 16, 100, 4096] {
            let symbols = Symbols::from_reader(Slow(TEXT.as_bytes(), step)).expect("no error");
            assert_eq!(symbols.of("bpf_probe_write_user"), Some(KernelAddr(0xffff_ffff_814b_cb00)));
            assert_eq!(symbols.of(BASE), Some(KernelAddr(0xffff_ffff_814c_a4d0)));
            assert_eq!(symbols.of("_text"), None);
            let names: Vec<_> = symbols.programs.iter().map(|(_, name)| name.as_slice()).collect();
            assert_eq!(names, [&b"bpf_prog_0123456789abcdef_name"[..], b"bpf_prog_0123456789abcdef"]);
        }
    }

    #[test]
    fn hidden_addresses_are_no_addresses() {
        let text = TEXT.replace("ffffffff8", "000000000").replace("ffffffffc000", "000000000000");
        let text = text.replace("1000000", "0000000").replace("14bcb00", "0000000").replace("14ca4d0", "0000000");
        let symbols = Symbols::from_reader(Slow(text.as_bytes(), 4096)).expect("no error");
        assert_eq!(symbols.of("bpf_probe_write_user"), None);
    }
}
