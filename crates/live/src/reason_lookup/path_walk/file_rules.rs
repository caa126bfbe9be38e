//! The rules for the file at the end of a path: what may be opened, used and linked.

use super::*;

const O_WRONLY: u64 = 1;
const O_APPEND: u64 = 0o2000;
const O_NONBLOCK: u64 = 0o4000;
const O_NOATIME: u64 = 0o1_000_000;

/// The device number of /dev/tty.
const TTY: (u32, u32) = (5, 0);

impl Walk<'_> {
    pub(super) fn open_node(&mut self, node: &FileNode, parent: Option<&FileNode>, flags: u64) -> Vec<Refusal> {
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
        if create {
            out.extend(parent.and_then(|dir| self.sticky(node, dir)));
        }
        out.extend(self.device(node, flags));
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
        if flags & O_NOATIME != 0 && self.is_stranger(&[node]) {
            let owner = self.names.user(node.rights.uid);
            let text = format!("belongs to {owner}, and O_NOATIME requires ownership");
            out.push(say(libc::EPERM, Cause::NoPermission, &text));
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

    /// The refusal of `O_CREAT` on a file of another user in a sticky directory, as in
    /// [`may_create_in_sticky`](https://elixir.bootlin.com/linux/v6.12/source/fs/namei.c).
    fn sticky(&self, node: &FileNode, dir: &FileNode) -> Option<Refusal> {
        let name = if node.kind() == FileType::Fifo { "protected_fifos" } else { "protected_regular" };
        if !(node.kind().is_file() || node.kind() == FileType::Fifo) || dir.rights.mode & 0o1000 == 0 {
            return None;
        }
        if node.rights.uid == dir.rights.uid || node.rights.uid == self.subject.credentials.uid {
            return None;
        }
        let level = setting(name)?;
        let open_to = dir.rights.mode & if level >= 2 { 0o022 } else { 0o002 };
        (level >= 1 && open_to != 0).then(|| {
            let owner = self.names.user(node.rights.uid);
            let why = format!(
                " belongs to {owner}, and O_CREAT is refused in a sticky directory that others can write to (fs.{name})"
            );
            Refusal::at(&node.path, libc::EACCES, Cause::NoPermission, &why)
        })
    }

    /// The refusals of a device, a FIFO or a socket.
    fn device(&self, node: &FileNode, flags: u64) -> Vec<Refusal> {
        let say = |errno, cause, text: &str| Refusal::at(&node.path, errno, cause, &format!(" {text}"));
        match node.kind() {
            FileType::Socket => vec![say(libc::ENXIO, Cause::NoDevice, "is a socket, which cannot be opened")],
            FileType::Fifo if flags & O_ACCMODE == O_WRONLY && flags & O_NONBLOCK != 0 => {
                vec![say(libc::ENXIO, Cause::NoDevice, "is a FIFO that no process has open for reading")]
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                let mut out = Vec::new();
                if node.is_on(mounted::NODEV) {
                    out.push(say(libc::EACCES, Cause::NoPermission, "is a device on a nodev mount"));
                }
                let missing = match (node.kind(), node.device) {
                    (FileType::CharacterDevice, TTY) => "is the controlling terminal, and the process has none",
                    _ => "is a device whose driver is missing or refused the open",
                };
                out.push(say(libc::ENXIO, Cause::NoDevice, missing));
                out.push(say(libc::ENODEV, Cause::NoDevice, missing));
                out.push(say(libc::EBUSY, Cause::Busy, "is a busy device"));
                out
            }
            _ => Vec::new(),
        }
    }

    /// The refusal of a hard link to a file
    /// ([`vfs_link`, `may_linkat`](https://elixir.bootlin.com/linux/v6.12/source/fs/namei.c)).
    pub(super) fn link(&self, node: &FileNode) -> Option<Refusal> {
        if node.attributes & (IMMUTABLE | APPEND_ONLY) != 0 {
            return Some(immutable(node));
        }
        let say = |cause, text: &str| Some(Refusal::at(&node.path, libc::EPERM, cause, text));
        if node.is_dir() {
            return say(Cause::IsADirectory, " is a directory, which has no hard links");
        }
        let who = &self.subject.credentials;
        let special = !node.kind().is_file() || node.rights.mode & 0o4000 != 0 || node.rights.mode & 0o2010 == 0o2010;
        let protected = special || node.rights.allow(READ | WRITE, who) == Verdict::Denied;
        if protected && self.is_stranger(&[node]) && setting("protected_hardlinks") == Some(1) {
            let owner = self.names.user(node.rights.uid);
            return say(Cause::NotOwner, &format!(" belongs to {owner}: refused by fs.protected_hardlinks"));
        }
        None
    }
}
