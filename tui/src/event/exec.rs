//! `exec`: a program was started, or failed to start.

use super::describe::{Field, Shape, Value, Why, err_value};
use super::inside::{CWD_FS, CWD_FS_PATH, FS, FS_PATH};
use super::stack::STACK;
use super::{Body, Components, EventContext, Parts, Payload, names};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::record::exec::{ExecRecord, NO_ROOM};
use tracetui_shared::record::mark;

/// An `exec`, its continuations put together.
#[derive(Clone, Copy, Debug)]
pub struct Exec<'a> {
    /// The fixed part.
    pub record: ExecRecord,
    /// The path as passed.
    pub filename: &'a [u8],
    /// The interpreter; empty if not a script.
    pub interp: &'a [u8],
    /// The executed file.
    pub exe: Components<'a>,
    /// The working directory.
    pub cwd: Components<'a>,
    /// The arguments, each followed by NUL.
    pub argv: &'a [u8],
}

impl<'a> Payload<'a> for Exec<'a> {
    fn decode(payload: &'a [u8]) -> Option<Exec<'a>> {
        let (record, mut parts) = Parts::fixed::<ExecRecord>(payload)?;
        let filename = parts.next(record.filename_len.into())?;
        let interp = parts.next(record.interp_len.into())?;
        let exe = Components::new(parts.next(record.exe_len.into())?, record.exe_marks);
        let cwd = Components::new(parts.next(record.cwd_len.into())?, record.cwd_marks);
        Some(Exec { record, filename, interp, exe, cwd, argv: parts.rest() })
    }

    fn failed(&self) -> bool {
        self.record.ret < 0
    }

    /// Whether arguments or the end of the file name are missing, or any text that did not fit into the ring.
    fn cut(&self) -> bool {
        self.record.filename_marks & mark::CUT != 0 || self.record.argv_marks & NO_ROOM != 0 || self.argv_cut()
    }

    fn result(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(names::err(self.record.ret).unwrap_or("ok").as_bytes());
    }

    fn detail(&self, _: &FrameHeader, out: &mut Vec<u8>) {
        if self.argv.is_empty() {
            out.extend_from_slice(self.filename);
        } else if self.failed() && !self.filename.is_empty() {
            // The path that was tried: execvp(3) tries one per directory of PATH for the same command.
            let rest = self.argv.iter().position(|byte| *byte == 0).map_or(&[][..], |nul| &self.argv[nul + 1..]);
            let tried = [self.filename, b"\0", rest].concat();
            out.extend_from_slice(&Value::Args(&tried).text().unwrap_or_default());
        } else {
            out.extend_from_slice(&Value::Args(self.argv).text().unwrap_or_default());
        }
        if self.cut() {
            out.extend_from_slice(b" ...");
        }
    }
}

impl Exec<'_> {
    fn argv_cut(&self) -> bool {
        (self.argv.len() as u32) < self.record.argv_total || self.record.argv_marks & (mark::CUT | mark::FAULT) != 0
    }

    /// The number of arguments; `None` if unknown.
    pub fn argc(&self) -> Option<u32> {
        match self.record.argc {
            u32::MAX if self.argv_cut() => None,
            u32::MAX => Some(super::describe::args(self.argv).count() as u32),
            argc => Some(argc),
        }
    }
}

fn exec<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Exec<'a>) -> Value<'a>) -> Value<'a> {
    match &seen.event.body {
        Body::Exec(exec) => get(exec),
        _ => Value::Null,
    }
}

fn names_value(names: Components<'_>, len: u16, failed: bool) -> Value<'_> {
    match names.absent() {
        Some(why) => Value::Unknown(why),
        None if failed && len == 0 => Value::Unknown(Why::Failed),
        None if len == 0 && names.marks & mark::PSEUDO != 0 => Value::Unknown(Why::NoField),
        None => Value::Path(names),
    }
}

/// The fields of an `exec` event beside the common fields.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("filename", Shape::Text, "The path as passed: linux_binprm.filename.", |s| {
        exec(s, |e| match e.record.filename_marks {
            m if m & mark::FAULT != 0 => Value::Unread(Why::Fault),
            m if m & mark::CUT != 0 => Value::Cut(e.filename),
            _ => Value::Bytes(e.filename),
        })
    }),
    Field::new("exe", Shape::Text, "The absolute path of the executed file: mm->exe_file.", |s| {
        exec(s, |e| names_value(e.exe, e.record.exe_len, e.record.ret < 0))
    }),
    FS_PATH,
    FS,
    Field::new("exe_deleted", Shape::Bool, "Whether this file was deleted: dentry.d_hash.pprev is null.", |s| {
        exec(s, |e| Value::Bool(e.exe.deleted()))
    }),
    Field::new("interp", Shape::Text, "The interpreter of a script: linux_binprm.interp; null for other files.", |s| {
        exec(s, |e| match e.interp {
            [] if e.record.filename_marks & mark::NOT_COLLECTED != 0 => Value::Unknown(Why::NotCollected),
            [] => Value::Null,
            interp => Value::Bytes(interp),
        })
    }),
    Field::new("argv", Shape::List, "The arguments: mm->arg_start..arg_end.", |s| {
        exec(s, |e| match e.record.argv_marks & mark::FAULT {
            0 => Value::Args(e.argv),
            _ => Value::SomeArgs(e.argv, Why::Fault),
        })
    }),
    Field::new("argc", Shape::Number, "The number of arguments: linux_binprm.argc.", |s| {
        exec(s, |e| {
            e.argc().map_or(Value::Unknown(if e.record.ret < 0 { Why::Cut } else { Why::NoField }), |n| {
                Value::Uint(n.into())
            })
        })
    }),
    Field::new("cut", Shape::Bool, "Whether argv or filename is truncated.", |s| exec(s, |e| Value::Bool(e.cut()))),
    Field::new("cwd", Shape::Text, "The working directory: fs->pwd.", |s| {
        exec(s, |e| names_value(e.cwd, e.record.cwd_len, false))
    }),
    CWD_FS_PATH,
    CWD_FS,
    Field::new("cwd_deleted", Shape::Bool, "Whether this directory was deleted.", |s| {
        exec(s, |e| Value::Bool(e.cwd.deleted()))
    }),
    Field::new("ret", Shape::Number, "0, or −errno of the system call.", |s| {
        exec(s, |e| Value::Int(e.record.ret.into()))
    }),
    Field::new("err", Shape::Text, "The name of the error; null on success.", |s| exec(s, |e| err_value(e.record.ret))),
    Field::new(
        "old_tid",
        Shape::Number,
        "The id of the calling thread, if it was not the group leader: old_pid of sched_process_exec.",
        |s| exec(s, |e| if e.record.old_tid == 0 { Value::Null } else { Value::Uint(e.record.old_tid.into()) }),
    ),
    Field::new("euid", Shape::User, "The effective user id after the exec: cred->euid.", |s| {
        exec(s, |e| Value::Uint(e.record.euid.into()))
    }),
    Field::new("egid", Shape::Group, "The effective group id after the exec: cred->egid.", |s| {
        exec(s, |e| Value::Uint(e.record.egid.into()))
    }),
    STACK,
];
