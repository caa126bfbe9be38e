//! The activity of one run, by role: a fold over the events of a recording that keeps no events.

use super::environment::Environments;
use super::left::FilesLeft;
use super::names::NameRules;
use super::strings::StringTable;
use super::uses::{Activity, Did, Files, Image, Other, RoleId, Roles, Used, did};
use crate::event::exec::Exec;
use crate::event::file::File;
use crate::event::open::Open;
use crate::event::process::{Origin, Process, ProcessKey};
use crate::event::{Body, EventContext, describe, names};
use crate::limits;
use foldhash::{HashMap, HashSet};
use std::sync::Arc;
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::record::mark;
use tracetui_shared::record::open::CREATED;

/// The parent of the roles whose parent is not part of the run.
const TOP: RoleId = 0;

/// Errors that depend on time, not on files: EINTR, EAGAIN, ENXIO (a fifo without a reader), EEXIST, ETXTBSY.
const PASSING: [i32; 5] = [-4, -11, -6, -17, -26];

/// `AT_FDCWD`.
const HERE: i32 = -100;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Lost events by kind, in the order of [`Kind::PROBED`].
    pub lost: [u64; Kind::PROBED.len()],
    /// Kinds that were not recorded, or that a filter rejects.
    pub absent: KindSet,
    /// Lost events of unknown kind, and lost records about processes.
    pub other: u64,
    /// Whether the recording ends early, or a part of it cannot be read.
    pub incomplete: bool,
    /// Whether the run goes on: what its living processes lack may come.
    pub running: bool,
    /// Whether the memory limit was reached: [`limits::DIFF_MEMORY`].
    pub full: bool,
}

impl Gaps {
    /// The sum of all lost events. It saturates, because a recording may contain any number.
    pub fn sum(&self) -> u64 {
        self.lost.iter().fold(self.other, |sum, count| sum.saturating_add(*count))
    }

    pub(super) fn may_lack(&self, kinds: impl Into<KindSet>) -> bool {
        let lost = |kind: Kind| kind.place().and_then(|at| self.lost.get(at)).is_some_and(|count| *count > 0);
        kinds.into().iter().any(lost) || self.other > 0 || self.incomplete || self.full
    }

    /// Whether a process may be missing, or be in the wrong place of the tree.
    pub(super) fn may_lack_processes(&self) -> bool {
        self.may_lack(KindSet::of(&[Kind::Exec, Kind::Fork]))
    }

    pub fn lacks(&self, kinds: impl Into<KindSet>) -> bool {
        !(self.absent & kinds.into()).is_empty()
    }

    fn note(&mut self, kind: Option<Kind>, count: u64) {
        match kind.and_then(Kind::place).and_then(|at| self.lost.get_mut(at)) {
            Some(lost) => *lost = lost.saturating_add(count),
            None => self.other = self.other.saturating_add(count),
        }
    }
}

/// A living process, or one that ended recently.
#[derive(Debug)]
struct Live {
    execs: u32,
    role: RoleId,
    /// Its known working directory: that of the exec, or of a later open.
    cwd: u32,
    /// Its earlier roles, each with the time of the exec that ended it.
    before: Vec<(u64, RoleId)>,
}

#[derive(Debug, Default)]
pub struct Run {
    pub(super) names: NameRules,
    pub(super) strings: StringTable,
    pub(super) environments: Environments,
    pub(super) roles: Roles,
    pub(super) pids: HashSet<u32>,
    processes: u64,
    /// Entries of the tables of all roles, and those of opened files.
    places: usize,
    files: u64,
    pub gaps: Gaps,
    live: HashMap<ProcessKey, Live>,
    /// The number of processes at which ended ones are removed.
    sweep_at: usize,
    /// Paths as passed, with the number of their directory, and their comparable forms.
    known: HashMap<Box<[u8]>, u32>,
    scratch: Vec<u8>,
    path: Vec<u8>,
    begun: bool,
    memory: usize,
    /// The files as the run left them.
    pub(super) left: FilesLeft,
}

/// Bytes of a place in a tree or table of files, which may be less than half full.
const PLACE: usize = 22;

