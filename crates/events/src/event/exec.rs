//! `exec`: a program was started, or failed to start.

use super::asked::{Asked, FailedCall};
use super::describe::{Field, STACK, Value, Why, err_value, field, field_table, props};
use super::file_identity::{FILE, known};
use super::foreign_file::{CWD_FS, CWD_FS_PATH, FS, FS_PATH};
use super::open::{File, FileUse};
use super::parts::{Parts, Role};
use super::redact::{Redact, short};
use super::session::{LOGIN_UID, SESSION, TTY};
use super::start::{DIR, directory};
use super::stdio::{Descriptor, Others};
use super::{Body, Compared, Components, EventContext, Payload, Sections, Takes, exec, session, split, stdio};
use crate::environment::EnvChange;
use crate::frame::FrameRef;
use crate::text::command::{Arguments, Named, leaf, named};
use crate::text::paint::Look;
use crate::text::shell;
use std::mem::offset_of;
use tracetui_shared::record::exec::{BELOW, ExecChunk, ExecRecord, NO_ROOM, STDIO};
use tracetui_shared::record::identity::Identity;
use tracetui_shared::record::mark;
use tracetui_shared::record::session::Session;
use zerocopy::IntoBytes;

/// An `exec`, with its continuations joined.
#[derive(Clone, Copy, Debug)]
pub struct Exec<'a> {
    pub record: ExecRecord,
    pub filename: &'a [u8],
    /// The interpreter; empty if not a script.
    pub interp: &'a [u8],
    pub exe: Components<'a>,
    /// Of a failed exec: the directory of the descriptor at which its path starts.
    pub below: Option<Components<'a>>,
    pub cwd: Components<'a>,
    /// The records of stdin, stdout and stderr, and the names of their files.
    pub(super) stdio: [&'a [u8]; 2],
    /// The records of the other descriptors.
    pub fds: Others<'a>,
    /// The arguments, each followed by NUL.
    pub argv: &'a [u8],
    /// The environment ([`crate::environment`]); `None` if it is not in the record.
    pub env: Option<&'a [u8]>,
}

// A record that grows may have a new text: redact it too, then change its size here.
const _: () = assert!(size_of::<ExecRecord>() == 112);

