//! `open`: a file was opened, or failed to open.

use super::describe::{Field, Shape, Value, Why, err_value};
use super::inside::{FS, FS_PATH};
use super::stack::STACK;
use crate::arch;

use super::{Body, Components, EventContext, Parts, Payload, names};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{CREATED, EXISTED, NEAR, OpenRecord, UNKNOWN, uring, via};

/// An `open`.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    /// The fixed part.
    pub record: OpenRecord,
    /// The opened file; if there is none, the caller's root.
    pub names: Components<'a>,
    /// The path as asked.
    pub path: &'a [u8],
}

impl<'a> Payload<'a> for Open<'a> {
    #[inline]
    fn decode(payload: &'a [u8]) -> Option<Open<'a>> {
        let (record, mut parts) = Parts::fixed::<OpenRecord>(payload)?;
        let mut names = Components::new(parts.next(record.names_len.into())?, record.names_marks);
        let path = parts.next(record.path_len.into())?;
        if names.marks & mark::SHARED != 0 && !is_as_asked(names, path, &record) {
            names.marks |= mark::RACED;
        }
        Some(Open { record, names, path })
    }

    fn failed(&self) -> bool {
        self.record.ret < 0
    }

    fn cut(&self) -> bool {
        (self.record.names_marks | self.record.path_marks) & mark::CUT != 0
    }

    fn result(&self, out: &mut Vec<u8>) {
        match names::err(self.record.ret) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => out.extend_from_slice(itoa::Buffer::new().format(self.record.ret).as_bytes()),
        }
    }

    fn detail(&self, _: &FrameHeader, out: &mut Vec<u8>) {
        let access = names::access_letters(self.flags());
        out.extend_from_slice(access.as_bytes());
        out.extend_from_slice(if access.len() == 1 { b"  " } else { b" " });
        self.file().write(out);
        if let Some(remark) = self.remark() {
            out.extend_from_slice(remark.as_bytes());
        }
    }
}

/// What names the file of an `open`.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum File<'a> {
    /// The path of the opened file.
    Opened(Components<'a>),
    /// The path as asked: nothing was opened, or its path is unknown.
    Asked(&'a [u8]),
}

impl File<'_> {
    /// Appends the path.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            File::Opened(names) => names.write(out),
            File::Asked(path) => out.extend_from_slice(path),
        }
    }
}

impl<'a> Open<'a> {
    /// What names the file.
    pub(crate) fn file(&self) -> File<'a> {
        match self.record.ret >= 0 && self.names.is_known() {
            true => File::Opened(self.names),
            false => File::Asked(self.path),
        }
    }

    /// Whether the caller's root was not found on the path from the opened file up to the root of its mount namespace,
    /// or belongs to another mount namespace.
    fn root_unknown(&self) -> bool {
        self.record.root_off == u16::MAX
    }

    /// The caller's root, if it is not the root of its mount namespace.
    pub fn root(&self) -> Option<Components<'a>> {
        let above = self.names.bytes.get(self.record.root_off.into()..).filter(|names| !names.is_empty())?;
        Some(Components::new(above, 0))
    }

    fn by_openat2(&self) -> bool {
        self.record.via == via::OPENAT2 || self.record.uring & uring::OPENAT2 != 0
    }

    /// The flags with the numbers that most architectures use.
    pub(crate) fn flags(&self) -> u64 {
        arch::generic_open_flags(self.record.abi, self.record.flags)
    }

    fn has_mode(&self) -> bool {
        self.flags() & names::O_CREAT != 0 || self.is_tmpfile()
    }

    fn is_tmpfile(&self) -> bool {
        self.flags() & names::O_TMPFILE == names::O_TMPFILE
    }

    /// What follows the path of the opened file: that it is deleted, or that the call created it.
    pub(crate) fn remark(&self) -> Option<&'static str> {
        // A file of O_TMPFILE has no name: it is deleted, and always new.
        match (self.names.deleted(), self.created()) {
            (true, _) if self.record.ret >= 0 => Some("  (deleted)"),
            (false, Value::Bool(true)) => Some("  (created)"),
            _ => None,
        }
    }

    fn created(&self) -> Value<'a> {
        match self.record.how_marks {
            _ if self.record.ret < 0 => Value::Unknown(Why::Failed),
            _ if self.names.marks & mark::RACED != 0 => Value::Unknown(Why::Raced),
            m if m & CREATED != 0 => Value::Bool(true),
            m if m & EXISTED != 0 => Value::Bool(false),
            _ if self.is_tmpfile() => of_how(self, Value::Bool(true)),
            // The probe looks at every file that a call was asked to create.
            _ if self.has_mode() => Value::Unknown(Why::NotCollected),
            _ => of_how(self, Value::Bool(false)),
        }
    }
}

