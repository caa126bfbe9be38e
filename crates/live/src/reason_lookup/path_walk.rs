//! The walk over a path and the checks at its end, in the order of the kernel
//! ([fs/namei.c](https://elixir.bootlin.com/linux/v6.12/source/fs/namei.c)).

mod file_rules;
mod program;

use super::Refusal;
use super::file_node::{APPEND_ONLY, FileNode, IMMUTABLE, mounted};
use super::subject::Subject;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::time::{Duration, Instant};
use tracetui_events::event::names::{O_ACCMODE, O_CREAT, O_EXCL, O_PATH, O_TMPFILE};
use tracetui_events::text::without_codes;
use tracetui_events::why::access::{EXECUTE, READ, Verdict, WRITE};
use tracetui_events::why::image::{Elf, FileHead, Interpreter, image, machine};
use tracetui_events::why::{Cause, FailedCall, NAME_MAX, Need, Question, error_text};
use tracetui_host::machine::Uname;
use tracetui_host::users::AccountNames;

/// The maximum number of links that the kernel follows in a path: `MAXSYMLINKS`.
const LINKS: usize = 40;

/// The maximum number of nested interpreters that the kernel follows.
const SCRIPTS: u32 = 5;

/// The maximum number of names looked up, in a path and in the links on it.
const STEPS: u32 = 4096;

/// The maximum time of a lookup. A call that hangs takes longer.
const LONGEST: Duration = Duration::from_secs(1);

const O_TRUNC: u64 = 0o1000;
const O_DIRECTORY: u64 = 0o200_000;
const O_NOFOLLOW: u64 = 0o400_000;

const CAP_FOWNER: u64 = 1 << 3;

/// `how.resolve` of openat2
/// ([openat2.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/openat2.h)).
mod resolve {
    pub(super) const NO_SYMLINKS: u64 = 4;
    pub(super) const IN_ROOT: u64 = 16;
}

#[derive(Debug)]
pub(super) enum Stop {
    Refused(Box<Refusal>),
    Unsure(Vec<u8>),
}

type Walked<T> = Result<T, Stop>;

fn refuse<T>(refusal: Refusal) -> Walked<T> {
    Err(Stop::Refused(Box::new(refusal)))
}

fn unsure<T>(parts: &[&[u8]]) -> Walked<T> {
    Err(Stop::Unsure(parts.concat()))
}

const CREATE: &str = "create files in it";

#[derive(Clone, Copy)]
struct Last {
    follow: bool,
    create: bool,
}

struct End {
    /// The directory of the last name. `None` if the path ends at a directory without one.
    parent: Option<FileNode>,
    /// The file. `None` if it does not exist and would be created.
    node: Option<FileNode>,
}

/// A name that is still to be looked up, with the link that it comes from.
struct PendingName {
    name: Vec<u8>,
    link: Option<usize>,
}

struct Link {
    path: Vec<u8>,
    target: Vec<u8>,
}

