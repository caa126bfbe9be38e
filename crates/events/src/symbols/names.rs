//! Names, front-coded in blocks.

/// Names per block. The first name of a block is whole; the mean name is decoded in half as many steps.
const BLOCK: usize = 8;

/// Bytes that a name may leave out at the start of the name before it: on x86-64 most functions follow a symbol that
/// is their name after `__pfx_` (`CONFIG_CALL_PADDING`).
const SKIPPED: usize = b"__pfx_".len();

/// A list of names, each in a few bytes. A name is stored as two numbers (LEB128) and the rest of its bytes:
///
/// | number | meaning |
/// |---|---|
/// | `shared << 1 \| skip` | the first `shared` bytes are those of the name before it, with `skip` without its first [`SKIPPED`] bytes |
/// | `length` | the number of bytes that follow |
#[derive(Debug, Default)]
pub(super) struct NameTable {
    bytes: Box<[u8]>,
    /// Where each block begins in `bytes`.
    blocks: Box<[u32]>,
}

impl NameTable {
    /// Decodes a name into the buffer and replaces its contents. An index outside of the list gives an empty name.
    pub(super) fn decode(&self, index: u32, name: &mut Vec<u8>) {
        let (block, last) = (index as usize / BLOCK, index as usize % BLOCK);
        let start = self.blocks.get(block).map_or(self.bytes.len(), |start| *start as usize);
        let mut rest = self.bytes.get(start..).unwrap_or_default();
        let mut parts = [Part::default(); BLOCK];
        for part in &mut parts[..=last] {
            match Part::read(rest) {
                Some(read) => (*part, rest) = read,
                None => return name.clear(),
            }
        }
        // Goes back from the name to the names before it that share bytes with it: bytes `from..to` of each.
        let (mut from, mut to) = (0, parts[last].shared + parts[last].suffix.len());
        name.resize(to, 0);
        for part in parts[..=last].iter().rev() {
            let own = from.max(part.shared);
            if own < to
                && let Some(suffix) = part.suffix.get(own - part.shared..to - part.shared)
            {
                name[own - from..to - from].copy_from_slice(suffix);
            }
            to = to.min(part.shared);
            if to <= from {
                return;
            }
            (from, to) = (from + part.skipped, to + part.skipped);
        }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.blocks)
    }
}

#[derive(Clone, Copy, Default)]
struct Part<'a> {
    /// Bytes that it shares with the name before it, after the first `skipped` of that.
    shared: usize,
    skipped: usize,
    suffix: &'a [u8],
}

impl<'a> Part<'a> {
    /// Reads a name, and returns what follows. The usual numbers are below 128.
    #[inline]
    fn read(bytes: &'a [u8]) -> Option<(Part<'a>, &'a [u8])> {
        let (shared, length, rest) = match bytes {
            [shared @ 0..0x80, length @ 0..0x80, rest @ ..] => (usize::from(*shared), usize::from(*length), rest),
            _ => Part::read_long(bytes)?,
        };
        let (suffix, rest) = rest.split_at_checked(length)?;
        Some((Part { shared: shared >> 1, skipped: (shared & 1) * SKIPPED, suffix }, rest))
    }

    #[cold]
    fn read_long(bytes: &[u8]) -> Option<(usize, usize, &[u8])> {
        let (shared, bytes) = number(bytes)?;
        let (length, bytes) = number(bytes)?;
        Some((shared, length, bytes))
    }
}

#[derive(Debug, Default)]
pub(super) struct NamesBuilder<'a> {
    bytes: Vec<u8>,
    blocks: Vec<u32>,
    count: usize,
    last: &'a [u8],
}

impl<'a> NamesBuilder<'a> {
    pub(super) fn with_capacity(names: usize) -> NamesBuilder<'a> {
        let (bytes, blocks) = (Vec::with_capacity(names * 16), Vec::with_capacity(names / BLOCK + 1));
        NamesBuilder { bytes, blocks, ..NamesBuilder::default() }
    }

    /// Whether another name of this length has room: offsets have 32 bits.
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.bytes.len().saturating_add(length) < u32::MAX as usize - 16
    }

    pub(super) fn push(&mut self, name: &'a [u8]) {
        let (mut shared, mut skip) = (0, 0);
        if self.count.is_multiple_of(BLOCK) {
            self.blocks.push(self.bytes.len() as u32);
        } else {
            shared = common(self.last, name);
            if let Some(base) = self.last.get(SKIPPED..) {
                let without = common(base, name);
                if without > shared {
                    (shared, skip) = (without, 1);
                }
            }
        }
        push_number(shared << 1 | skip, &mut self.bytes);
        push_number(name.len() - shared, &mut self.bytes);
        self.bytes.extend_from_slice(&name[shared..]);
        self.count += 1;
        self.last = name;
    }

    pub(super) fn build(self) -> NameTable {
        NameTable { bytes: self.bytes.into(), blocks: self.blocks.into() }
    }
}

/// The length of the longest common start.
fn common(a: &[u8], b: &[u8]) -> usize {
    let eights = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let mut length = 0;
    for (a, b) in eights {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return length + differ.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length + a[length..].iter().zip(&b[length..]).take_while(|(a, b)| a == b).count()
}

fn push_number(mut number: usize, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn number(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (mut value, mut shift) = (0usize, 0u32);
    loop {
        let (byte, rest) = bytes.split_first()?;
        value |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
        (bytes, shift) = (rest, shift + 7);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_come_back(names in prop::collection::vec("(__pfx_)?[ab]{0,9}".prop_map(String::into_bytes), 0..60)) {
            check_names(&names);
        }

        #[test]
        fn any_bytes_come_back(names in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
            check_names(&names);
        }
    }

    #[test]
    fn long_names_come_back() {
        let long = |last: u8| [vec![b'x'; 10 << 10], vec![last]].concat();
        check_names(&[long(1), long(2), b"__pfx_".to_vec(), Vec::new(), long(3)]);
    }

    fn check_names(names: &[Vec<u8>]) {
        let mut builder = NamesBuilder::with_capacity(names.len());
        names.iter().for_each(|name| builder.push(name));
        let packed = builder.build();
        let mut found = b"left over".to_vec();
        for (index, name) in names.iter().enumerate() {
            packed.decode(index as u32, &mut found);
            assert_eq!(&found, name);
        }
        packed.decode(names.len() as u32 + BLOCK as u32, &mut found);
        assert!(found.is_empty());
    }
}
