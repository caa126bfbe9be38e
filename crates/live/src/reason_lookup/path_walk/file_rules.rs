//! The rules for the file at the end of a path: what may be opened, used and linked.

use super::*;

const O_WRONLY: u64 = 1;
const O_APPEND: u64 = 0o2000;

impl Walk<'_> {
    pub(super) fn open_node(&mut self, node: &FileNode, flags: u64) -> Vec<Refusal> {
        let mut out = Vec::new();
        let kind = node.kind();
        let say = |errno, cause, text: &str| Refusal::at(&node.path, errno, cause, &format!(" {text}"));
        let create = flags & O_CREAT != 0;
        if create && flags & O_EXCL != 0 {
            out.push(say(libc::EEXIST, Cause::Exists, "exists, and O_EXCL requires a new file"));
            return out;
        }
        if kind.is_symlink() {
            if flags & O_DIRECTORY != 0 {
                out.push(not_a_directory(node));
            } else if flags & O_PATH == 0 {
                out.push(say(libc::ELOOP, Cause::Loop, "is a symbolic link, and O_NOFOLLOW forbids these"));
            }
            return out;
        }
        if flags & O_DIRECTORY != 0 && !kind.is_dir() {
            out.push(not_a_directory(node));
            return out;
        }
        if flags & O_PATH != 0 {
            return out;
        }
        let mode = flags & O_ACCMODE;
        let writes = mode != 0 || flags & O_TRUNC != 0;
        if kind.is_dir() && (writes || create) {
            out.push(say(libc::EISDIR, Cause::IsADirectory, "is a directory, and cannot be opened for writing"));
            return out;
        }
        let stored = kind.is_file() || kind.is_dir();
        if writes && stored {
            out.extend(self.read_only(node));
        }
        if writes && node.attributes & IMMUTABLE != 0 {
            out.push(immutable(node));
        }
        let want = match mode {
            0 => READ,
            O_WRONLY => WRITE,
            _ => READ | WRITE,
        } | if flags & O_TRUNC != 0 { WRITE } else { 0 };
        self.use_of(node, want, &mut out);
        if node.attributes & APPEND_ONLY != 0 && (mode != 0 && flags & O_APPEND == 0 || flags & O_TRUNC != 0) {
            out.push(immutable(node));
        }
        out
    }

    pub(super) fn use_of(&mut self, node: &FileNode, want: u8, out: &mut Vec<Refusal>) {
        match node.rights.allow(want, &self.subject.credentials) {
            Verdict::Denied if !node.has_own_rules() => {
                let nobody = want == EXECUTE && node.rights.mode & 0o111 == 0;
                let what = match want {
                    READ => "read it",
                    WRITE => "write to it",
                    EXECUTE => "execute it",
                    _ => "read and write it",
                };
                out.push(match nobody {
                    true => {
                        let text = format!(": {}, not executable", node.rights.text());
                        Refusal::at(&node.path, libc::EACCES, Cause::NotExecutable, &text)
                    }
                    false => self.refused(node, Cause::NoPermission, what),
                });
            }
            Verdict::Granted => {}
            _ => self.doubt_about(node),
        }
    }

    /// The refusal of a hard link to a file
    /// ([`vfs_link`](https://elixir.bootlin.com/linux/v6.12/source/fs/namei.c)).
    pub(super) fn link(&self, node: &FileNode) -> Option<Refusal> {
        if node.attributes & (IMMUTABLE | APPEND_ONLY) != 0 {
            return Some(immutable(node));
        }
        let text = " is a directory, which has no hard links";
        node.is_dir().then(|| Refusal::at(&node.path, libc::EPERM, Cause::IsADirectory, text))
    }
}
