//! `open`: a file was opened, or failed to open.

use super::abi;
use super::asked::{Asked, FailedCall, NEW, Need, PATH, READ, WRITE};
use super::describe::{Field, STACK, Value, Why, err_value, euid_value, field_table, props};
use super::file_identity::{FILE, known};
use super::foreign_file::{FS, FS_PATH};
use super::parts::{Parts, Role};
use super::redact::{Redact, short};
use super::start::{DIR, directory};
use super::{Compared, Components, EventContext, Payload, Sections, Takes, names, open};
use crate::text::integer;
use crate::text::paint::Look;
use tracetui_shared::id::Uid;
use tracetui_shared::record::identity::Identity;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{CREATED, EXISTED, NEAR, OpenRecord, STARTS, UNKNOWN, uring, via};
use zerocopy::IntoBytes;

#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    pub record: OpenRecord,
    /// The opened file. If no file was opened: the directory at which the path starts, or the caller's root.
    pub names: Components<'a>,
    pub path: &'a [u8],
}

// A record that grows may have a new text: redact it too, then change its size here.
const _: () = assert!(size_of::<OpenRecord>() == 80);

impl<'a> Payload<'a> for Open<'a> {
    #[inline]
    fn decode(payload: &'a [u8]) -> Option<Open<'a>> {
        let (record, mut parts) = Sections::fixed::<OpenRecord>(payload)?;
        let mut names = Components::new(parts.next(record.names_len.into())?, record.names_marks);
        let path = parts.next(record.path_len.into())?;
        if names.marks & mark::SHARED != 0 && !is_as_asked(names, path, &record) {
            names.marks |= mark::RACED;
        }
        Some(Open { record, names, path })
    }

    fn unwritten() -> Vec<Vec<u8>> {
        let record = OpenRecord {
            names_marks: mark::NOT_COLLECTED,
            path_marks: mark::NOT_COLLECTED,
            how_marks: UNKNOWN,
            ..OpenRecord::default()
        };
        vec![record.as_bytes().to_vec()]
    }

    fn redact(payload: &[u8], with: &mut Redact) -> Option<Vec<u8>> {
        let open = Open::decode(payload)?;
        let (record, mut parts) = Sections::fixed::<OpenRecord>(payload)?;
        let whole = parts.next(record.names_len.into())?;
        let path = parts.next(record.path_len.into())?;
        let path = short(if open.record.ret < 0 { with.below(open.names, path) } else { with.of(path) });
        let names = short(with.names(open.names));
        let root_off = match open.root() {
            None if record.root_off == u16::MAX => u16::MAX,
            None => names.len() as u16,
            Some(root) => {
                let count = with.count;
                let root = short(with.names(root));
                with.count = count;
                names.strip_suffix(&root[..]).map_or(u16::MAX, |below| below.len() as u16)
            }
        };
        let names = [&names, whole.get(open.names.bytes.len()..)?].concat();
        // The comparison with the requested file uses the paths before redaction.
        let names_marks = open.names.marks & !mark::SHARED;
        let (names_len, path_len) = (names.len() as u16, path.len() as u16);
        let record = OpenRecord { names_len, root_off, path_len, names_marks, ..record };
        Some([record.as_bytes(), &names, &path, parts.rest()].concat())
    }

    const LOOK: Look = Look::Quiet;
    const COMPARED: Compared = Compared::ByRule;
    const TAKES: Takes = Takes::Contents;
    const NOUN: &'static str = "open";

    fn ret(&self) -> Option<i32> {
        Some(self.record.ret)
    }

    fn decisive(&self) -> Option<[&[u8]; 3]> {
        // The marks of the names follow from these.
        self.names.fs.is_none().then_some([self.record.as_bytes(), self.names.bytes, self.path])
    }

    fn sought(&self) -> Option<&'a [u8]> {
        Some(self.path)
    }

    fn dirfd(&self) -> i32 {
        self.record.dirfd
    }

    fn is_routine(&self) -> bool {
        !matches!(self.created(), Value::Bool(true))
    }

    fn may_create(&self) -> bool {
        self.flags() & names::O_CREAT != 0
    }

    fn file(&self) -> Option<File<'a>> {
        Some(Open::file(self))
    }

    fn is_unnamed(&self) -> bool {
        let OpenRecord { ret, path_marks, via: call, .. } = self.record;
        ret < 0 && self.path.is_empty() && path_marks == 0 && call != via::OPEN_BY_HANDLE_AT
    }

    fn rights(&self) -> u8 {
        let flags = if self.flags() & names::O_PATH == 0 { self.flags() } else { 0 };
        let ((reads, writes), new) = (self.access(), names::O_CREAT | names::O_EXCL);
        let asks = |asks: bool, bit: u8| if asks { bit } else { 0 };
        let writes = writes || flags & names::O_TRUNC != 0;
        PATH | asks(reads, READ) | asks(writes, WRITE) | asks(flags & new == new, NEW)
    }

    fn file_use(&self) -> Option<FileUse> {
        let rights = self.rights();
        let created = self.record.how_marks & CREATED != 0;
        let used = FileUse { read: rights & READ != 0, written: rights & WRITE != 0, created, executed: false };
        (self.record.ret >= 0 && self.flags() & names::O_DIRECTORY == 0).then_some(used)
    }

    fn identity(&self) -> Option<Result<Identity, Why>> {
        let raced = self.names.marks & mark::RACED != 0;
        known(self.record.file).map(|file| if raced { Err(Why::Raced) } else { Ok(file) })
    }

    fn base(&self) -> Option<Vec<u8>> {
        let known = self.record.ret >= 0 && self.names.absent().is_none() && !self.names.deleted();
        let names: Vec<_> = self.path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
        if !known || self.root().is_some() || names.is_empty() || names.contains(&&b".."[..]) {
            return None;
        }
        let file = self.names.to_vec();
        let above = file.strip_suffix(names.join(&b'/').as_slice())?.strip_suffix(b"/")?;
        Some(if above.is_empty() { b"/".to_vec() } else { above.to_vec() })
    }

    fn found(&self) -> Option<&Components<'a>> {
        (self.record.ret >= 0).then_some(&self.names)
    }

    fn asked(&self) -> Option<Asked<'a>> {
        let OpenRecord { via, path_marks, how_marks, resolve, uring, root_off, .. } = self.record;
        let known = path_marks & (mark::FAULT | mark::NOT_COLLECTED) == 0 && via != via::OPEN_BY_HANDLE_AT;
        let whole = how_marks & (mark::FAULT | UNKNOWN) == 0;
        let (flags, dirfd) = if whole { (self.flags(), self.record.dirfd) } else { (0, libc::AT_FDCWD) };
        let call = FailedCall { dirfd, follow: true, need: Need::Flags { flags, resolve } };
        let root = match self.root() {
            Some(root) => Some(root.to_vec()),
            None if self.names.absent().is_some() || root_off == u16::MAX => None,
            None => Some(b"/".to_vec()),
        };
        // Slots of the ring's own table have limits of their own.
        let own_table = uring & uring::DIRECT != 0;
        let cut = path_marks & mark::CUT != 0;
        let asked = Asked::new(call, known.then_some(self.path), cut, self.dir());
        Some(Asked { whole, own_table, root, ids: (self.euid(), None), ..asked })
    }

    fn dir(&self) -> Value<'a> {
        let OpenRecord { ret, via, resolve, path_marks, how_marks, .. } = self.record;
        let in_root = resolve & names::RESOLVE_IN_ROOT != 0;
        match path_marks {
            _ if ret >= 0 || via == via::OPEN_BY_HANDLE_AT => Value::Null,
            m if m & mark::FAULT != 0 => Value::Unknown(Why::Fault),
            _ if self.path.starts_with(b"/") && !in_root => Value::Null,
            _ if how_marks & STARTS == 0 => Value::Unknown(Why::NotCollected),
            _ => directory(self.names),
        }
    }

    fn cut(&self) -> bool {
        (self.record.names_marks | self.record.path_marks) & mark::CUT != 0
    }

    fn result(&self, out: &mut Vec<u8>) {
        match names::err(self.record.ret) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => integer(self.record.ret, out),
        }
    }

    fn before_result(&self) -> &'static str {
        if self.record.ret >= 0 { "fd " } else { "" }
    }

    fn detail(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.parts(seen.event.header.uid, out);
    }

    fn show(&self, seen: &EventContext<'_>, out: &mut impl Parts) {
        self.parts(seen.event.header.uid, out);
    }

    fn title(&self, _: &EventContext<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"open ");
        self.file().write(out);
        if self.failed() {
            out.push(b' ');
            self.result(out);
        }
    }
}