impl<'a> Payload<'a> for Exec<'a> {
    fn decode(payload: &'a [u8]) -> Option<Exec<'a>> {
        let (record, mut parts) = Sections::fixed::<ExecRecord>(payload)?;
        let stdio = parts.next(record.stdio_len.into())?;
        let filename = parts.next(record.filename_len.into())?;
        let interp = parts.next(record.interp_len.into())?;
        let exe = Components::new(parts.next(record.exe_len.into())?, record.exe_marks);
        let below = (record.filename_marks & BELOW != 0).then_some(exe);
        let exe = if below.is_some() { Components::new(&[], 0) } else { exe };
        let cwd = Components::new(parts.next(record.cwd_len.into())?, record.cwd_marks);
        let stdio = [stdio, parts.next(stdio::names_len(stdio))?];
        let fds = Others(parts.next(record.fds_len as usize)?);
        let record = ExecRecord { session: session::with_terminal_name(record.session), ..record };
        let rest = parts.rest();
        let (argv, env) = match record.env_joined {
            0 => (rest, None),
            _ => {
                let (argv, env) = rest.split_at(rest.len().min(record.argv_len as usize));
                (argv, Some(env))
            }
        };
        Some(Exec { record, filename, interp, exe, below, cwd, stdio, fds, argv, env })
    }

    fn unwritten() -> Vec<Vec<u8>> {
        let record = ExecRecord {
            argc: u32::MAX,
            exe_marks: mark::NOT_COLLECTED,
            cwd_marks: mark::NOT_COLLECTED,
            argv_marks: mark::NOT_COLLECTED,
            filename_marks: mark::NOT_COLLECTED,
            env_marks: mark::NOT_COLLECTED,
            fds_marks: mark::NOT_COLLECTED.into(),
            ..ExecRecord::default()
        };
        vec![record.as_bytes().to_vec(), ExecChunk::default().as_bytes().to_vec()]
    }

    fn redact(payload: &[u8], with: &mut Redact) -> Option<Vec<u8>> {
        let exec = Exec::decode(payload)?;
        let (record, mut parts) = Sections::fixed::<ExecRecord>(payload)?;
        parts.next(record.stdio_len.into())?;
        let filename = short(with.below(exec.below.unwrap_or(exec.cwd), parts.next(record.filename_len.into())?));
        let interp = short(with.of(parts.next(record.interp_len.into())?));
        let exe = with.names_in(parts.next(record.exe_len.into())?, exec.below.unwrap_or(exec.exe));
        let cwd = with.names_in(parts.next(record.cwd_len.into())?, exec.cwd);
        let (stdio, files) = stdio::redacted(exec.stdio, with);
        let fds = exec.fds.redacted(with);
        let mut argv = exec.argv.to_vec();
        with.text(&mut argv);
        let resized = |length: u32| length.wrapping_sub(exec.argv.len() as u32).wrapping_add(argv.len() as u32);
        let record = ExecRecord {
            argv_total: resized(record.argv_total),
            argv_len: resized(record.argv_len),
            filename_len: filename.len() as u16,
            interp_len: interp.len() as u16,
            exe_len: exe.len() as u16,
            cwd_len: cwd.len() as u16,
            fds_len: fds.len() as u32,
            // The pipeline has taken it out.
            env_joined: 0,
            ..record
        };
        Some([record.as_bytes(), &stdio, &filename, &interp, &exe, &cwd, &files, &fds, &argv].concat())
    }

    const LOOK: Look = Look::Good;
    const COMPARED: Compared = Compared::ByRule;
    const TAKES: Takes = Takes::Program;
    const NOUN: &'static str = "exec";

    fn ret(&self) -> Option<i32> {
        Some(self.record.ret)
    }

    fn sought(&self) -> Option<&'a [u8]> {
        Some(self.filename)
    }

    fn file(&self) -> Option<File<'a>> {
        match self.record.ret == 0 && self.exe.is_known() {
            true => Some(File::Opened(self.exe)),
            false => Some(File::Asked(self.filename)),
        }
    }

    fn file_use(&self) -> Option<FileUse> {
        (self.record.ret == 0).then_some(FileUse { executed: true, ..FileUse::default() })
    }

    fn identity(&self) -> Option<Result<Identity, Why>> {
        Some(if self.failed() { Err(Why::Failed) } else { known(self.record.file).ok_or(Why::NotCollected) })
    }

    fn found(&self) -> Option<&Components<'a>> {
        Some(&self.exe)
    }

    fn cwd(&self) -> Option<&Components<'a>> {
        Some(&self.cwd)
    }

    fn asked(&self) -> Option<Asked<'a>> {
        let marks = self.record.filename_marks;
        let (call, path) = FailedCall::exec(self.filename);
        let path = Some(path).filter(|_| marks & mark::FAULT == 0);
        let ids = (Some(self.record.euid), Some(self.record.egid));
        Some(Asked { ids, ..Asked::new(call, path, marks & mark::CUT != 0, self.dir()) })
    }

    fn dir(&self) -> Value<'a> {
        match self.below {
            _ if self.record.ret >= 0 => Value::Null,
            _ if self.record.filename_marks & mark::FAULT != 0 => Value::Unknown(Why::Fault),
            Some(below) => directory(below),
            None if self.filename.starts_with(b"/") => Value::Null,
            None => directory(self.cwd),
        }
    }

    /// Whether arguments or the end of the file name are missing, or any text that did not fit into the ring.
    fn cut(&self) -> bool {
        self.shows_less() || self.record.env_marks & NO_ROOM != 0
    }

    fn detail(&self, _: &EventContext<'_>, out: &mut Vec<u8>) {
        if self.argv.is_empty() {
            out.extend_from_slice(self.filename);
        } else if self.failed() && !self.filename.is_empty() {
            // The attempted path: execvp(3) tries one per directory of PATH for the same command.
            let rest = self.argv.iter().position(|byte| *byte == 0).map_or(&[][..], |nul| &self.argv[nul + 1..]);
            shell::words(&[self.filename, b"\0", rest].concat(), out);
        } else {
            shell::words(self.argv, out);
        }
        if self.shows_less() {
            out.extend_from_slice(b" ...");
        }
    }

    /// The name of the command. If the exec failed, the path and all arguments.
    fn show(&self, _: &EventContext<'_>, out: &mut impl Parts) {
        let words: Vec<_> = shell::args(self.argv).collect();
        let (first, path) = (words.first().copied().unwrap_or_default(), self.filename);
        match self.failed() && !path.is_empty() {
            true => {
                let arguments = Arguments::All(words.get(1..).unwrap_or_default().to_vec());
                out.command(&Named { program: path, script: None, arguments }, usize::MAX);
            }
            false => out.command(&named(&words, path), usize::MAX),
        }
        // A program can be called by any name.
        if self.interp.is_empty() && !words.is_empty() && !path.is_empty() && leaf(first) != leaf(path) {
            let other = if self.failed() { first } else { leaf(path) };
            out.part(Role::Quiet, |out| out.extend_from_slice(&[b" (", other, b")"].concat()));
        }
        if self.shows_less() {
            out.part(Role::Note, |out| out.extend_from_slice(b" ..."));
        }
    }

    fn session(&self) -> Option<&Session> {
        Some(&self.record.session)
    }

    // The process table has applied the environment.
    fn shortened(&self, frame: &FrameRef<'_>) -> Option<Vec<u8>> {
        let (env, (record, _)) = (self.env?, split(frame)?);
        let mut payload = frame.payload.to_vec();
        payload.drain(record.len() - env.len()..record.len());
        payload[offset_of!(ExecRecord, env_joined)] = 0;
        Some(payload)
    }

    fn title(&self, _: &EventContext<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"exec ");
        out.extend_from_slice(self.filename);
        if self.failed() {
            out.push(b' ');
            self.result(out);
        }
    }
}