/// Bytes of a role with its places in the tables, and of its list of arguments beside the arguments.
const ROLE: usize = 376;

impl Run {
    /// An empty run with this memory limit in bytes.
    pub fn new(memory: usize) -> Run {
        Run { sweep_at: 2 * limits::DEAD_PROCESSES, memory, ..Run::default() }
    }

    /// The directory of the run, shown as `.`; empty for none.
    pub fn root(&self) -> &[u8] {
        &self.names.root
    }

    /// How well other runs can be compared with this one: whether nothing is missing, and the number of roles.
    pub fn completeness(&self) -> (bool, usize) {
        let Gaps { incomplete, full, .. } = self.gaps;
        (!incomplete && !full && self.gaps.sum() == 0, self.roles.all.len())
    }

    /// The number of processes and files to compare.
    pub fn counts(&self) -> (u64, u64) {
        (self.processes, self.files)
    }

    pub fn add_event(&mut self, seen: &EventContext<'_>) {
        if let Body::Lost(lost) = &seen.event.body {
            return self.gaps.note(lost.of(), lost.record.count);
        }
        // A connection can outlive its process, and then belongs to no role.
        if seen.event.body.is_close() {
            return;
        }
        let Some(process) = seen.process else { return };
        let Some(role) = self.role_of(process, seen) else { return };
        match &seen.event.body {
            Body::Exec(exec) if exec.record.ret == 0 => {
                let did = self.did(role);
                did.execs += 1;
                did.executed_as(Some(process.uid.0));
                self.environment(role, process, seen);
            }
            Body::Exec(exec) => self.tried(role, process, exec),
            Body::Open(open) => self.opened(role, process, open),
            Body::Exit(exit) => {
                self.lives(role, -1);
                let did = self.did(role);
                let status = exit.record.status & 0xffff;
                *did.exits.entry(status).or_default() += 1;
                did.used.add(Used { cpu: exit.cost().map_or(0, |cost| cost.runtime), ran: seen.ran_ns() });
                if status != 0 && !std::mem::replace(&mut did.failed, true) {
                    did.process = process.key.tgid;
                }
            }
            body => match body.change() {
                Some(file) => self.changed(file),
                None => self.used(role, seen.event.kind(), body),
            },
        }
    }

    /// Removes the data that only [`add_event`](Self::add_event) needs.
    pub fn close(&mut self) {
        (self.live, self.known) = Default::default();
        self.roles.close();
        self.strings.close();
        self.environments.close();
    }

    /// Whether the recording has values of variables of the environment.
    pub fn has_values(&self) -> bool {
        self.environments.values
    }

    /// Notes the environment of a process that executed a program.
    fn environment(&mut self, role: RoleId, process: &Process, seen: &EventContext<'_>) {
        let Some(env) = seen.world.environment(process.key).filter(|_| self.has_room()) else { return };
        let env = self.environments.of(&env, &self.names, &mut self.strings);
        let role = &mut self.roles.all[role];
        role.env = Some(match role.env.take() {
            Some(before) => self.environments.merged(before, &env),
            None => env,
        });
    }

    /// Counts a process of a role that began or ended.
    fn lives(&mut self, role: RoleId, change: i64) {
        let did = self.did(self.base(role));
        did.living = did.living.saturating_add_signed(change);
    }

    /// Whether new data still fits.
    fn has_room(&mut self) -> bool {
        let places = self.places + self.pids.len();
        let used = self.strings.bytes() + PLACE * places + ROLE * self.roles.all.len();
        let used = used + self.environments.bytes + PLACE * self.left.0.len();
        self.gaps.full |= used > self.memory;
        !self.gaps.full
    }

    /// The program role of a process that may not have executed a program itself.
    fn base(&self, role: RoleId) -> RoleId {
        let of = &self.roles.all[role];
        if of.forked { of.parent } else { role }
    }

    /// What the processes of a role did.
    fn did(&mut self, role: RoleId) -> &mut Activity {
        &mut self.roles.all[role].did
    }

