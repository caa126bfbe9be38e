//! `file`: a name or the attributes of a file were changed, or failed to be.

use super::abi;
use super::asked::{Asked, FailedCall, Need};
use super::describe::{Field, STACK, Shape, Value, Why, err_value, euid_value, field, field_table, props};
use super::parts::{Parts, Role};
use super::redact::{Redact, short};
use super::start::directory;
use super::{Compared, Components, EventContext, Payload, Sections, file};
use crate::text::paint::Look;
use std::hash::{Hash as _, Hasher};
use tracetui_shared::calls::{ROWS, file as call, lookup};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::file::{FileRecord, WRITTEN, start};
use tracetui_shared::record::mark;
use zerocopy::IntoBytes;

/// A call that names files.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// The kind of the event: `file`, `lookup` or `unix`.
    pub kind: Kind,
    pub record: FileRecord,
    /// The directories at which the paths start, if they are relative. The first one is the file itself if it was named by a
    /// descriptor.
    pub dirs: [Components<'a>; 2],
    /// The two paths as passed, and a third text.
    pub texts: [&'a [u8]; 3],
}

impl<'a> Payload<'a> for File<'a> {
    fn decode(payload: &'a [u8]) -> Option<File<'a>> {
        let (record, mut parts) = Sections::fixed::<FileRecord>(payload)?;
        let mut dir =
            |nth: usize| Some(Components::new(parts.next(record.dir_lens[nth].into())?, record.dir_marks[nth]));
        let (first, second) = (dir(0)?, dir(1)?);
        let dirs = [first, if record.starts & start::SAME == 0 { second } else { first }];
        let mut text = |nth: usize| parts.next(record.text_lens[nth].into());
        Some(File { kind: Kind::File, record, dirs, texts: [text(0)?, text(1)?, text(2)?] })
    }

    fn unwritten() -> Vec<Vec<u8>> {
        vec![FileRecord::default().as_bytes().to_vec()]
    }

    fn redact(payload: &[u8], with: &mut Redact) -> Option<Vec<u8>> {
        let file = File::decode(payload)?;
        let (_, mut parts) = Sections::fixed::<FileRecord>(payload)?;
        let mut dirs = [Vec::new(), Vec::new()];
        let mut texts = file.texts.map(<[u8]>::to_vec);
        for (nth, dir) in dirs.iter_mut().enumerate() {
            let names = parts.next(file.record.dir_lens[nth].into())?;
            *dir = with.names_in(names, Components::new(names, file.record.dir_marks[nth]));
            texts[nth] = short(with.below(file.dirs[nth], file.texts[nth]));
        }
        texts[2] = short(with.of(file.texts[2]));
        let mut record = file.record;
        record.dir_lens = [0, 1].map(|nth| dirs[nth].len() as u16);
        record.text_lens = [0, 1, 2].map(|nth| texts[nth].len() as u16);
        Some([record.as_bytes(), &dirs.concat(), &texts.concat()].concat())
    }

    const LOOK: Look = Look::Plain;

    const NOUN: &'static str = "file change";

    const COMPARED: Compared = Compared::Results("done");

    const CHANGES_FILES: bool = true;

    const NEWS: Option<usize> = Some(0);

    fn news(&self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(self.op().as_bytes());
        self.dirs.iter().for_each(|dir| dir.write(out));
        self.texts.iter().for_each(|text| out.extend_from_slice(text));
        true
    }

    fn paths(&self) -> Option<&File<'a>> {
        Some(self)
    }

    fn subject(&self, out: &mut Vec<u8>) {
        self.write(0, out);
    }

    fn distinguish(&self, mut into: &mut dyn Hasher) {
        (self.record.op, self.record.values, self.texts, self.dirs.map(|dir| dir.bytes)).hash(&mut into);
    }

    fn dirfd(&self) -> i32 {
        self.record.dirfds[0]
    }

    fn goes_on(&self) -> bool {
        false
    }

    fn is_needless(&self) -> bool {
        match self.op() {
            "mkdir" => self.record.ret == -libc::EEXIST,
            "unlink" | "rmdir" => self.record.ret == -libc::ENOENT,
            _ => false,
        }
    }

    fn asked(&self) -> Option<Asked<'a>> {
        let follow = match self.op() {
            "link" => self.record.flags & AT_SYMLINK_FOLLOW != 0,
            _ => self.record.flags & AT_SYMLINK_NOFOLLOW == 0 && !self.via().starts_with('l'),
        };
        let path = |need| FailedCall { dirfd: self.record.dirfds[0], follow, need };
        let (need, next) = match self.op() {
            "rename" => (Need::Removable, Some(Need::New)),
            "link" => (Need::Linkable, Some(Need::New)),
            "mount" if self.texts[1].starts_with(b"/") => (Need::Access(0), Some(Need::Access(0))),
            "move_mount" | "pivot_root" => (Need::Access(0), Some(Need::Access(0))),
            "unlink" | "rmdir" => (Need::Removable, None),
            "mkdir" | "symlink" | "mknod" => (Need::New, None),
            "chmod" | "chown" | "setxattr" | "removexattr" => (Need::Owned, None),
            "truncate" => (Need::Access(WRITE), None),
            "access" => (Need::Access(self.record.values[0] as u8 & 7), None),
            "chdir" => (Need::Access(EXECUTE), None),
            _ => (Need::Access(0), None),
        };
        let next = next.filter(|_| self.record.text_marks[1] == 0 && !self.texts[1].is_empty()).map(|need| {
            (FailedCall { dirfd: self.record.dirfds[1], follow: true, need }, self.texts[1], self.start(1))
        });
        let marks = self.record.text_marks[0];
        let known = !self.by_descriptor() && marks & mark::FAULT == 0;
        // access(2) checks the real ids.
        let real = self.op() == "access" && self.record.flags & AT_EACCESS == 0;
        let ids = (Some(self.record.euid).filter(|_| !real), None);
        let asked = Asked::new(path(need), known.then_some(self.texts[0]), marks & mark::CUT != 0, self.dir());
        Some(Asked { ids, next, ..asked })
    }

    fn detail(&self, _: &EventContext<'_>, out: &mut Vec<u8>) {
        self.parts(out);
    }

    fn show(&self, _: &EventContext<'_>, out: &mut impl Parts) {
        self.parts(out);
    }

    fn title(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.detail(seen, out);
        if self.failed() {
            out.push(b' ');
            self.result(out);
        }
    }
}