impl Exec<'_> {
    /// What it changed in the environment.
    pub(crate) fn change<'p>(&self, seen: &EventContext<'p>) -> Option<&'p EnvChange> {
        // A failed exec whose environment was read has a process of its own, with the change that it asked for.
        let read = self.record.ret >= 0 || self.record.env_marks & mark::NOT_COLLECTED == 0;
        seen.process.filter(|_| read)?.image.env.as_deref()
    }

    /// Whether the shown command is not whole. The environment may be.
    pub fn shows_less(&self) -> bool {
        let marks = self.record.filename_marks & mark::CUT | self.record.argv_marks & NO_ROOM;
        marks != 0 || self.argv_cut()
    }

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

fn names_value(names: Components<'_>, len: usize, failed: bool) -> Value<'_> {
    match names.absent() {
        Some(why) => Value::Unknown(why),
        None if failed && len == 0 => Value::Unknown(Why::Failed),
        None if len == 0 && names.marks & mark::PSEUDO != 0 => Value::Unknown(Why::NoField),
        None => Value::Path(names),
    }
}

pub(crate) const FIELDS: &[Field] = field_table! {
    filename Text "Path as passed: linux_binprm.filename." |s| exec(s, |e| match e.record.filename_marks {
        m if m & mark::FAULT != 0 => Value::Unread(Why::Fault),
        m if m & mark::CUT != 0 => Value::Cut(e.filename),
        _ => Value::Bytes(e.filename),
    }), with(props::LEAF | props::LACKS | props::BYTES);
    exe Text "Absolute path of the executed file: mm->exe_file."
        |s| exec(s, |e| names_value(e.exe, e.exe.bytes.len(), e.record.ret < 0)), with(props::PROGRAM | props::LEAF | props::LACKS | props::BYTES);
    = DIR;
    = FS_PATH;
    = FS;
    = FILE;
    exe_deleted Bool "Whether the executed file, or the descriptor's directory in `dir`, was deleted: dentry.d_hash.pprev is null."
        |s| exec(s, |e| Value::Bool(e.below.unwrap_or(e.exe).deleted()));
    interp Text "Interpreter of a script: linux_binprm.interp; null for other files." |s| exec(s, |e| match e.interp {
        [] if e.record.filename_marks & mark::NOT_COLLECTED != 0 => Value::Unknown(Why::NotCollected),
        [] => Value::Null,
        interp => Value::Bytes(interp),
    }), with(props::LACKS | props::BYTES);
    script Text "File of a script passed as a descriptor, /dev/fd/N or /proc/self/fd/N: files_struct.fdt->fd[N]; else null."
        |s| exec(s, |e| e.script().map_or(Value::Null, |script| script.path_value())), with(props::LEAF | props::BYTES | props::LATER);
    argv List "Arguments: mm->arg_start..arg_end." |s| exec(s, |e| match e.record.argv_marks & mark::FAULT {
        0 => Value::Args(e.argv),
        _ => Value::SomeArgs(e.argv, Why::Fault),
    }), with(props::PROGRAM | props::LACKS | props::BYTES);
    argc Number "Number of arguments: linux_binprm.argc." |s| exec(s, |e| {
        e.argc().map_or(Value::Unknown(if e.record.ret < 0 { Why::Cut } else { Why::NoField }), |n| {
            Value::Uint(n.into())
        })
    }), with(props::LACKS);
    cut Bool "Whether argv or filename is truncated." |s| exec(s, |e| Value::Bool(e.cut()));
    cwd Text "Working directory: fs->pwd."
        |s| exec(s, |e| names_value(e.cwd, e.record.cwd_len.into(), false)), with(props::PROGRAM | props::LACKS | props::BYTES);
    = CWD_FS_PATH;
    = CWD_FS;
    cwd_deleted Bool "Whether this directory was deleted." |s| exec(s, |e| Value::Bool(e.cwd.deleted()));
    ret Number "0, or −errno of the system call." |s| exec(s, |e| Value::Int(e.record.ret.into()));
    err Text "Name of the error; null on success." |s| exec(s, |e| err_value(e.record.ret));
    old_tid Number "Calling thread, if not the group leader: old_pid of sched_process_exec."
        |s| exec(s, |e| if e.record.old_tid == 0 { Value::Null } else { Value::Uint(e.record.old_tid.into()) });
    euid User "Effective user id after the exec: cred->euid." |s| exec(s, |e| Value::Uint(e.record.euid.into()));
    egid Group "Effective group id after the exec: cred->egid." |s| exec(s, |e| Value::Uint(e.record.egid.into()));
    = STDIN;
    = STDOUT;
    = STDERR;
    fds List "With --fds, the other open descriptors below 64 as in a shell: 3</etc/hosts."
        |s| exec(s, |e| match (e.record.fds_marks, s.process) {
            (marks, _) if marks & u32::from(mark::NOT_COLLECTED) != 0 => Value::Omitted,
            (_, None) => Value::Omitted,
            (0, Some(process)) => Value::Args(&process.image.fds),
            (_, Some(process)) => Value::SomeArgs(&process.image.fds, Why::Cut),
        }), with(props::PROGRAM | props::LACKS | props::BYTES | props::LATER);
    = TTY;
    = SESSION;
    = LOGIN_UID;
    = STACK;
    = ENV;
};

/// The change of the environment by an exec.
fn of_env<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a EnvChange) -> Value<'a>) -> Value<'a> {
    exec(seen, |exec| match exec.change(seen) {
        Some(env) => get(env),
        None => env_why(seen).map_or(Value::Omitted, Value::Unknown),
    })
}