    fn role_of(&mut self, process: &Process, seen: &EventContext<'_>) -> Option<RoleId> {
        let executes = seen.event.body.started().is_some();
        match self.live.get_mut(&process.key) {
            Some(live) if !executes && process.execs <= live.execs => {
                // The process scan can find a process again whose execs are known, and then counts from 0.
                live.execs = process.execs;
                Some(live.role)
            }
            _ => self.enter(process, seen),
        }
    }

    /// Finds the role of a process that is new, or that executed a program.
    fn enter(&mut self, process: &Process, seen: &EventContext<'_>) -> Option<RoleId> {
        if !std::mem::replace(&mut self.begun, true) {
            self.names = NameRules::new(&directory_of_command(process, seen));
        }
        // Ancestors without an event of their own, the nearest first.
        let mut unknown: Vec<Arc<Process>> = Vec::new();
        let mut next = (!self.live.contains_key(&process.key)).then(|| parent_of(process, seen)).flatten();
        while let Some(parent) = next.take_if(|parent| !self.live.contains_key(&parent.key)) {
            next = parent_of(&parent, seen);
            unknown.push(parent);
            if unknown.len() > limits::DIFF_DEPTH {
                break;
            }
        }
        while let Some(ancestor) = unknown.pop() {
            self.place(&ancestor, seen, None)?;
        }
        self.place(process, seen, Some(seen))
    }

    /// Assigns a role to a process whose parent has one. `own` is the event if it is one of the process.
    fn place(&mut self, process: &Process, seen: &EventContext<'_>, own: Option<&EventContext<'_>>) -> Option<RoleId> {
        if !self.has_room() {
            return None;
        }
        self.sweep(seen);
        let known = self.live.get(&process.key).map(|live| live.role);
        let parent = match known {
            Some(role) => self.base(role),
            None => {
                self.processes += 1;
                self.pids.extend([process.key.tgid.0]);
                self.pids.extend(own.map(|own| own.event.header.ns_pid.0).filter(|id| *id != 0));
                self.parent_role(process, seen)
            }
        };
        let forked = process.execs == 0 && process.origin != Origin::Seed;
        let of_parent = &self.roles.all[parent];
        let image = match forked && parent != TOP {
            true => (true, of_parent.exe, of_parent.cwd, Arc::clone(&of_parent.argv)),
            false => self.program(process, own),
        };
        let orphan = parent == TOP && matches!(process.origin, Origin::FirstSeen | Origin::Older);
        let role = self.roles.id(parent, image, process.key.tgid, orphan);
        let inherited = process.parent.and_then(|parent| self.live.get(&parent)).map(|parent| parent.cwd);
        let cwd = match (forked, inherited) {
            (true, Some(cwd)) => cwd,
            _ => self.strings.id(&process.image.cwd),
        };
        if let Some(before) = known {
            self.lives(before, -1);
        }
        self.lives(role, 1);
        let time = seen.event.header.time.0;
        let live = self.live.entry(process.key).or_insert(Live { execs: 0, role, cwd, before: Vec::new() });
        if live.role != role && live.before.len() < limits::DIFF_DEPTH {
            live.before.push((time, live.role));
        }
        (live.execs, live.role, live.cwd) = (process.execs, role, cwd);
        Some(role)
    }

    /// The role that the parent had when it forked this process.
    fn parent_role(&self, process: &Process, seen: &EventContext<'_>) -> RoleId {
        let Some(parent) = parent_of(process, seen).and_then(|parent| self.live.get(&parent.key)) else { return TOP };
        let then = parent.before.iter().find(|(until, _)| process.key.start.0 < *until);
        self.base(then.map_or(parent.role, |(_, role)| *role))
    }

    fn program(&mut self, process: &Process, own: Option<&EventContext<'_>>) -> Image {
        let exec = own.and_then(|own| own.event.body.started());
        let exe = match (process.image.exe.is_empty(), exec) {
            (true, Some(exec)) => exec.filename,
            _ => &process.image.exe,
        };
        let mut text = std::mem::take(&mut self.scratch);
        let mut compared = |path: &[u8], strings: &mut StringTable| {
            text.clear();
            if !path.is_empty() {
                self.names.path(path, &mut text);
            }
            strings.id(&text)
        };
        let (exe, cwd) = (compared(exe, &mut self.strings), compared(&process.image.cwd, &mut self.strings));
        self.scratch = text;
        let mut words = Vec::new();
        let area = exec.map_or(&process.image.argv[..], |exec| exec.argv);
        self.names.argv(describe::args(area), |word| words.push(self.strings.id(word)));
        if let Some(exec) = exec {
            self.executed(process, exec);
        }
        (false, exe, cwd, words.into())
    }