impl<'a> File<'a> {
    /// Whether a directory or a text is truncated.
    pub(super) fn is_cut(&self) -> bool {
        let marks = self.record.dir_marks.into_iter().chain(self.record.text_marks);
        marks.fold(0, |all, marks| all | marks) & mark::CUT != 0
    }

    /// The path as passed.
    pub(super) fn passed(&self) -> Option<&'a [u8]> {
        (!self.by_descriptor()).then_some(self.texts[0])
    }

    /// What the call does, whatever its form.
    pub fn op(&self) -> &'static str {
        let FileRecord { op, flags, .. } = self.record;
        if self.kind == Kind::Unix {
            return "connect";
        }
        if self.kind == Kind::Lookup {
            return match op {
                lookup::STAT | lookup::FSTATAT | lookup::STATX if flags & AT_SYMLINK_NOFOLLOW == 0 => "stat",
                lookup::STAT..=lookup::STATX => "lstat",
                lookup::ACCESS..=lookup::FACCESSAT2 => "access",
                lookup::READLINK | lookup::READLINKAT => "readlink",
                lookup::CHDIR | lookup::FCHDIR => "chdir",
                _ => "other",
            };
        }
        match op {
            call::RENAME | call::RENAMEAT | call::RENAMEAT2 => "rename",
            call::UNLINK => "unlink",
            call::UNLINKAT if flags & AT_REMOVEDIR == 0 => "unlink",
            call::UNLINKAT | call::RMDIR => "rmdir",
            call::MKDIR | call::MKDIRAT => "mkdir",
            call::LINK | call::LINKAT => "link",
            call::SYMLINK | call::SYMLINKAT => "symlink",
            call::MKNOD | call::MKNODAT => "mknod",
            call::CHMOD | call::FCHMOD | call::FCHMODAT | call::FCHMODAT2 => "chmod",
            call::CHOWN..=call::FCHOWN16 => "chown",
            call::TRUNCATE..=call::FTRUNCATE64 => "truncate",
            call::SETXATTR..=call::SETXATTRAT => "setxattr",
            call::REMOVEXATTR..=call::REMOVEXATTRAT => "removexattr",
            call::MOUNT => "mount",
            call::UMOUNT => "umount",
            call::MOVE_MOUNT => "move_mount",
            call::PIVOT_ROOT => "pivot_root",
            WRITTEN => "write",
            _ => "other",
        }
    }

    /// Whether two files exchange their names (`RENAME_EXCHANGE`, include/uapi/linux/fs.h).
    pub(crate) fn exchanges(&self) -> bool {
        self.kind == Kind::File && self.record.op == call::RENAMEAT2 && self.record.flags & 2 != 0
    }

    /// The directory of the file: where its path starts if it is relative, and the path without its last name.
    pub fn directory(&self) -> [&'a [u8]; 2] {
        let (start, path) = (self.dirs[0].bytes, self.texts[0]);
        let path = path.strip_suffix(b"/").unwrap_or(path);
        match path.iter().rposition(|byte| *byte == b'/').map(|slash| &path[..slash]) {
            _ if self.by_descriptor() => [memchr::memchr(0, start).map_or(start, |end| &start[end..]), b""],
            Some(dir) if path.starts_with(b"/") => [b"", dir],
            Some(dir) => [start, dir],
            None => [start, b""],
        }
    }

    /// The name of the call.
    fn via(&self) -> &'static str {
        let row = ROWS.iter().find(|row| row.kind == self.kind && row.op == self.record.op);
        let name = match row {
            Some(row) => row.name,
            None if self.record.op == WRITTEN => "close",
            None => "other",
        };
        // The functions of stat(2) and lstat(2) have names of their own.
        name.strip_prefix("new").filter(|name| *name != "fstatat").unwrap_or(name)
    }

    /// The mode as passed, of calls that make a file or change its mode.
    pub(crate) fn mode(&self) -> Option<u32> {
        matches!(self.op(), "mkdir" | "mknod" | "chmod").then_some(self.record.values[0] as u32 & 0xffff)
    }

    /// The new owner and group; −1 leaves one as it is.
    fn owner(&self) -> Option<[i32; 2]> {
        let unchanged = match self.record.op {
            call::CHOWN16 | call::LCHOWN16 | call::FCHOWN16 => u64::from(u16::MAX),
            _ => u64::from(u32::MAX),
        };
        let id = |value: u64| if value & unchanged == unchanged { -1 } else { (value & unchanged) as i32 };
        (self.op() == "chown").then(|| self.record.values.map(id))
    }

    /// `loff_t` is signed.
    fn size(&self) -> Option<i64> {
        let [size, upper] = self.record.values;
        match self.op() {
            "write" => Some(size.cast_signed()),
            // A 32-bit caller passes two halves.
            "truncate" => Some((size | upper << 32).cast_signed()),
            _ => None,
        }
    }

    /// The size when the file was opened.
    fn old_size(&self) -> Option<u64> {
        (self.op() == "write").then_some(self.record.values[1])
    }

    /// The new values of a row.
    fn values(&self) -> Option<String> {
        let mode = self.mode().map(|mode| format!("{mode:04o}"));
        let owner =
            self.owner().map(|ids| ids.map(|id| if id < 0 { "-".to_owned() } else { id.to_string() }).join(":"));
        mode.or(owner).or_else(|| self.size().map(|size| size.to_string()))
    }

    /// Whether the call has two paths that it looks up.
    pub fn has_second(&self) -> bool {
        matches!(self.op(), "rename" | "link" | "move_mount" | "pivot_root")
    }

    /// The text of a symbolic link, or the source of a mount.
    fn source(&self) -> Option<&'a [u8]> {
        matches!(self.op(), "symlink" | "mount").then_some(self.texts[1])
    }

    /// The path as passed, or the file behind the descriptor.
    fn write(&self, nth: usize, out: &mut Vec<u8>) {
        match self.by_descriptor() {
            true => self.dirs[0].write(out),
            false => out.extend_from_slice(self.texts[nth]),
        }
    }

    fn parts(&self, out: &mut impl Parts) {
        out.part(Role::Quiet, |out| {
            out.extend_from_slice(self.op().as_bytes());
            out.push(b' ');
            if let Some(values) = self.values() {
                out.extend_from_slice(values.as_bytes());
                out.push(b' ');
            }
        });
        out.path(Role::Plain, |out| self.show_path(0, out));
        if self.has_second() {
            out.part(Role::Quiet, |out| out.extend_from_slice(b" to "));
            out.path(Role::Plain, |out| self.show_path(1, out));
        } else if let Some(source) = self.source() {
            out.part(Role::Quiet, |out| out.extend_from_slice(&[b" of ", source].concat()));
        }
    }

    /// The absolute path of a file that was changed, of a second one in the same directory only the name. Of a call that failed, the path
    /// as passed.
    fn show_path(&self, nth: usize, out: &mut Vec<u8>) {
        let changed =
            |nth| Some(self.absolute(nth)).filter(|path| matches!(path, Value::Joined(..)) && self.record.ret >= 0);
        let Some(path) = changed(nth) else { return self.write(nth, out) };
        let is_name = !self.texts[nth].contains(&b'/');
        match nth == 1 && is_name && changed(0).is_some() && self.directory() == [self.dirs[1].bytes, b""] {
            true => self.write(nth, out),
            false => path.write(out),
        }
    }

    fn by_descriptor(&self) -> bool {
        self.record.starts & start::FILE != 0
    }

    pub(super) fn text(&self, nth: usize) -> Value<'a> {
        match self.record.text_marks[nth] {
            m if m & mark::FAULT != 0 => Value::Unread(Why::Fault),
            m if m & mark::CUT != 0 => Value::Cut(self.texts[nth]),
            _ => Value::Bytes(self.texts[nth]),
        }
    }

    /// The directory at which a path starts, if it is relative.
    pub(super) fn start(&self, nth: usize) -> Value<'a> {
        match self.record.text_marks[nth] {
            m if m & mark::FAULT != 0 && !self.by_descriptor() => Value::Unknown(Why::Fault),
            _ if self.record.starts & start::PATH << nth == 0 => Value::Null,
            // The caller's root is that of the mount namespace.
            _ if self.texts[nth].starts_with(b"/") && self.dirs[nth].bytes.is_empty() => Value::Null,
            _ => directory(self.dirs[nth]),
        }
    }

    /// Whether the directory and the text are the path of the file, without a link that the call follows.
    fn is_exact(&self) -> bool {
        const OWN: [&str; 9] = ["rename", "unlink", "rmdir", "mkdir", "link", "symlink", "mknod", "lstat", "readlink"];
        let names = self.texts[0].split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
        // A slash at the end follows a link.
        let own = OWN.contains(&self.op())
            && self.record.flags & AT_SYMLINK_FOLLOW == 0
            && !self.texts[0].ends_with(b"/")
            && !self.dirs[0].deleted();
        self.by_descriptor() || own && names.clone().count() == 1 && !names.clone().any(|name| name == b"..")
    }

    /// The absolute path.
    pub(crate) fn absolute(&self, nth: usize) -> Value<'a> {
        if self.by_descriptor() {
            return directory(self.dirs[0]);
        }
        match (self.text(nth), self.start(nth)) {
            (Value::Unread(why), _) | (_, Value::Unknown(why)) => Value::Unknown(why),
            (Value::Cut(_), _) => Value::Unknown(Why::Cut),
            // The path is empty: the descriptor is the file.
            (Value::Bytes(b""), Value::Path(dir)) if self.record.flags & AT_EMPTY_PATH != 0 => Value::Path(dir),
            (Value::Bytes(b""), _) => Value::Null,
            (Value::Bytes(path), Value::Path(dir)) => Value::Joined(dir, path),
            (path, _) => path,
        }
    }
}

