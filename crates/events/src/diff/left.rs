//! The files as a run left them: made, removed, moved to a name, or given a mode. What it undid is not among them.

use std::collections::BTreeMap;
use tracetui_shared::kind::Kind;

/// The kind whose events show it.
pub(super) const KIND: Kind = Kind::File;

/// Bits of [`Left`].
mod bit {
    /// The name is new: before the run, no file had it.
    pub(super) const MADE: u8 = 1;
    pub(super) const DIRECTORY: u8 = 2;
    pub(super) const LINK: u8 = 4;
    /// The run removed the file of this name and made another one.
    pub(super) const MADE_AGAIN: u8 = 8;
    pub(super) const REMOVED: u8 = 16;
    /// A rename gave the file this name, which another one may have had before.
    pub(super) const RENAMED: u8 = 32;
}

/// How a run left a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Left {
    bits: u8,
    /// The mode that chmod(2) set, with [`HAS_MODE`]; 0 if it set none.
    mode: u16,
}

const HAS_MODE: u16 = 1 << 15;

/// Files by the numbers of their paths.
#[derive(Debug, Default)]
pub(super) struct FilesLeft(pub(super) BTreeMap<u32, Left>);

impl FilesLeft {
    /// Handles a successful call on files. `paths` are the numbers of its paths. The mode counts as that of the file only where chmod(2)
    /// set it: that of a new file depends on the umask.
    pub(super) fn changed(&mut self, op: &str, path: u32, to: Option<u32>, mode: Option<u32>) {
        let mode = mode.map_or(0, |mode| mode as u16 & 0o7777 | HAS_MODE);
        match op {
            "open" | "mknod" => self.made(path, bit::MADE, 0),
            "mkdir" => self.made(path, bit::MADE | bit::DIRECTORY, 0),
            "symlink" => self.made(path, bit::MADE | bit::LINK, 0),
            "link" => to.into_iter().for_each(|to| self.made(to, bit::MADE, 0)),
            "unlink" | "rmdir" => _ = self.removed(path),
            "exchange" => {
                let renamed = |did: Option<Left>| did.unwrap_or(Left { bits: bit::RENAMED, ..Left::default() });
                let files = [Some(path), to].map(|path| path.and_then(|path| self.0.remove(&path)));
                self.0.insert(path, renamed(files[1]));
                to.into_iter().for_each(|to| _ = self.0.insert(to, renamed(files[0])));
            }
            "rename" => {
                let moved = self.removed(path);
                to.into_iter().for_each(|to| self.made(to, moved.bits & !bit::MADE | bit::RENAMED, moved.mode));
            }
            "chmod" => self.0.entry(path).or_default().mode = mode,
            // Owners, sizes, attributes and mounts are not compared.
            _ => {}
        }
    }

    fn made(&mut self, path: u32, bits: u8, mode: u16) {
        // A name that the run removed before is not new.
        let bits = match self.0.get(&path) {
            Some(known) if known.bits & bit::REMOVED != 0 && bits & bit::RENAMED == 0 => {
                bits & !bit::MADE | bit::MADE_AGAIN
            }
            Some(known) => bits | known.bits & bit::MADE,
            None => bits,
        };
        self.0.insert(path, Left { bits, mode });
    }

    /// Removes a file. Returns the entry that it had, without [`bit::REMOVED`].
    fn removed(&mut self, path: u32) -> Left {
        let known = self.0.remove(&path).unwrap_or_default();
        if known.bits & bit::MADE == 0 {
            self.0.insert(path, Left { bits: bit::REMOVED, ..Left::default() });
        }
        Left { bits: known.bits & !bit::REMOVED, ..known }
    }
}

/// The parts of two states that differ. A new file, a replaced one and a renamed one count as the same: programs that write a temporary
/// file and rename it leave the same file whether or not there was one before.
pub(super) fn apart(a: Left, b: Left) -> Option<[Left; 2]> {
    let kind = bit::DIRECTORY | bit::LINK | bit::REMOVED;
    let mode = if a.mode != b.mode { u16::MAX } else { 0 };
    let bits = if (a.bits ^ b.bits) & kind != 0 { u8::MAX } else { 0 };
    let part = |of: Left| Left { bits: of.bits & bits, mode: of.mode & mode };
    (bits != 0 || mode != 0).then(|| [a, b].map(part))
}

/// A state as words: `created`, `removed`, `mode 0600`.
pub(super) fn describe(did: Left) -> Vec<u8> {
    let has = |bit| did.bits & bit != 0;
    let made = match () {
        () if has(bit::REMOVED) => Some("removed"),
        () if has(bit::DIRECTORY) => Some("created as a directory"),
        () if has(bit::LINK) => Some("created as a link"),
        () if has(bit::MADE) => Some("created"),
        () if has(bit::RENAMED) => Some("renamed to this"),
        () if has(bit::MADE_AGAIN) => Some("replaced"),
        () if did.mode == 0 => Some("no chmod"),
        () => None,
    };
    let mode = (did.mode != 0).then(|| format!("mode {:04o}", did.mode & !HAS_MODE));
    made.map(str::to_owned).into_iter().chain(mode).collect::<Vec<_>>().join(", ").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each call is its operation, the path, the second path, and the mode; 0 for none.
    fn left(calls: &[(&str, u32, u32, u32)]) -> Vec<(u32, String)> {
        let mut files = FilesLeft::default();
        for (op, path, to, mode) in calls {
            files.changed(op, *path, Some(*to), Some(*mode).filter(|mode| *mode != 0));
        }
        let text = |did| String::from_utf8(describe(did)).expect("ASCII");
        files.0.into_iter().map(|(path, did)| (path, text(did))).collect()
    }

    #[test]
    fn what_was_undone_is_not_left() {
        let one = |path, text: &str| vec![(path, text.to_owned())];
        assert_eq!(left(&[("open", 1, 0, 0), ("unlink", 1, 0, 0)]), []);
        assert_eq!(left(&[("mkdir", 1, 0, 0o755), ("rmdir", 1, 0, 0)]), []);
        assert_eq!(left(&[("unlink", 1, 0, 0)]), one(1, "removed"));
        assert_eq!(left(&[("unlink", 1, 0, 0), ("open", 1, 0, 0)]), one(1, "replaced"));
        assert_eq!(
            left(&[("open", 1, 0, 0o666), ("chmod", 1, 0, 0o600), ("rename", 1, 2, 0)]),
            one(2, "renamed to this, mode 0600")
        );
        let moved = left(&[("rename", 1, 2, 0)]);
        assert_eq!(moved, [one(1, "removed"), one(2, "renamed to this")].concat());
        let exchanged = left(&[("exchange", 1, 2, 0)]);
        assert_eq!(exchanged, [one(1, "renamed to this"), one(2, "renamed to this")].concat());
        assert_eq!(left(&[("symlink", 1, 0, 0), ("chmod", 2, 0, 0o4755)])[1].1, "mode 4755");
        assert_eq!(left(&[("open", 1, 0, 0), ("rename", 1, 2, 0), ("unlink", 2, 0, 0)]), one(2, "removed"));
        // A mode that only one run set differs.
        let [set, unset] = [0o600 | HAS_MODE, 0].map(|mode| Left { bits: bit::MADE, mode });
        let differing = apart(set, unset).expect("they differ");
        assert_eq!(differing.map(describe), [b"mode 0600".to_vec(), b"no chmod".to_vec()]);
        assert_eq!(apart(set, set), None);
    }
}