pub(super) struct Walk<'a> {
    question: &'a Question,
    subject: &'a Subject,
    names: &'a AccountNames,
    steps: u32,
    begun: Instant,
    /// A check with an unknown result, which may be the one that refused.
    doubt: Option<Vec<u8>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        question: &'a Question,
        subject: &'a Subject,
        names: &'a AccountNames,
        begun: Instant,
    ) -> Walk<'a> {
        Walk { question, subject, names, steps: 0, begun, doubt: None }
    }

    /// All refusals at the end of the path, or the refusal of an earlier step.
    pub(super) fn run(mut self) -> Walked<Vec<Refusal>> {
        let FailedCall { dirfd, follow, need } = self.question.call;
        let refusals = match need {
            Need::Program => self.program(&self.question.path, dirfd, 0)?,
            Need::Flags { flags, resolve } => self.open(flags, resolve, dirfd)?,
            need => self.path(dirfd, follow, need)?,
        };
        let explained = refusals.iter().any(|refusal| refusal.errno == self.question.errno);
        match self.doubt.filter(|_| !explained) {
            Some(doubt) => Err(Stop::Unsure(doubt)),
            None => Ok(refusals),
        }
    }

    fn root(&self) -> Walked<FileNode> {
        self.of_process("root", b"/".to_vec())
    }

    fn of_process(&self, name: &str, shown: Vec<u8>) -> Walked<FileNode> {
        let node = FileNode::of_process(&format!("{}/{name}", self.subject.dir), shown);
        node.or_else(|error| {
            unsure(&[
                b"cannot open ",
                name.as_bytes(),
                b" of the process: ",
                without_codes(&error.to_string()).as_bytes(),
            ])
        })
    }

    fn start(&mut self, path: &[u8], dirfd: i32) -> Walked<FileNode> {
        if path.starts_with(b"/") {
            return self.root();
        }
        if path.is_empty() {
            return unsure(&[b"the file is that of a descriptor"]);
        }
        let Some(dir) = &self.question.start else { return unsure(&[b"its directory at the call is unknown"]) };
        // The process was in this directory, so the directories above it do not matter.
        let mut node = self.root()?;
        for name in dir.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            self.step()?;
            node = match node.child(name) {
                Ok(next) if next.is_dir() => next,
                Ok(next) if dirfd != libc::AT_FDCWD => return not_at(dirfd, &next),
                _ => return unsure(&[b"its directory ", dir, b" no longer exists"]),
            };
        }
        match node.links {
            0 => {
                let text = [b"the working directory ", node.path.as_slice(), b" was deleted"].concat();
                refuse(Refusal::new(libc::ENOENT, Cause::Missing, &node.path, text))
            }
            _ => Ok(node),
        }
    }

    fn step(&mut self) -> Walked<()> {
        self.steps += 1;
        match self.steps > STEPS || self.begun.elapsed() > LONGEST {
            true => unsure(&[b"looking up the path takes too long"]),
            false => Ok(()),
        }
    }

    fn walk(&mut self, start: FileNode, path: &[u8], last: Last) -> Walked<End> {
        let root = self.root()?;
        let mut dirs = vec![start];
        let mut links: Vec<Link> = Vec::new();
        let mut parts = parts(path, None);
        let mut slash = path.ends_with(b"/");
        while let Some(part) = parts.pop() {
            self.step()?;
            let Some(dir) = dirs.last() else { break };
            self.search(dir)?;
            match part.name.as_slice() {
                b"." => continue,
                b".." if dirs.len() > 1 => {
                    dirs.pop();
                    continue;
                }
                b".." if dir.is(&root) => continue,
                b".." => {
                    let above = dir.child(b"..").or_else(|error| failed(dir, &error))?;
                    dirs = vec![above];
                    continue;
                }
                _ => {}
            }
            if dir.mounts_on_demand() {
                return unsure(&[&dir.path, b" is an automount point, which a lookup does not enter"]);
            }
            let node = match dir.child(&part.name) {
                Ok(node) => node,
                Err(Errno::NOENT) if parts.is_empty() && last.create && !slash => {
                    let errno = self.question.errno;
                    // Some file systems of this kind report a missing file, others a permission.
                    return match dir.creates_no_files() && errno != libc::EROFS {
                        true => refuse(Refusal {
                            errno: if matches!(errno, libc::EACCES | libc::EPERM) { errno } else { libc::ENOENT },
                            ..missing(dir, &part, "no ", "; this file system creates no files", &links)
                        }),
                        false => Ok(End { parent: dirs.pop(), node: None }),
                    };
                }
                Err(Errno::NOENT) => {
                    let no = if parts.is_empty() { "no " } else { "no directory " };
                    return refuse(missing(dir, &part, no, "", &links));
                }
                Err(Errno::NAMETOOLONG) => return refuse(too_long(dir, &part)),
                Err(error) => {
                    return unsure(&[&dir.path, b": ", &part.name, b": ", error_text(error.raw_os_error()).as_bytes()]);
                }
            };
            if node.kind().is_symlink() {
                if parts.is_empty() && !last.follow && !slash {
                    return Ok(End { parent: dirs.pop(), node: Some(node) });
                }
                let target = self.follow(dir, &node, &part)?;
                if links.len() >= LINKS {
                    return refuse(endless(&links));
                }
                slash |= parts.is_empty() && target.ends_with(b"/");
                if target.starts_with(b"/") {
                    dirs = vec![root.try_clone().or_else(|error| failed(&root, &error))?];
                }
                let link = part.link.unwrap_or(links.len());
                links.push(Link { path: node.path.clone(), target: target.clone() });
                parts.extend(self::parts(&target, Some(link)));
            } else if node.is_dir() {
                dirs.push(node);
            } else if parts.is_empty() && !slash {
                return Ok(End { parent: dirs.pop(), node: Some(node) });
            } else {
                return refuse(not_a_directory(&node));
            }
        }
        let node = dirs.pop();
        Ok(End { parent: dirs.pop(), node })
    }

    /// Checks whether the process may look up names in a directory.
    fn search(&mut self, dir: &FileNode) -> Walked<()> {
        let verdict = dir.rights.allow(EXECUTE, &self.subject.credentials);
        if verdict == Verdict::Granted || self.question.errno != libc::EACCES {
            return Ok(());
        }
        if verdict == Verdict::Unknown || dir.has_own_rules() {
            return unsure(&[&dir.path, b": ", self.owned(dir).as_bytes(), b"; search permission unknown"]);
        }
        refuse(self.refused(dir, Cause::NoSearchPermission, "search it"))
    }

    /// The mode and the owner as text: `mode 0700, owner root:root`.
    fn owned(&self, node: &FileNode) -> String {
        let FileNode { rights, .. } = node;
        let (user, group) = (self.names.user(rights.uid), self.names.group(rights.gid));
        format!("{}, owner {user}:{group}", rights.text())
    }

    /// The refusal by a mode: `/root: mode 0700, owner root:root; user nobody may not search it`.
    fn refused(&self, node: &FileNode, cause: Cause, what: &str) -> Refusal {
        let who = self.names.user(self.subject.credentials.uid);
        let text = format!(": {}; user {who} may not {what}", self.owned(node));
        Refusal::at(&node.path, libc::EACCES, cause, &text)
    }

    /// The target of a link, if the process may follow it.
    fn follow(&self, dir: &FileNode, link: &FileNode, part: &PendingName) -> Walked<Vec<u8>> {
        let resolve = if let Need::Flags { resolve, .. } = self.question.call.need { resolve } else { 0 };
        let refused = |why: &str| {
            refuse(Refusal::at(&link.path, libc::ELOOP, Cause::Loop, &format!(" is a symbolic link; {why}")))
        };
        if resolve & resolve::NO_SYMLINKS != 0 {
            return refused("RESOLVE_NO_SYMLINKS forbids these");
        }
        if link.is_on(mounted::NOSYMFOLLOW) {
            return refused("its mount does not follow these (nosymfollow)");
        }
        let target = match (link.is_of_proc(), part.name.as_slice()) {
            (true, b"self") if dir.is_proc() => self.own_id()?,
            (true, b"mounts" | b"net") if dir.is_proc() => link.target().or_else(|error| failed(link, &error))?,
            (true, _) => {
                return unsure(&[&link.path, b" is a magic link to an object of the process, and is not followed"]);
            }
            _ => link.target().or_else(|error| failed(link, &error))?,
        };
        match target.is_empty() {
            true => refuse(Refusal::at(&link.path, libc::ENOENT, Cause::DanglingLink, " is an empty symbolic link")),
            false => Ok(target),
        }
    }

    /// The target of /proc/self, as the process sees it.
    fn own_id(&self) -> Walked<Vec<u8>> {
        let id = self.question.process.key.tgid;
        match self.subject.own && self.question.ns_pid == id {
            true => Ok(id.0.to_string().into_bytes()),
            false => unsure(&[b"/proc/self of a process that ended, or of another pid namespace"]),
        }
    }

    fn open(&mut self, flags: u64, how: u64, dirfd: i32) -> Walked<Vec<Refusal>> {
        if how & resolve::IN_ROOT != 0 || self.question.errno == libc::EXDEV {
            return unsure(&[b"openat2 restricted the lookup to a directory (how.resolve)"]);
        }
        let only_path = flags & O_PATH != 0;
        let flags = if only_path { flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW) } else { flags };
        let temporary = flags & O_TMPFILE == O_TMPFILE;
        let create = flags & O_CREAT != 0 && !temporary;
        let last = Last { follow: flags & O_NOFOLLOW == 0 && !(create && flags & O_EXCL != 0), create };
        let path = self.question.path.clone();
        let start = self.start(&path, dirfd)?;
        let end = self.walk(start, &path, last)?;
        match (end.node, end.parent) {
            (Some(node), parent) if temporary => Ok(self.create(&node, parent.is_none() && !node.is_dir(), CREATE)),
            (Some(node), _) => Ok(self.open_node(&node, flags)),
            (None, Some(dir)) => Ok(self.create(&dir, false, CREATE)),
            (None, None) => unsure(&[b"the path has no final component"]),
        }
    }

    fn path(&mut self, dirfd: i32, follow: bool, need: Need) -> Walked<Vec<Refusal>> {
        let mut path = self.question.path.clone();
        let (creates, changes) = (need == Need::New, matches!(need, Need::New | Need::Removable));
        while creates && path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        let start = self.start(&path, dirfd)?;
        let last = Last { follow: follow && !changes, create: creates };
        let mut found = self.walk(start, &path, last);
        if let Err(Stop::Refused(missing)) = &mut found
            && need == Need::Socket
            && missing.errno == libc::ENOENT
            && let Some(other) = self.subject.other_socket(&path)
            && self
                .walk(self.root()?, &other, last)
                .is_ok_and(|end| end.node.is_some_and(|node| node.kind().is_socket()))
        {
            missing.text.extend_from_slice(&[b"; a socket of this name is ", other.as_slice()].concat());
        }
        let End { parent, node } = found?;
        let mut out =
            parent.as_ref().filter(|_| changes).map(|dir| self.change(dir, node.as_ref(), creates)).unwrap_or_default();
        let Some(node) = node else { return Ok(out) };
        match need {
            // A rename replaces it.
            Need::New if self.question.errno != libc::EEXIST => {}
            Need::New => out.insert(0, Refusal::at(&node.path, libc::EEXIST, Cause::Exists, " exists")),
            Need::Access(want) if want & WRITE != 0 && node.kind().is_dir() && self.question.errno == libc::EISDIR => {
                out.push(Refusal::at(&node.path, libc::EISDIR, Cause::IsADirectory, " is a directory"));
            }
            Need::Access(want) => {
                if want & WRITE != 0 {
                    out.extend(self.read_only(&node));
                    out.extend((node.attributes & (IMMUTABLE | APPEND_ONLY) != 0).then(|| immutable(&node)));
                }
                if want == EXECUTE && !node.is_dir() && self.question.errno == libc::ENOTDIR {
                    out.push(not_a_directory(&node));
                }
                if want == EXECUTE && node.is_dir() {
                    self.search(&node)?;
                } else if want != 0 {
                    self.use_of(&node, want, &mut out);
                }
            }
            Need::Socket => {
                self.use_of(&node, WRITE, &mut out);
                let is_socket = node.kind().is_socket();
                if !is_socket || self.question.errno == libc::ECONNREFUSED {
                    let text = if is_socket { " exists, but nothing listened on it" } else { " is no socket" };
                    out.push(Refusal::at(&node.path, libc::ECONNREFUSED, Cause::NothingListens, text));
                }
            }
            Need::Removable | Need::AbstractSocket | Need::Program | Need::Flags { .. } => {}
            Need::Linkable => out.extend(self.link(&node)),
            Need::Owned => {
                out.extend(self.read_only(&node));
                if node.attributes & (IMMUTABLE | APPEND_ONLY) != 0 {
                    out.push(immutable(&node));
                }
                if self.is_stranger(&[&node]) {
                    let owner = self.names.user(node.rights.uid);
                    let who = self.names.user(self.subject.credentials.uid);
                    let text = format!(" belongs to {owner}; user {who} may not change it");
                    out.push(Refusal::at(&node.path, libc::EPERM, Cause::NotOwner, &text));
                }
            }
        }
        Ok(out)
    }

    /// Whether the process owns none of the files, and has no `CAP_FOWNER` that makes up for it.
    fn is_stranger(&self, files: &[&FileNode]) -> bool {
        let credentials = &self.subject.credentials;
        files.iter().all(|file| file.rights.uid != credentials.uid)
            && credentials.capabilities.is_some_and(|held| held & CAP_FOWNER == 0)
    }

    /// The refusals to add a name to a directory, or to remove that of a file
    /// ([`may_delete`](https://elixir.bootlin.com/linux/v6.12/source/fs/namei.c)).
    fn change(&mut self, dir: &FileNode, node: Option<&FileNode>, creates: bool) -> Vec<Refusal> {
        let mut out = self.create(dir, false, if creates { CREATE } else { "remove files from it" });
        let Some(node) = node.filter(|_| !creates) else { return out };
        if dir.attributes & APPEND_ONLY != 0 {
            out.push(immutable(dir));
        }
        if dir.rights.mode & 0o1000 != 0 && self.is_stranger(&[node, dir]) {
            let owner = self.names.user(node.rights.uid);
            let text = format!(" belongs to {owner}, and its directory is sticky: only its owner may remove it");
            out.push(Refusal::at(&node.path, libc::EPERM, Cause::NotOwner, &text));
        }
        if node.attributes & (IMMUTABLE | APPEND_ONLY) != 0 {
            out.push(immutable(node));
        }
        out
    }

    /// The refusals of a change in a directory: who may not do `what`.
    fn create(&mut self, dir: &FileNode, no_dir: bool, what: &str) -> Vec<Refusal> {
        let mut out = Vec::new();
        if no_dir || !dir.is_dir() {
            out.push(not_a_directory(dir));
            return out;
        }
        out.extend(self.read_only(dir));
        if dir.links == 0 {
            let text = [b"the directory ", dir.path.as_slice(), b" was deleted"].concat();
            out.push(Refusal::new(libc::ENOENT, Cause::Missing, &dir.path, text));
        }
        if dir.attributes & IMMUTABLE != 0 {
            out.push(immutable(dir));
        }
        match dir.rights.allow(WRITE | EXECUTE, &self.subject.credentials) {
            Verdict::Denied if !dir.has_own_rules() => {
                out.push(self.refused(dir, Cause::NoPermission, what));
            }
            Verdict::Granted => {}
            _ => self.doubt_about(dir),
        }
        out
    }

    /// Records that an unknown permission may be the one that refused.
    fn doubt_about(&mut self, node: &FileNode) {
        if self.question.errno == libc::EACCES {
            let text = format!(": {}; permission unknown", self.owned(node));
            self.doubt = Some([&node.path, text.as_bytes()].concat());
        }
    }

    fn read_only(&self, node: &FileNode) -> Option<Refusal> {
        node.is_on(mounted::READ_ONLY).then(|| {
            let place = node.mount_point(&self.subject.dir).unwrap_or_else(|| node.path.clone());
            Refusal::at(&place, libc::EROFS, Cause::ReadOnly, " is mounted read-only")
        })
    }
}