    /// Notes that the caller found a program.
    fn executed(&mut self, process: &Process, exec: &Exec<'_>) {
        let caller = self.live.get(&process.key).map(|live| live.role);
        let forked = process.parent.and_then(|parent| self.live.get(&parent)).map(|parent| parent.role);
        if let Some(caller) = caller.or(forked) {
            let caller = self.base(caller);
            self.executable(caller, process, exec, Did { bits: did::FOUND, ..Did::default() });
        }
    }

    fn tried(&mut self, role: RoleId, process: &Process, exec: &Exec<'_>) {
        if !PASSING.contains(&exec.record.ret) {
            self.executable(self.base(role), process, exec, Did { errno: errno(exec.record.ret), ..Did::default() });
        }
    }

    fn executable(&mut self, caller: RoleId, process: &Process, exec: &Exec<'_>, did: Did) {
        if exec.filename.is_empty() {
            return;
        }
        let cwd = self.live.get(&process.key).map_or_else(|| self.strings.id(&process.image.cwd), |live| live.cwd);
        if let Some(path) = self.file(cwd, exec.filename) {
            self.note(caller, path, did, |did| &mut did.tries);
        }
    }

    fn opened(&mut self, role: RoleId, process: &Process, open: &Open<'_>) {
        if PASSING.contains(&open.record.ret) {
            return;
        }
        let Some(path) = self.opened_path(process, open) else { return };
        let flags = open.flags();
        let mut bits = 0;
        if open.record.ret >= 0 {
            bits |= did::FOUND;
            bits |= if flags & (names::O_ACCMODE | names::O_CREAT) != 0 { did::WROTE } else { 0 };
            bits |= if flags & names::O_DIRECTORY != 0 { did::DIRECTORY } else { 0 };
            if open.record.how_marks & CREATED != 0 {
                self.left.changed("open", path, None, None);
            }
        }
        let did = Did { bits, errno: errno(open.record.ret) };
        let new = self.note(self.base(role), path, did, |did| &mut did.opens);
        self.files += u64::from(new);
    }

    /// Records the state in which a successful call left its files.
    fn changed(&mut self, file: &File<'_>) {
        if !self.has_room() {
            return;
        }
        let mut number = |nth| self.file(u32::MAX, &file.absolute(nth).text()?);
        let (Some(path), to) = (number(0), file.has_second().then(|| number(1)).flatten()) else { return };
        self.left.changed(if file.exchanges() { "exchange" } else { file.op() }, path, to, file.mode());
    }

    fn used(&mut self, role: RoleId, kind: Kind, body: &Body<'_>) {
        let mut subject = std::mem::take(&mut self.scratch);
        subject.clear();
        if let Some(ret) = body.used(&mut subject).filter(|_| self.has_room()) {
            self.count(role, kind, &subject, ret);
        }
        self.scratch = subject;
    }

    fn count(&mut self, role: RoleId, kind: Kind, subject: &[u8], ret: i32) {
        let subject = self.strings.id(subject);
        let bits = if ret >= 0 { did::FOUND } else { 0 };
        let others = &mut self.did(self.base(role)).others;
        let known = others.len();
        let one = Other { did: Did { bits, errno: errno(ret) }, count: 1 };
        others.entry((kind, subject)).or_default().add(one);
        self.places += others.len() - known;
    }

    /// Records a role's use of a file. Returns whether the file is new to the role.
    fn note(&mut self, role: RoleId, path: u32, did: Did, table: impl Fn(&mut Activity) -> &mut Files) -> bool {
        if let Some(known) = table(self.did(role)).get_mut(&path) {
            known.add(did);
            return false;
        }
        if !self.has_room() {
            return false;
        }
        table(self.did(role)).insert(path, did);
        self.places += 1;
        true
    }