/// `AT_REMOVEDIR` (include/uapi/linux/fcntl.h).
const AT_REMOVEDIR: u32 = 0x200;
/// `AT_EMPTY_PATH`.
const AT_EMPTY_PATH: u32 = 0x1000;
/// `AT_SYMLINK_NOFOLLOW`.
const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// `AT_EACCESS`, which has the number of [`AT_REMOVEDIR`].
const AT_EACCESS: u32 = 0x200;
/// Permissions of access(2).
const WRITE: u8 = 2;
const EXECUTE: u8 = 1;
/// `AT_SYMLINK_FOLLOW`.
const AT_SYMLINK_FOLLOW: u32 = 0x400;

/// The value of a field of both kinds.
fn of_paths<'a>(s: &EventContext<'a>, get: impl FnOnce(&'a File<'a>) -> Value<'a>) -> Value<'a> {
    s.event.body.paths().map_or(Value::Null, get)
}

/// A value of calls of this sort; null for others.
fn of_op<'a, T>(value: Option<T>, make: impl Fn(T) -> Value<'a>) -> Value<'a> {
    value.map_or(Value::Null, make)
}

// The fields of both kinds.
pub(super) const PATH: Field = field! {
    path Text "Path as passed, read after the call; null for a descriptor."
        |s| of_paths(s, |f| if f.by_descriptor() { Value::Null } else { f.text(0) }), with(props::LEAF | props::LACKS | props::BYTES)
};
pub(super) const START: Field = field! {
    dir Text "Absolute directory at which a relative path starts, after the call: fs->pwd, or f_path of the descriptor (vanished: not open). Of an absolute path, fs->root; null if that is /."
        |s| of_paths(s, |f| f.start(0)), with(props::LACKS | props::BYTES)
};
pub(super) const ABS_PATH: Field = field! {
    abs_path Text "Descriptor's path, or `dir` and then `path`."
        |s| of_paths(s, |f| f.absolute(0)), with(props::LEAF | props::LACKS | props::BYTES)
};
pub(super) const PATH_BASIS: Field = field! {
    path_basis Text "exact: `path` is one name in `dir`, and the call follows no link; joined: `abs_path` may lead through links."
        |s| of_paths(s, |f| match f.absolute(0) {
            Value::Unknown(_) | Value::Null => Value::Null,
            _ => Value::Word(if f.is_exact() { "exact" } else { "joined" }),
        })
};
pub(super) const DIRFD: Field = field! {
    dirfd Number "Descriptor at which the path starts, or of the file; −100: AT_FDCWD."
        |s| of_paths(s, |f| Value::Int(f.record.dirfds[0].into()))
};
pub(super) const FLAGS: Field = Field::new("flags", Shape::Text, "Flags as passed, by name; null without.", |s| {
    of_paths(s, |f| of_op(Some(f.record.flags).filter(|flags| *flags != 0), |flags| Value::CallFlags(f.op(), flags)))
});
pub(super) const RET: Field =
    Field::new("ret", Shape::Number, "0, or −errno.", |s| of_paths(s, |f| Value::Int(f.record.ret.into())));