/// How a call uses its file.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileUse {
    pub read: bool,
    pub written: bool,
    pub executed: bool,
    pub created: bool,
}

/// The name of the file of an `open`.
#[derive(Clone, Copy, Debug, Hash)]
pub enum File<'a> {
    Opened(Components<'a>),
    /// The path as requested: nothing was opened, or its path is unknown.
    Asked(&'a [u8]),
}

impl File<'_> {
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            File::Opened(names) => names.write(out),
            File::Asked(path) => out.extend_from_slice(path),
        }
    }
}

/// Whether a request of io_uring posts no completion on success.
pub(crate) fn is_quiet(request: &OpenRecord) -> bool {
    request.uring & uring::QUIET != 0
}

/// Whether an end belongs to a request of io_uring, judging by the records. The completed request still contains its arguments.
pub(crate) fn ends(end: &OpenRecord, request: &OpenRecord) -> bool {
    let how = |record: &OpenRecord| (record.dirfd, record.flags, record.mode, record.resolve);
    (request.how_marks & UNKNOWN != 0 || how(request) == how(end))
        // The kernel clears the flag of a request that fails:
        // [`req_set_fail`](https://elixir.bootlin.com/linux/v6.12/source/io_uring/io_uring.h).
        && (end.ret < 0 || !is_quiet(request))
}