/// Why the environment, or a part of it, is missing.
fn env_why(seen: &EventContext<'_>) -> Option<Why> {
    let Body::Exec(exec) = &seen.event.body else { return None };
    match exec.record.env_marks {
        0 => None,
        marks if marks & mark::NOT_COLLECTED != 0 => Some(Why::NotCollected),
        marks if marks & mark::FAULT != 0 => Some(Why::Fault),
        _ => Some(Why::Cut),
    }
}

pub(crate) const ENV: Field = field! {
    env Object "What changed in the environment (mm->env_start..env_end; failed: envp) since the process's previous program or, without one, its parent."
        |s| of_env(s, |_| Value::Object), made_of(ENV_FIELDS), with(props::PROGRAM | props::LACKS | props::LATER)
};

const ENV_FIELDS: &[Field] = field_table! {
    set List "Names of new variables. With --env all, new and changed ones as NAME=VALUE; with diff, only harmless ones have values, the others are NAME=…. A string without a name is …, except with all. A repeated name lists all its variables. If the earlier environment is unknown (COMMAND, or an exec that the filter dropped), all variables."
        |s| of_env(s, |env| env_why(s).map_or(Value::Args(&env.set), |why| Value::SomeArgs(&env.set, why))),
        with(props::LACKS | props::BYTES | props::LATER);
    unset List "Names of removed variables." |s| of_env(s, |env| match env.known {
        true => Value::Args(&env.unset),
        false => Value::Unknown(env_why(s).unwrap_or(Why::NotCollected)),
    }), with(props::LACKS | props::BYTES | props::LATER);
    count Number "Number of variables, without empty strings."
        |s| of_env(s, |env| env_why(s).map_or(Value::Uint(env.count.into()), Value::Unknown)), with(props::LACKS | props::LATER);
};

