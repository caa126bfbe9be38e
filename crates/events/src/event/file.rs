//! `file`: a name or the attributes of a file were changed, or failed to be.

use super::abi;
use super::describe::{Field, STACK, Shape, Value, Why, err_value, euid_value, props};
use super::redact::{Redact, short};
use super::start::directory;
use super::{Compared, Components, EventContext, Payload, Sections, file};
use crate::text::paint::Look;
use tracetui_shared::calls::{ROWS, file as call};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::file::{FileRecord, start};
use tracetui_shared::record::mark;
use zerocopy::IntoBytes;

/// A call that names files.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
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
        let dirs = [dir(0)?, dir(1)?];
        let mut text = |nth: usize| parts.next(record.text_lens[nth].into());
        Some(File { record, dirs, texts: [text(0)?, text(1)?, text(2)?] })
    }

    fn unwritten() -> Vec<Vec<u8>> {
        vec![FileRecord::default().as_bytes().to_vec()]
    }

    fn redact(payload: &[u8], with: &mut Redact) -> Option<Vec<u8>> {
        let file = File::decode(payload)?;
        let (_, mut parts) = Sections::fixed::<FileRecord>(payload)?;
        let mut dirs = [Vec::new(), Vec::new()];
        for (nth, dir) in dirs.iter_mut().enumerate() {
            *dir = with.names_in(parts.next(file.record.dir_lens[nth].into())?, file.dirs[nth]);
        }
        let texts = file.texts.map(|text| short(with.of(text)));
        let mut record = file.record;
        record.dir_lens = [0, 1].map(|nth| dirs[nth].len() as u16);
        record.text_lens = [0, 1, 2].map(|nth| texts[nth].len() as u16);
        Some([record.as_bytes(), &dirs.concat(), &texts.concat()].concat())
    }

    const LOOK: Look = Look::Plain;

    const NOUN: &'static str = "file change";

    const COMPARED: Compared = Compared::Nothing;

    fn ret(&self) -> Option<i32> {
        Some(self.record.ret)
    }

    fn sought(&self) -> Option<&'a [u8]> {
        Some(self.texts[0])
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

    fn cut(&self) -> bool {
        let marks = self.record.dir_marks.into_iter().chain(self.record.text_marks);
        marks.fold(0, |all, marks| all | marks) & mark::CUT != 0
    }

    fn dir(&self) -> Value<'a> {
        self.start(0)
    }

    fn detail(&self, _: &EventContext<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.op().as_bytes());
        out.push(b' ');
        if let Some(value) = self.values() {
            out.extend_from_slice(value.as_bytes());
            out.push(b' ');
        }
        self.write(0, out);
        if self.has_second() {
            out.extend_from_slice(b" to ");
            self.write(1, out);
        } else if let Some(source) = self.source() {
            out.extend_from_slice(b" of ");
            out.extend_from_slice(source);
        }
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
    /// What the call does, whatever its form.
    pub fn op(&self) -> &'static str {
        match self.record.op {
            call::RENAME | call::RENAMEAT | call::RENAMEAT2 => "rename",
            call::UNLINK => "unlink",
            call::UNLINKAT if self.record.values[0] & AT_REMOVEDIR == 0 => "unlink",
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
            _ => "other",
        }
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
        let row = ROWS.iter().find(|row| row.kind == Kind::File && row.op == self.record.op);
        row.map_or("other", |row| row.name)
    }

    fn mode(&self) -> Option<u32> {
        matches!(self.op(), "mkdir" | "mknod" | "chmod").then_some(self.record.values[0] as u32)
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

    fn size(&self) -> Option<u64> {
        // A 32-bit caller passes two halves.
        let [size, upper] = self.record.values;
        (self.op() == "truncate").then_some(size | upper << 32)
    }

    /// The new values of a row.
    fn values(&self) -> Option<String> {
        let mode = self.mode().map(|mode| format!("{mode:04o}"));
        let owner =
            self.owner().map(|ids| ids.map(|id| if id < 0 { "-".to_owned() } else { id.to_string() }).join(":"));
        mode.or(owner).or_else(|| self.size().map(|size| size.to_string()))
    }

    /// Whether the call has two paths that it looks up.
    fn has_second(&self) -> bool {
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

    fn by_descriptor(&self) -> bool {
        self.record.starts & start::FILE != 0
    }

    fn text(&self, nth: usize) -> Value<'a> {
        match self.record.text_marks[nth] {
            m if m & mark::FAULT != 0 => Value::Unread(Why::Fault),
            m if m & mark::CUT != 0 => Value::Cut(self.texts[nth]),
            _ => Value::Bytes(self.texts[nth]),
        }
    }

    /// The directory at which a path starts, if it is relative.
    fn start(&self, nth: usize) -> Value<'a> {
        match self.record.text_marks[nth] {
            m if m & mark::FAULT != 0 && !self.by_descriptor() => Value::Unknown(Why::Fault),
            _ if self.record.starts & start::PATH << nth == 0 => Value::Null,
            // The caller's root is that of the mount namespace.
            _ if self.texts[nth].starts_with(b"/") && self.dirs[nth].bytes.is_empty() => Value::Null,
            _ => directory(self.dirs[nth]),
        }
    }

    /// The absolute path.
    fn absolute(&self, nth: usize) -> Value<'a> {
        if self.by_descriptor() {
            return directory(self.dirs[0]);
        }
        match (self.text(nth), self.start(nth)) {
            (Value::Unread(why), _) | (_, Value::Unknown(why)) => Value::Unknown(why),
            (Value::Cut(_), _) => Value::Unknown(Why::Cut),
            // The path is empty (AT_EMPTY_PATH): the descriptor is the file.
            (Value::Bytes(b""), Value::Path(dir)) => Value::Path(dir),
            (Value::Bytes(path), Value::Path(dir)) => Value::Joined(dir, path),
            (path, _) => path,
        }
    }
}