/// Whether a file that may be the wrong one is the requested file. It is if it has the requested path, even if another
/// process put it there, or if it has the requested name in the directory where a relative path starts. A matching last
/// component alone proves nothing.
fn is_as_asked(names: Components<'_>, path: &[u8], record: &OpenRecord) -> bool {
    if record.how_marks & NEAR != 0 && names.leaf() == path {
        return true;
    }
    let mut found = Vec::new();
    names.write(&mut found);
    found == path
}

fn open<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Open<'a>) -> Value<'a>) -> Value<'a> {
    match &seen.event.body {
        Body::Open(open) => get(open),
        _ => Value::Null,
    }
}

/// A value that was read from `how` of openat2, or from a request of io_uring.
fn of_how<'a>(open: &Open<'a>, value: Value<'a>) -> Value<'a> {
    match open.record.how_marks {
        m if m & mark::FAULT != 0 => Value::Unknown(Why::Fault),
        m if m & UNKNOWN != 0 => Value::Unknown(Why::NotCollected),
        _ => value,
    }
}

/// The fields of an `open` event beside the common fields.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("path", Shape::Text, "The path as passed, read from the caller's memory after the call.", |s| {
        open(s, |o| match o.record.path_marks {
            m if m & mark::FAULT != 0 => Value::Unread(Why::Fault),
            m if m & mark::NOT_COLLECTED != 0 => Value::Unread(Why::NotCollected),
            m if m & mark::CUT != 0 => Value::Cut(o.path),
            _ => Value::Bytes(o.path),
        })
    }),
    Field::new(
        "abs_path",
        Shape::Text,
        "The path of the opened file, from the root of the caller's mount namespace: dentries and mounts of files->fdt->fd[ret]->f_path.",
        |s| {
            open(s, |o| match o.names.absent() {
                _ if o.record.ret < 0 => Value::Unknown(Why::Failed),
                Some(why) => Value::Unknown(why),
                None => Value::Path(o.names),
            })
        },
    ),
    FS_PATH,
    FS,
    Field::new("deleted", Shape::Bool, "Whether the opened file was deleted: dentry.d_hash.pprev is null.", |s| {
        open(s, |o| Value::Bool(o.record.ret >= 0 && o.names.deleted()))
    }),
    Field::new(
        "created",
        Shape::Bool,
        "Whether the call created the file: FMODE_CREATED in f_mode of the opened file. True with O_TMPFILE.",
        |s| open(s, Open::created),
    ),
    Field::new("root", Shape::Text, "The caller's root directory, if it is not /: fs->root.", |s| {
        open(s, |o| match o.root() {
            None if o.root_unknown() => Value::Unknown(o.names.absent().unwrap_or(Why::NotCollected)),
            root => root.map_or(Value::Null, Value::Path),
        })
    }),
    Field::new("dirfd", Shape::Number, "The directory descriptor as passed; −100 is AT_FDCWD.", |s| {
        open(s, |o| match o.record.how_marks & UNKNOWN {
            0 => Value::Int(o.record.dirfd.into()),
            _ => Value::Unknown(Why::NotCollected),
        })
    }),
    Field::new("flags", Shape::Text, "The names of the flags as passed, access mode first.", |s| {
        open(s, |o| of_how(o, Value::Flags(o.flags())))
    }),
    Field::new("flags_raw", Shape::Number, "The flags as passed, as a number.", |s| {
        open(s, |o| of_how(o, Value::Uint(o.record.flags)))
    }),
    Field::new("mode", Shape::Number, "The mode as passed; null without O_CREAT or O_TMPFILE.", |s| {
        open(s, |o| of_how(o, if o.has_mode() { Value::Uint(o.record.mode.into()) } else { Value::Null }))
    }),
    Field::new("resolve", Shape::Number, "how.resolve of openat2; null for other calls.", |s| {
        open(s, |o| of_how(o, if o.by_openat2() { Value::Uint(o.record.resolve) } else { Value::Null }))
    }),
    Field::new(
        "ret",
        Shape::Number,
        "The descriptor, or −errno. For a direct open through io_uring: the result of the completion.",
        |s| open(s, |o| Value::Int(o.record.ret.into())),
    ),
    Field::new("err", Shape::Text, "The name of the error; null on success.", |s| open(s, |o| err_value(o.record.ret))),
    Field::new(
        "via",
        Shape::Text,
        "The system call: open openat openat2 creat open_by_handle_at io_uring other.",
        |s| {
            open(s, |o| {
                Value::Word(match o.record.via {
                    via::OPEN => "open",
                    via::OPENAT => "openat",
                    via::OPENAT2 => "openat2",
                    via::CREAT => "creat",
                    via::OPEN_BY_HANDLE_AT => "open_by_handle_at",
                    via::IO_URING => "io_uring",
                    _ => "other",
                })
            })
        },
    ),
    Field::new(
        "abi",
        Shape::Text,
        "The system call table: x86_64 i386 x32 (thread_info.status, bit 30 of the number), aarch64 arm (thread_info.flags).",
        |s| open(s, |o| Value::Word(arch::abi_word(o.record.abi))),
    ),
    STACK,
];