impl<'a> Exec<'a> {
    /// The file of a script that was passed as a descriptor.
    fn script(&self) -> Option<Descriptor<'a>> {
        let passed = [b"/dev/fd/".as_slice(), b"/proc/self/fd/"];
        let number = passed.iter().find_map(|directory| self.filename.strip_prefix(*directory))?;
        let number = str::from_utf8(number).ok()?.parse().ok().filter(|_| !self.interp.is_empty())?;
        let other = || self.fds.each().find(|(its, _)| *its == number).map(|(_, file)| file);
        if number < STDIO { self.descriptor(number) } else { other() }
    }

    /// stdin (0), stdout (1) or stderr (2). `None` if it is unknown.
    pub fn descriptor(&self, number: usize) -> Option<Descriptor<'a>> {
        stdio::descriptor(self.stdio, number)
    }
}

fn of<'a>(seen: &EventContext<'a>, number: usize, get: impl FnOnce(&Descriptor<'a>) -> Value<'a>) -> Value<'a> {
    exec(seen, |exec| match exec.descriptor(number) {
        Some(descriptor) => get(&descriptor),
        None if exec.record.ret < 0 => Value::Unknown(Why::Failed),
        None => Value::Unknown(Why::NotCollected),
    })
}

macro_rules! descriptor {
    ($name:ident, $number:literal, $doc:literal, [$type:literal, $path:literal, $ino:literal, $peer:literal, $peer_ino:literal]) => {
        field! {
            $name Object $doc |s| of(s, $number, |_| Value::Object),
                made_of(field_table! {
                    type Text $type |s| of(s, $number, |of| Value::Word(of.kind().word())), with(props::LATER);
                    path Text $path |s| of(s, $number, Descriptor::path_value), with(props::LACKS | props::BYTES | props::LATER);
                    ino Number $ino |s| of(s, $number, |of| of.ino().map_or(Value::Null, Value::Uint)), with(props::LATER);
                    peer Text $peer |s| of(s, $number, Descriptor::peer_value), with(props::BYTES | props::LATER);
                    peer_ino Number $peer_ino
                        |s| of(s, $number, |of| of.peer_ino().map_or(Value::Null, Value::Uint)), with(props::LATER);
                }),
                with(props::PROGRAM | props::LACKS | props::LATER)
        }
    };
}

const _: () = assert!(tracetui_shared::record::exec::STDIO == 3);

pub(crate) const STDIN: Field = descriptor!(
    stdin,
    0,
    "Descriptor 0 of the new program: files_struct.fdt->fd[0]; unknown for a failed exec.",
    [
        "file (regular) pipe tty socket null (/dev/null) closed other: inode.i_mode and i_rdev.",
        "Absolute path: file.f_path; null for a pipe without a name and a socket.",
        "Inode of a pipe or socket: inode.i_ino, the same at both ends of a pipe.",
        "Peer of a socket: an address and port, unix:PATH or abstract:NAME (unix_sock.addr).",
        "Inode of the peer of a Unix socket."
    ]
);
pub(crate) const STDOUT: Field = descriptor!(
    stdout,
    1,
    "The same as `stdin`, for descriptor 1.",
    ["As stdin.type.", "As stdin.path.", "As stdin.ino.", "As stdin.peer.", "As stdin.peer_ino."]
);
pub(crate) const STDERR: Field = descriptor!(
    stderr,
    2,
    "The same as `stdin`, for descriptor 2.",
    ["As stdin.type.", "As stdin.path.", "As stdin.ino.", "As stdin.peer.", "As stdin.peer_ino."]
);