/// `AT_REMOVEDIR` (include/uapi/linux/fcntl.h).
const AT_REMOVEDIR: u64 = 0x200;

/// A value of calls of this sort; null for others.
fn of_op<'a, T>(value: Option<T>, make: impl Fn(T) -> Value<'a>) -> Value<'a> {
    value.map_or(Value::Null, make)
}

pub(crate) const FIELDS: &[Field] = &[
    Field::new(
        "op",
        Shape::Text,
        "What was done: rename unlink rmdir mkdir link symlink mknod chmod chown truncate setxattr removexattr mount umount move_mount pivot_root.",
        |s| file(s, |f| Value::Word(f.op())),
    ),
    Field::new(
        "path",
        Shape::Text,
        "The path as passed, read from the caller's memory after the call; null if the file was passed as a descriptor.",
        |s| file(s, |f| if f.by_descriptor() { Value::Null } else { f.text(0) }),
    )
    .with(props::LEAF | props::LACKS | props::BYTES),
    Field::new(
        "dir",
        Shape::Text,
        "The absolute directory at which a relative path starts, after the call: fs->pwd, or f_path of the descriptor. For an absolute path fs->root, if it is not /, else null; vanished: the descriptor is not open.",
        |s| file(s, |f| f.start(0)),
    )
    .with(props::LACKS | props::BYTES),
    Field::new(
        "abs_path",
        Shape::Text,
        "The path of the file: that of the descriptor, or `dir` and then `path`. Links in it are not followed.",
        |s| file(s, |f| f.absolute(0)),
    )
    .with(props::LEAF | props::LACKS | props::BYTES),
    Field::new("new_path", Shape::Text, "The second path as passed, of rename, link, move_mount and pivot_root.", |s| {
        file(s, |f| if f.has_second() { f.text(1) } else { Value::Null })
    })
    .with(props::LEAF | props::LACKS | props::BYTES),
    Field::new("new_dir", Shape::Text, "The absolute directory at which the second path starts, if it is relative.", |s| {
        file(s, |f| if f.has_second() { f.start(1) } else { Value::Null })
    })
    .with(props::LACKS | props::BYTES),
    Field::new("new_abs_path", Shape::Text, "The second path: `new_dir` and then `new_path`.", |s| {
        file(s, |f| if f.has_second() { f.absolute(1) } else { Value::Null })
    })
    .with(props::LEAF | props::LACKS | props::BYTES),
    Field::new("target", Shape::Text, "The text of a symbolic link, or the source of a mount.", |s| {
        file(s, |f| of_op(f.source(), |_| f.text(1)))
    })
    .with(props::LACKS | props::BYTES),
    Field::new("mode", Shape::Number, "The mode as passed, of mkdir, mknod and chmod.", |s| {
        file(s, |f| of_op(f.mode(), |mode| Value::Uint(mode.into())))
    }),
    Field::new("owner", Shape::Number, "The new owner as passed, of chown; −1 leaves it as it is.", |s| {
        file(s, |f| of_op(f.owner(), |[owner, _]| Value::Int(owner.into())))
    }),
    Field::new("group", Shape::Number, "The new group as passed, of chown; −1 leaves it as it is.", |s| {
        file(s, |f| of_op(f.owner(), |[_, group]| Value::Int(group.into())))
    }),
    Field::new("size", Shape::Number, "The new size in bytes as passed, of truncate.", |s| {
        file(s, |f| of_op(f.size(), Value::Uint))
    })
    .with(props::UNSIGNED),
    Field::new("name", Shape::Text, "The name of an extended attribute.", |s| {
        file(s, |f| if f.op().ends_with("xattr") { f.text(2) } else { Value::Null })
    })
    .with(props::LACKS | props::BYTES),
    Field::new("fstype", Shape::Text, "The type of file system, of mount.", |s| {
        file(s, |f| if f.op() == "mount" { f.text(2) } else { Value::Null })
    })
    .with(props::LACKS | props::BYTES),
    Field::new("ret", Shape::Number, "0, or −errno.", |s| file(s, |f| Value::Int(f.record.ret.into()))),
    Field::new("err", Shape::Text, "The name of the error; null on success.", |s| file(s, |f| err_value(f.record.ret))),
    Field::new("via", Shape::Text, "The name of the system call.", |s| file(s, |f| Value::Word(f.via()))),
    Field::new("abi", Shape::Text, "The system call table, as of opens.", |s| {
        file(s, |f| Value::Word(abi::word(f.record.abi)))
    }),
    Field::new("euid", Shape::User, "The effective user id of the caller: cred->euid.", |s| {
        file(s, |f| euid_value(Some(f.record.euid)))
    }),
    STACK,
];