#[cfg(test)]
mod tests {
    use super::*;
    use tracetui_shared::record::FileSystem;
    use zerocopy::IntoBytes;

    #[track_caller]
    fn check_shared(via: u8, how_marks: u8, names: &[u8], path: &[u8], absent: Option<Why>) {
        let record = OpenRecord {
            names_marks: mark::SHARED,
            via,
            how_marks,
            names_len: names.len() as u16,
            path_len: path.len() as u16,
            ..OpenRecord::default()
        };
        let payload = [record.as_bytes(), names, path].concat();
        assert_eq!(Open::decode(&payload).expect("whole").names.absent(), absent, "{path:?}");
    }

    fn unreachable(names: &[u8], marks: u8) -> Components<'_> {
        Components::new(names, mark::UNREACHABLE | marks)
    }

    #[test]
    fn an_unreachable_file_is_named_by_its_file_system() {
        let mut fs = FileSystem { mark: FileSystem::MARK, device: 8 << 20 | 1, mount_id: 63, name: [0; 20] };
        fs.name[..4].copy_from_slice(b"ext4");
        let names = [b"file\0dir\0", fs.as_bytes()].concat();
        let (bare, cut) = (unreachable(b"file\0dir\0", 0), unreachable(&names, mark::CUT));
        let whole = unreachable(&names, 0);
        let mut shown = Vec::new();
        whole.write(&mut shown);
        assert_eq!((shown, whole.leaf(), whole.fs), (b"[ext4 8:1]/dir/file".to_vec(), &b"file"[..], Some(fs)));
        let root = unreachable(fs.as_bytes(), 0);
        assert_eq!(Value::Path(root.inside().expect("at the root").1).text().as_deref(), Some(&b"/"[..]));
        for names in [whole, cut, bare] {
            assert_eq!(names.absent(), Some(Why::Unreachable));
        }
        assert_eq!((bare.inside(), bare.why_not_inside()), (None, Why::NotCollected), "an older recording");
        assert_eq!((cut.inside(), cut.why_not_inside()), (None, Why::Cut));
        let raced = unreachable(&names, mark::RACED);
        assert_eq!((raced.absent(), raced.inside()), (Some(Why::Raced), None));
    }

    #[test]
    fn a_file_with_other_references_is_believed_if_it_is_what_was_asked_for() {
        for via in [via::OPENAT, via::IO_URING] {
            let raced = Some(Why::Raced);
            check_shared(via, 0, b"passwd\0etc\0", b"/etc/passwd", None);
            check_shared(via, 0, b"passwd\0etc\0", b"passwd", raced);
            check_shared(via, 0, b"passwd\0b\0", b"/a/passwd", raced);
            check_shared(via, 0, b"etc\0", b"/etc//", raced);
            check_shared(via, 0, b"decoy\0etc\0", b"/etc/passwd", raced);
            check_shared(via, 0, b"passwd\0etc\0", b"", raced);
            check_shared(via, 0, b"etc\0", b"/etc/.", raced);
            check_shared(via, NEAR, b"passwd\0etc\0", b"passwd", None);
            check_shared(via, NEAR, b"passwd\0etc\0", b"../etc/passwd", raced);
        }
    }
}