/// Completes an end with the fields that only its request has, if the request is known. The flag is whether the file was found in the
/// directory where the request looked.
pub(crate) fn join(end: &mut OpenRecord, request: Option<(&OpenRecord, bool)>) {
    // The probe determined [`NEAR`] at the completion. The directory where the path started at the request decides
    // instead.
    end.how_marks &= !NEAR;
    let Some((asked, near)) = request else { return };
    end.dirfd = asked.dirfd;
    (end.flags, end.mode, end.resolve) = (asked.flags, asked.mode, asked.resolve);
    // Only the end has whether the file was created.
    let created = end.how_marks & (CREATED | EXISTED);
    (end.uring, end.how_marks) = (asked.uring, asked.how_marks | created);
    (end.path_len, end.path_marks) = (asked.path_len, asked.path_marks);
    if near {
        end.how_marks |= NEAR;
    }
}

impl<'a> Open<'a> {
    fn parts(&self, uid: Uid, out: &mut impl Parts) {
        let access = names::access_letters(self.flags());
        out.part(if access == "r" { Role::Quiet } else { Role::Plain }, |out| {
            out.extend_from_slice(access.as_bytes());
            out.extend_from_slice(if access.len() == 1 { b"  " } else { b" " });
        });
        match self.is_unnamed() {
            true => out.part(Role::Plain, |out| out.extend_from_slice(b"\"\"")),
            false => out.path(Role::Plain, |out| self.file().write(out)),
        }
        if let Some(remark) = self.remark() {
            out.part(Role::Note, |out| out.extend_from_slice(remark.as_bytes()));
        }
        if let Some(euid) = self.euid().filter(|euid| *euid != uid.0) {
            out.part(Role::Note, |out| out.extend_from_slice(format!("  (euid {euid})").as_bytes()));
        }
    }

    /// The effective user id. `None` if it was not collected.
    pub fn euid(&self) -> Option<u32> {
        (self.record.has_euid != 0).then_some(self.record.euid)
    }

    pub fn file(&self) -> File<'a> {
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
    pub fn flags(&self) -> u64 {
        abi::generic_open_flags(self.record.abi, self.record.flags)
    }

    /// Whether the access mode permits to read the file, and to write it. With `O_PATH`, neither.
    pub fn access(&self) -> (bool, bool) {
        match self.flags() & names::O_ACCMODE {
            _ if self.flags() & names::O_PATH != 0 => (false, false),
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        }
    }

    pub(crate) fn has_mode(&self) -> bool {
        self.flags() & names::O_CREAT != 0 || self.is_tmpfile()
    }

    fn is_tmpfile(&self) -> bool {
        self.flags() & names::O_TMPFILE == names::O_TMPFILE
    }

    /// The path as passed, after the directory at which it starts.
    fn joined(&self) -> Value<'a> {
        match (self.record.path_marks, self.dir()) {
            (m, _) if m & mark::CUT != 0 => Value::Unknown(Why::Cut),
            _ if self.is_unnamed() => Value::Unknown(Why::Failed),
            (_, Value::Path(dir)) => Value::Joined(dir, self.path),
            (_, Value::Null) if self.record.via != via::OPEN_BY_HANDLE_AT => match self.root() {
                Some(root) => Value::Joined(root, self.path),
                None if self.root_unknown() => Value::Unknown(self.names.absent().unwrap_or(Why::NotCollected)),
                None => Value::Bytes(self.path),
            },
            (_, Value::Null) => Value::Unknown(Why::Failed),
            (_, unknown) => unknown,
        }
    }

    /// The remark after the path of the opened file: that it is deleted, or that the call created it.
    pub fn remark(&self) -> Option<&'static str> {
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
            // The probe examines every file that a call was asked to create.
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

/// A value read from `how` of openat2, or from a request of io_uring.
fn of_how<'a>(open: &Open<'a>, value: Value<'a>) -> Value<'a> {
    match open.record.how_marks {
        m if m & mark::FAULT != 0 => Value::Unknown(Why::Fault),
        m if m & UNKNOWN != 0 => Value::Unknown(Why::NotCollected),
        _ => value,
    }
}