fn not_at(dirfd: i32, node: &FileNode) -> Walked<FileNode> {
    let text = [format!("descriptor {dirfd} (dirfd) is not a directory: ").as_bytes(), &node.path].concat();
    refuse(Refusal::new(libc::ENOTDIR, Cause::NotADirectory, &node.path, text))
}

/// The names of a path, last one first.
fn parts(path: &[u8], link: Option<usize>) -> Vec<PendingName> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    let mut parts: Vec<PendingName> = names.map(|name| PendingName { name: name.to_vec(), link }).collect();
    parts.reverse();
    parts
}

fn failed<T>(node: &FileNode, error: &Errno) -> Walked<T> {
    unsure(&[&node.path, b": ", error_text(error.raw_os_error()).as_bytes()])
}

/// The refusal of a name that does not exist. For a link, it gives the target.
fn missing(dir: &FileNode, part: &PendingName, no: &str, remark: &str, links: &[Link]) -> Refusal {
    let near = dir.nearest(&part.name);
    let mut text = [no.as_bytes(), &part.name, b" in ", &dir.path, remark.as_bytes()].concat();
    if let Some(near) = &near {
        text.extend_from_slice(&[b"; the nearest name is ", near.as_slice()].concat());
    }
    match part.link.and_then(|link| links.get(link)) {
        Some(link) => {
            let text = [&link.path, b" is a symbolic link to ".as_slice(), &link.target, b": ", &text].concat();
            Refusal { near, ..Refusal::new(libc::ENOENT, Cause::DanglingLink, &link.path, text) }
        }
        None => {
            let slash = if dir.path.ends_with(b"/") { b"".as_slice() } else { b"/" };
            let component = [&dir.path, slash, &part.name].concat();
            Refusal { near, last: no == "no ", ..Refusal::new(libc::ENOENT, Cause::Missing, &component, text) }
        }
    }
}