    /// The path in comparable form: as passed, starting at the working directory. If the path starts at another directory, the path
    /// of the opened file is used. A file that was found also reveals the current working directory, which chdir(2) may have
    /// changed.
    fn opened_path(&mut self, process: &Process, open: &Open<'_>) -> Option<u32> {
        let found = open.record.ret >= 0 && open.names.absent().is_none();
        let unread = open.record.path_marks & (mark::FAULT | mark::NOT_COLLECTED) != 0 || open.path.is_empty();
        let relative = !open.path.starts_with(b"/");
        if !relative && !unread {
            return self.file(u32::MAX, open.path);
        }
        let cwd = self.live.get(&process.key).map_or(u32::MAX, |live| live.cwd);
        if !found {
            let from = if open.record.dirfd == HERE { cwd } else { u32::MAX };
            return if unread { None } else { self.file(from, open.path) };
        }
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        open.names.write(&mut path);
        let asked = open.path.strip_prefix(b"./").unwrap_or(open.path);
        let dir = path.strip_suffix(asked).and_then(|dir| dir.strip_suffix(b"/")).filter(|dir| !dir.is_empty());
        let here = relative && !unread && open.record.dirfd == HERE;
        if let Some(dir) = dir.filter(|dir| here && self.strings.get(cwd) != *dir) {
            let cwd = self.strings.id(dir);
            if let Some(live) = self.live.get_mut(&process.key) {
                live.cwd = cwd;
            }
        }
        // If a link was followed, the opened path differs from the passed one.
        let id = if here && dir.is_none() { self.file(cwd, open.path) } else { self.file(u32::MAX, &path) };
        self.path = path;
        id
    }

    /// The number of a path in comparable form.
    fn file(&mut self, cwd: u32, path: &[u8]) -> Option<u32> {
        self.scratch.clear();
        self.scratch.extend_from_slice(&if path.starts_with(b"/") { u32::MAX } else { cwd }.to_le_bytes());
        self.scratch.extend_from_slice(path);
        if let Some(id) = self.known.get(&self.scratch[..]) {
            return Some(*id);
        }
        if !self.has_room() {
            return None;
        }
        let mut whole = Vec::new();
        if !path.starts_with(b"/") && cwd != u32::MAX && !self.strings.get(cwd).is_empty() {
            whole.extend_from_slice(self.strings.get(cwd));
            whole.push(b'/');
        }
        whole.extend_from_slice(path);
        let mut compared = Vec::new();
        self.names.path(&whole, &mut compared);
        let id = self.strings.id(&compared);
        if self.known.len() >= limits::DIFF_PATHS {
            self.known.clear();
        }
        self.known.insert(self.scratch.as_slice().into(), id);
        Some(id)
    }

    /// Removes processes that the process table no longer has.
    fn sweep(&mut self, seen: &EventContext<'_>) {
        if self.live.len() >= self.sweep_at {
            self.live.retain(|key, _| seen.world.process(*key).is_some());
            self.sweep_at = 2 * self.live.len() + 2 * limits::DEAD_PROCESSES;
        }
    }
}

/// The working directory of the COMMAND; empty without one.
fn directory_of_command(process: &Process, seen: &EventContext<'_>) -> Box<[u8]> {
    if !process.of_command {
        return Box::default();
    }
    let mut top = Arc::new(process.clone());
    while let Some(parent) =
        parent_of(&top, seen).filter(|parent| parent.of_command && parent.key.start <= top.key.start)
    {
        if parent.key == top.key {
            break;
        }
        top = parent;
    }
    top.image.cwd.clone()
}

/// The parent, if it is part of the run: the parent of a COMMAND is tracetui.
fn parent_of(process: &Process, seen: &EventContext<'_>) -> Option<Arc<Process>> {
    let parent = seen.world.process(process.parent?)?;
    (parent.of_command || !process.of_command).then(|| Arc::clone(parent))
}

/// The error number of a result; 255 for those that do not fit, 0 for none.
fn errno(ret: i32) -> u8 {
    if ret < 0 { u8::try_from(ret.unsigned_abs()).unwrap_or(u8::MAX) } else { 0 }
}