pub(super) const ERR: Field =
    Field::new("err", Shape::Text, "Name of the error; null on success.", |s| of_paths(s, |f| err_value(f.record.ret)));
pub(super) const VIA: Field =
    Field::new("via", Shape::Text, "Name of the system call.", |s| of_paths(s, |f| Value::Word(f.via())));
pub(super) const ABI: Field = Field::new("abi", Shape::Text, "System call table, as of opens.", |s| {
    of_paths(s, |f| Value::Word(abi::word(f.record.abi)))
});
pub(super) const EUID: Field = field! {
    euid User "Effective user id of the caller: cred->euid." |s| of_paths(s, |f| euid_value(Some(f.record.euid)))
};

pub(crate) const FIELDS: &[Field] = field_table! {
    op Text "Operation: rename unlink rmdir mkdir link symlink mknod chmod chown truncate setxattr removexattr mount umount move_mount pivot_root; write (--written): the content may have changed between an open and the last close."
        |s| file(s, |f| Value::Word(f.op()));
    = PATH;
    = START;
    = ABS_PATH;
    deleted Bool "Whether the file behind the descriptor, or `dir`, was deleted: dentry.d_hash.pprev is null."
        |s| file(s, |f| Value::Bool(f.dirs[0].deleted()));
    = PATH_BASIS;
    = DIRFD;
    new_path Text "Second path as passed, of rename, link, move_mount and pivot_root."
        |s| file(s, |f| if f.has_second() { f.text(1) } else { Value::Null }), with(props::LEAF | props::LACKS | props::BYTES);
    new_dir Text "Absolute directory at which a relative second path starts."
        |s| file(s, |f| if f.has_second() { f.start(1) } else { Value::Null }), with(props::LACKS | props::BYTES);
    new_abs_path Text "Second path: `new_dir` and then `new_path`."
        |s| file(s, |f| if f.has_second() { f.absolute(1) } else { Value::Null }), with(props::LEAF | props::LACKS | props::BYTES);
    target Text "Text of a symbolic link, or the source of a mount."
        |s| file(s, |f| of_op(f.source(), |_| f.text(1))), with(props::LACKS | props::BYTES);
    mode Number "Mode as passed, of mkdir, mknod and chmod."
        |s| file(s, |f| of_op(f.mode(), |mode| Value::Uint(mode.into())));
    owner Number "New owner as passed, of chown; −1: unchanged."
        |s| file(s, |f| of_op(f.owner(), |[owner, _]| Value::Int(owner.into())));
    group Number "New group as passed, of chown; −1: unchanged."
        |s| file(s, |f| of_op(f.owner(), |[_, group]| Value::Int(group.into())));
    size Number "New size in bytes: as passed, of truncate; at the close, of write."
        |s| file(s, |f| of_op(f.size(), Value::Int));
    old_size Number "Size in bytes when the file was opened, before the open truncated it, of write."
        |s| file(s, |f| of_op(f.old_size(), Value::Uint));
    name Text "Name of an extended attribute."
        |s| file(s, |f| if f.op().ends_with("xattr") { f.text(2) } else { Value::Null }), with(props::LACKS | props::BYTES);
    fstype Text "Type of file system, of mount."
        |s| file(s, |f| if f.op() == "mount" { f.text(2) } else { Value::Null }), with(props::LACKS | props::BYTES);
    = FLAGS;
    = RET;
    = ERR;
    = VIA;
    = ABI;
    = EUID;
    = STACK;
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{FormatName, testing};

    #[test]
    fn a_changed_file_has_its_directory_and_one_that_was_not_found_the_path_as_passed() {
        let (etc, srv) = (&b"etc\0srv\0"[..], &b"srv\0"[..]);
        for (ret, second, want) in [
            (0, (etc, "b"), "ok      rename /srv/etc/a to b"),
            (0, (srv, "b"), "ok      rename /srv/etc/a to /srv/b"),
            (0, (etc, "x/b"), "ok      rename /srv/etc/a to /srv/etc/x/b"),
            (0, (&b""[..], "/b"), "ok      rename /srv/etc/a to /b"),
            (-2, (etc, "b"), "ENOENT  rename a to b"),
        ] {
            let (dir, path) = second;
            let record = FileRecord {
                op: call::RENAME,
                ret,
                starts: if dir.is_empty() { start::PATH } else { start::PATH | start::PATH << 1 },
                dir_lens: [etc.len() as u16, dir.len() as u16],
                text_lens: [1, path.len() as u16, 0],
                ..FileRecord::default()
            };
            let payload = [record.as_bytes(), etc, dir, b"a", path.as_bytes()].concat();
            let line = testing::line(FormatName::Text, testing::header(Kind::File), &payload);
            let line = String::from_utf8(line).expect("UTF-8");
            assert!(line.trim_end().ends_with(want), "{line}");
        }
    }
}
