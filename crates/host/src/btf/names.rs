//! A fast search for a few names among a hundred thousand.

use std::collections::HashMap;

/// The names to find. Most other names are rejected by their first two bytes.
pub(super) struct StringTable<'a> {
    /// The positions of each name in the given list.
    names: HashMap<&'a [u8], Vec<usize>>,
    /// One bit for each pair of bytes at the start of a name. A name of one byte has its NUL as the second byte.
    starts: Box<[u64; 1 << 10]>,
    /// The length of the longest name. Longer strings are not read to the end.
    longest: usize,
}

impl<'a> StringTable<'a> {
    pub(super) fn new(list: &[&'a str]) -> StringTable<'a> {
        let mut names = StringTable { names: HashMap::new(), starts: Box::new([0; 1 << 10]), longest: 0 };
        for (index, name) in list.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let bytes = name.as_bytes();
            let (word, bit) = place(bytes[0], bytes.get(1).copied().unwrap_or(0));
            names.starts[word] |= bit;
            names.longest = names.longest.max(bytes.len());
            names.names.entry(bytes).or_default().push(index);
        }
        names
    }

    /// Calls `hit` with each position, in the list, of the name at `offset` of `strings`.
    pub(super) fn find(&self, strings: &[u8], offset: u32, hit: impl FnMut(usize)) {
        let Some(rest @ [first, second, ..]) = strings.get(offset as usize..) else { return };
        let (word, bit) = place(*first, *second);
        if self.starts[word] & bit != 0 {
            self.find_exactly(rest, hit);
        }
    }

    #[inline(never)]
    fn find_exactly(&self, rest: &[u8], hit: impl FnMut(usize)) {
        let window = &rest[..rest.len().min(self.longest + 1)];
        let Some(len) = window.iter().position(|byte| *byte == 0) else { return };
        self.names.get(&window[..len]).into_iter().flatten().copied().for_each(hit);
    }
}

fn place(first: u8, second: u8) -> (usize, u64) {
    let pair = usize::from(first) << 8 | usize::from(second);
    (pair / 64, 1 << (pair % 64))
}
