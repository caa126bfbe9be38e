//! A search for a few names among a hundred thousand.

use foldhash::HashMap;

pub(super) struct StringTable<'a> {
    /// The positions of each name in the given list.
    names: HashMap<&'a [u8], Vec<usize>>,
    /// The length of the longest name. Longer strings are not read to the end.
    longest: usize,
}

impl<'a> StringTable<'a> {
    pub(super) fn new(list: &[&'a str]) -> StringTable<'a> {
        let mut names = StringTable { names: HashMap::default(), longest: 0 };
        for (index, name) in list.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            names.longest = names.longest.max(name.len());
            names.names.entry(name.as_bytes()).or_default().push(index);
        }
        names
    }

    /// Calls `hit` with each position, in the list, of the name at `offset` of `strings`.
    pub(super) fn find(&self, strings: &[u8], offset: u32, hit: impl FnMut(usize)) {
        let window = strings.get(offset as usize..).unwrap_or_default();
        let Some(len) = memchr::memchr(0, &window[..window.len().min(self.longest + 1)]) else { return };
        self.names.get(&window[..len]).into_iter().flatten().copied().for_each(hit);
    }
}