fn too_long(dir: &FileNode, part: &PendingName) -> Refusal {
    let text = format!("a name has {} bytes, more than the file system allows (at most {NAME_MAX})", part.name.len());
    let text = [&dir.path, b": ".as_slice(), text.as_bytes()].concat();
    Refusal::new(libc::ENAMETOOLONG, Cause::TooLong, &part.name, text)
}

fn endless(links: &[Link]) -> Refusal {
    let path = links.first().map(|link| link.path.clone()).unwrap_or_default();
    let target = links.first().map(|link| link.target.clone()).unwrap_or_default();
    let text = [&path, b" is a symbolic link to ".as_slice(), &target, b": a loop, or more than 40 links"].concat();
    Refusal::new(libc::ELOOP, Cause::Loop, &path, text)
}

fn not_a_directory(node: &FileNode) -> Refusal {
    let text = format!(" is {}, not a directory", kind_text(node.kind()));
    Refusal::at(&node.path, libc::ENOTDIR, Cause::NotADirectory, &text)
}

fn immutable(node: &FileNode) -> Refusal {
    let text = match node.attributes & IMMUTABLE {
        0 => " is append-only (chattr +a)",
        _ => " is immutable (chattr +i)",
    };
    Refusal::at(&node.path, libc::EPERM, Cause::NoPermission, text)
}

fn kind_text(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something else",
    }
}