pub(crate) const FIELDS: &[Field] = field_table! {
    path Text "Path as passed, read after the call." |s| open(s, |o| match o.record.path_marks {
        m if m & mark::FAULT != 0 => Value::Unread(Why::Fault),
        m if m & mark::NOT_COLLECTED != 0 => Value::Unread(Why::NotCollected),
        m if m & mark::CUT != 0 => Value::Cut(o.path),
        _ => Value::Bytes(o.path),
    }), with(props::LEAF | props::LACKS | props::BYTES);
    abs_path Text "Path of the opened file from the root of the caller's mount namespace: files->fdt->fd[ret]->f_path. Of a failed call: `dir` or the caller's root, then `path`."
        |s| open(s, |o| match o.names.absent() {
            _ if o.record.ret < 0 => o.joined(),
            Some(why) => Value::Unknown(why),
            None => Value::Path(o.names),
        }), with(props::LEAF | props::LACKS | props::BYTES);
    = DIR;
    = FS_PATH;
    = FS;
    = FILE;
    deleted Bool "Whether the opened file, or `dir`, was deleted: dentry.d_hash.pprev is null."
        |s| open(s, |o| Value::Bool((o.record.ret >= 0 || matches!(o.dir(), Value::Path(_))) && o.names.deleted()));
    created Bool "Whether the call created the file (FMODE_CREATED in f_mode); true with O_TMPFILE."
        |s| open(s, Open::created), with(props::LACKS | props::BYTES);
    root Text "Caller's root directory, if it is not /: fs->root." |s| open(s, |o| match o.root() {
        None if o.root_unknown() => Value::Unknown(o.names.absent().unwrap_or(Why::NotCollected)),
        root => root.map_or(Value::Null, Value::Path),
    }), with(props::LACKS | props::BYTES);
    dirfd Number "Directory descriptor as passed; −100 is AT_FDCWD." |s| open(s, |o| match o.record.how_marks & UNKNOWN {
        0 => Value::Int(o.record.dirfd.into()),
        _ => Value::Unknown(Why::NotCollected),
    }), with(props::LACKS);
    flags Text "Names of the flags as passed, access mode first."
        |s| open(s, |o| of_how(o, Value::Flags(o.flags()))), with(props::LACKS);
    flags_raw Number "Flags as passed, as a number."
        |s| open(s, |o| of_how(o, Value::Uint(o.record.flags))), with(props::LACKS | props::UNSIGNED);
    mode Number "Mode as passed; null without O_CREAT or O_TMPFILE."
        |s| open(s, |o| of_how(o, if o.has_mode() { Value::Uint(o.record.mode.into()) } else { Value::Null })), with(props::LACKS);
    resolve Number "how.resolve of openat2; null for other calls."
        |s| open(s, |o| of_how(o, if o.by_openat2() { Value::Uint(o.record.resolve) } else { Value::Null })), with(props::LACKS | props::UNSIGNED);
    ret Number "Descriptor, or −errno. Direct io_uring opens: the result of the completion."
        |s| open(s, |o| Value::Int(o.record.ret.into()));
    err Text "Name of the error; null on success." |s| open(s, |o| err_value(o.record.ret));
    via Text "System call: open openat openat2 creat open_by_handle_at io_uring other." |s| open(s, |o| {
        Value::Word(match o.record.via {
            via::OPEN => "open",
            via::OPENAT => "openat",
            via::OPENAT2 => "openat2",
            via::CREAT => "creat",
            via::OPEN_BY_HANDLE_AT => "open_by_handle_at",
            via::IO_URING => "io_uring",
            _ => "other",
        })
    });
    abi Text "System call table: x86_64 i386 x32 (thread_info.status, bit 30 of the number), aarch64 arm (thread_info.flags)."
        |s| open(s, |o| Value::Word(abi::word(o.record.abi)));
    euid User "Effective user id of the caller: cred->euid." |s| open(s, |o| euid_value(o.euid())), with(props::LACKS_LATER);
    = STACK;
};

#[cfg(test)]
mod tests {
    use super::*;
    use tracetui_shared::record::FileSystem;

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
    fn files_are_named_by_their_file_system_and_believed_if_asked_for() {
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
        // A file with other references counts if it has the path that was passed.
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
        // An empty path is quoted, and an unread one is not.
        for (path_marks, shown) in [(0, "r  \"\""), (mark::FAULT, "r  "), (mark::NOT_COLLECTED, "r  ")] {
            let record = OpenRecord { ret: -2, path_marks, ..OpenRecord::default() };
            let mut out = Vec::new();
            Open::decode(record.as_bytes()).expect("whole").parts(Uid(0), &mut out);
            assert_eq!(String::from_utf8(out).expect("UTF-8"), shown);
        }
    }
}
