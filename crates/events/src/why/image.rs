//! Determines from the first bytes of a file how it is executed: as a script, as an ELF program, or not at all.

/// The number of bytes to read from a file. They include the program headers and nearly always the name of the interpreter.
pub const HEAD: usize = 4096;

/// The part of the first line that the kernel reads, in bytes: `BINPRM_BUF_SIZE`
/// ([binfmts.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/binfmts.h)).
const LINE: usize = 256;

/// The kind of a file, from its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileHead {
    Script(Vec<u8>),
    /// `#!` without an interpreter, or with one that is too long.
    BadScript,
    Elf(Elf),
    /// An ELF file whose header is truncated or invalid.
    BadElf,
    Empty,
    /// Only text, without `#!`.
    Text,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// `e_machine`.
    pub machine: u16,
    /// Whether it is for 64-bit processors.
    pub wide: bool,
    /// Whether its bytes are in little-endian order.
    pub little: bool,
    /// `e_type`: 2 and 3 are programs.
    pub kind: u16,
    pub interpreter: Interpreter,
}

/// The program that loads an ELF program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpreter {
    None,
    Path(Vec<u8>),
    /// Its name lies beyond the first bytes.
    Unknown,
}

/// Determines the kind of a file from its first bytes, at most [`HEAD`].
pub fn image(head: &[u8]) -> FileHead {
    match head {
        [] => FileHead::Empty,
        [b'#', b'!', ..] => script(head),
        [0x7f, b'E', b'L', b'F', ..] => elf(head).map_or(FileHead::BadElf, FileHead::Elf),
        head if head.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..)) => FileHead::Text,
        _ => FileHead::Other,
    }
}

/// Reads the first line as [`load_script`](https://elixir.bootlin.com/linux/v6.12/source/fs/binfmt_script.c) does.
fn script(head: &[u8]) -> FileHead {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let read = &head[..head.len().min(LINE)];
    let end = read.iter().position(|byte| *byte == b'\n');
    let line = &read[2..end.unwrap_or(read.len())];
    let line = &line[line.iter().position(|byte| !blank(byte)).unwrap_or(line.len())..];
    let name = line.split(|byte| blank(byte) || *byte == 0).next().unwrap_or_default();
    let cut = end.is_none() && head.len() >= LINE && name.len() == line.len();
    if name.is_empty() || cut { FileHead::BadScript } else { FileHead::Script(name.to_vec()) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    little: bool,
    wide: bool,
}

impl Reader<'_> {
    fn number(&self, at: usize, len: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(len)?)?;
        let push = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.little { bytes.iter().rev().fold(0, push) } else { bytes.iter().fold(0, push) })
    }

    fn half(&self, at: usize) -> Option<u16> {
        self.number(at, 2).and_then(|number| u16::try_from(number).ok())
    }

    /// An address or offset. Its position depends on whether the file is 32-bit or 64-bit.
    fn word(&self, narrow: usize, wide: usize) -> Option<usize> {
        let number = if self.wide { self.number(wide, 8) } else { self.number(narrow, 4) };
        number.and_then(|number| usize::try_from(number).ok())
    }
}

fn elf(head: &[u8]) -> Option<Elf> {
    let wide = match head.get(4)? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let little = match head.get(5)? {
        1 => true,
        2 => false,
        _ => return None,
    };
    let file = Reader { bytes: head, little, wide };
    let (kind, machine) = (file.half(16)?, file.half(18)?);
    Some(Elf { machine, wide, little, kind, interpreter: interpreter(&file)? })
}

fn interpreter(file: &Reader<'_>) -> Option<Interpreter> {
    const PT_INTERP: u64 = 3;
    let start = file.word(28, 32)?;
    let (size, count) = (if file.wide { 56 } else { 32 }, file.half(if file.wide { 56 } else { 44 })?);
    for at in 0..usize::from(count).min(128) {
        let at = start.checked_add(at.checked_mul(size)?)?;
        let Some(kind) = file.number(at, 4) else { return Some(Interpreter::Unknown) };
        if kind != PT_INTERP {
            continue;
        }
        let place =
            file.word(at.checked_add(4)?, at.checked_add(8)?).zip(file.word(at.checked_add(16)?, at.checked_add(32)?));
        let text = place.and_then(|(from, len)| file.bytes.get(from..from.checked_add(len)?));
        let path = text.and_then(|text| text.strip_suffix(b"\0"));
        return Some(path.map_or(Interpreter::Unknown, |path| Interpreter::Path(path.to_vec())));
    }
    Some(Interpreter::None)
}

/// The name of a machine as `uname -m` and tools call it.
pub fn machine(elf: &Elf) -> Option<&'static str> {
    Some(match (elf.machine, elf.wide, elf.little) {
        (3, ..) => "i386",
        (21, _, true) => "ppc64le",
        (22, ..) => "s390x",
        (40, ..) => "arm",
        (62, true, _) => "x86_64",
        (183, ..) => "aarch64",
        (243, true, _) => "riscv64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn script_of(text: &str) -> FileHead {
        image(text.as_bytes())
    }

    #[test]
    fn the_interpreter_of_a_script_is_the_first_word() {
        let named = |name: &str| FileHead::Script(name.into());
        assert_eq!(script_of("#!/bin/sh\n"), named("/bin/sh"));
        assert_eq!(script_of("#! \t/usr/bin/env python3\nx"), named("/usr/bin/env"));
        assert_eq!(script_of("#!/bin/sh\r\n"), named("/bin/sh\r"));
        assert_eq!(script_of("#!/bin/sh"), named("/bin/sh"));
        assert_eq!(script_of("#!\n/bin/sh"), FileHead::BadScript);
        assert_eq!(script_of(&format!("#!/{}", "x".repeat(400))), FileHead::BadScript);
        assert_eq!(script_of(&format!("#!/x {}", "x".repeat(400))), named("/x"));
        // Other files.
        assert_eq!(image(b""), FileHead::Empty);
        assert_eq!(image(b"echo hello\n"), FileHead::Text);
        assert_eq!(image("Gruß\n".as_bytes()), FileHead::Text);
        assert_eq!(image(b"PK\x03\x04"), FileHead::Other);
        assert_eq!(image(b"\x7fELF"), FileHead::BadElf);
        // Our own program has an interpreter, or none.
        let own = std::fs::read("/proc/self/exe").expect("readable");
        let FileHead::Elf(elf) = image(&own[..HEAD]) else { panic!("no ELF file") };
        assert_eq!(machine(&elf), Some(std::env::consts::ARCH));
        assert!(elf.kind == 2 || elf.kind == 3);
        match elf.interpreter {
            Interpreter::Path(path) => assert!(path.starts_with(b"/"), "{path:?}"),
            other => assert_eq!(other, Interpreter::None),
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(mut head in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..3u8) {
            let start: &[u8] = match kind { 0 => b"#!", 1 => b"\x7fELF\x02\x01", _ => b"" };
            head.splice(0..0, start.iter().copied());
            let _ = image(&head);
        }
    }
}
