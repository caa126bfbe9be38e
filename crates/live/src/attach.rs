//! Attaches the programs of the table ([`programs`](super::programs)). Each group gets the best way that works.

use super::Way;
use super::kinds::{AttachPoint, GROUPS, Group, Probe, RET, Record, Requested, Turn, order};
use super::kprobe_multi;
use super::load::{Failure, KernelFacts, StartError};
use super::object::{Maps, ProbeObject, Rejected};
use super::probe_status::ProbeStatus;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tracetui_host::arch::Arch;
use tracetui_host::bpf::{bpf_fd, link_iterator, link_map_iterator, number, run_iterator};
use tracetui_host::btf::RUNNING;
use tracetui_host::ftrace::{self, FunctionTracing};
use tracetui_host::ksymbols::open_tracepoint;
use tracetui_host::machine::running_release;
use tracetui_host::program::ProgramKind;
use tracetui_inspect::RouteChanges;

/// An attached program; detaches when dropped.
pub(super) struct Link {
    pub(super) program: &'static str,
    /// The descriptor that keeps the program attached. The kernel detaches the program when it is closed.
    held: OwnedFd,
    at_functions: bool,
    /// When user space runs it, if it is an iterator.
    pub(super) turn: Option<Turn>,
}

impl Link {
    /// Runs the program of an iterator that writes nothing.
    pub(super) fn run(&self) {
        // Without it, less is reported.
        let _ = run_iterator(&self.held);
    }

    /// The number of calls whose return the kernel did not track. The program itself counts the runs that the kernel
    /// skipped.
    pub(super) fn missed(&self) -> u64 {
        if self.at_functions { kprobe_multi::missed(&self.held) } else { 0 }
    }
}

#[derive(Default)]
pub(super) struct Attached {
    pub(super) links: Vec<Link>,
    pub(super) programs: Vec<(&'static str, OwnedFd)>,
    pub(super) probes: Vec<ProbeStatus>,
}

/// Whether programs at tracepoints can be preempted, according to the kernel's BTF. If the BTF does not show this, the
/// release decides: such a kernel has no BTF of its own, and none of its symbols shows it either. (`tracepoint_srcu` is
/// also in 5.10 to 6.12, for another purpose.)
fn tracepoints_are_preemptible(facts: &KernelFacts) -> bool {
    facts.preemptible_tracepoints.unwrap_or_else(|| running_release() >= Some((7, 0)))
}

/// Attaches the requested groups, each in the best way that works. `loaded` comes from [`load`].
pub(super) fn all(
    object: &ProbeObject,
    maps: &Maps,
    loaded: Vec<(&'static str, LoadOutcome)>,
    requested: Requested,
    facts: &KernelFacts,
    first: Way,
) -> Result<Attached, StartError> {
    let arch = facts.arch.ok_or(StartError::Architecture)?;
    let preemptible = tracepoints_are_preemptible(facts);
    let silent = FunctionTracing::open().is_some_and(|setting| setting.is_off());
    let attached = with_tracefs(|| {
        let mut attached = Attached::default();
        let mut attacher =
            Attacher { arch, object, maps, loaded, facts, requested, preemptible, silent, into: &mut attached };
        for group in GROUPS {
            attacher.group(group, order(first, preemptible));
        }
        attached
    });
    attached.map_err(|error| StartError::System { call: "clone", error })
}

pub(super) type LoadOutcome = Result<OwnedFd, Rejected>;

/// Loads the programs of the best way of each requested group, in parallel.
///
/// There are as many threads as processors. The largest program comes first, so that its thread has a processor to
/// itself.
pub(super) fn load(
    object: &ProbeObject,
    requested: Requested,
    facts: &KernelFacts,
    first: Way,
) -> Result<Vec<(&'static str, LoadOutcome)>, StartError> {
    let arch = facts.arch.ok_or(StartError::Architecture)?;
    let ways = order(first, tracepoints_are_preemptible(facts));
    let best =
        |group: &Group| ways.into_iter().map(|way| group.in_way(way, requested)).find(|probes| !probes.is_empty());
    let probes =
        GROUPS.iter().filter_map(best).flatten().filter(|(probe, place)| probe.refused(place, facts).is_none());
    let kind = |place| kind(place, facts, arch, requested).ok();
    let mut wanted: Vec<_> = probes.filter_map(|(probe, place)| Some((probe.name, kind(place)?))).collect();
    wanted.sort_by_key(|(name, _)| object.instructions(name));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(wanted.len());
    let wanted = Mutex::new(wanted);
    let next = || wanted.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let load = || std::iter::from_fn(next).map(|(name, kind)| (name, object.load(name, kind))).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        // If no thread can be started, this one loads all of them.
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, load).ok();
        let others: Vec<_> = (1..threads).filter_map(spawn).collect();
        let mut loaded = load();
        loaded.extend(others.into_iter().filter_map(|thread| thread.join().ok()).flatten());
        Ok(loaded)
    })
}

fn kind(place: &AttachPoint, facts: &KernelFacts, arch: &Arch, requested: Requested) -> Result<ProgramKind, Failure> {
    let ids = || {
        facts.ids.as_ref().ok_or_else(|| Failure {
            why: format!("{RUNNING} does not exist, and this probe needs its type ids"),
            remedy: Some("boot a kernel with CONFIG_DEBUG_INFO_BTF=y".to_string()),
        })
    };
    match place {
        AttachPoint::Btf(names) => {
            let ids = ids()?;
            let none = || Failure { why: format!("this kernel has no tracepoint {}", names.join("|")), remedy: None };
            names.iter().find_map(|name| ids.tracepoint(name)).map(ProgramKind::BtfTracepoint).ok_or_else(none)
        }
        AttachPoint::Exit(name) => ids()?.function(name).map(ProgramKind::Exit).ok_or_else(|| no_function(name)),
        AttachPoint::Listed(_, name, _) => {
            ids()?.function(name).map(ProgramKind::Iterator).ok_or_else(|| no_function(name))
        }
        AttachPoint::Notified => Ok(ProgramKind::SocketFilter),
        AttachPoint::Classic(..) | AttachPoint::Ends(Way::Classic) => Ok(ProgramKind::Tracepoint),
        AttachPoint::Functions(..) | AttachPoint::Ends(_) => {
            let names = place.functions(arch, requested.ends());
            match names.iter().any(|name| facts.functions.contains(name)) {
                true => Ok(ProgramKind::Functions),
                false => Err(no_function(names.first().copied().unwrap_or_default())),
            }
        }
    }
}

struct Attacher<'a> {
    arch: &'static Arch,
    object: &'a ProbeObject,
    maps: &'a Maps,
    loaded: Vec<(&'static str, LoadOutcome)>,
    facts: &'a KernelFacts,
    requested: Requested,
    preemptible: bool,
    /// Whether function tracing is off, so that the kernel runs no programs at functions.
    silent: bool,
    into: &'a mut Attached,
}

struct Outcome {
    status: ProbeStatus,
    links: Vec<Link>,
    program: Option<OwnedFd>,
}

/// The links, the program if its skips are counted, and a note on attach points where it is not attached.
type Running = (Vec<Link>, Option<OwnedFd>, Option<String>);

impl Attacher<'_> {
    fn group(&mut self, group: &Group, order: [Way; 3]) {
        let mut best: Vec<Outcome> = Vec::new();
        for way in order {
            let wanted = group.in_way(way, self.requested);
            if wanted.is_empty() {
                continue;
            }
            let mut outcomes: Vec<Outcome> =
                wanted.into_iter().map(|(probe, place)| self.probe(probe, place)).collect();
            let works = |outcomes: &[Outcome]| outcomes.iter().any(|o| o.status.attached);
            let fails = |outcome: &Outcome| !outcome.status.attached && !outcome.status.optional;
            let whole = !outcomes.iter().any(fails);
            if let Some(failed) = best.iter().find(|outcome| fails(outcome)).filter(|_| whole) {
                outcomes.iter_mut().for_each(|outcome| outcome.status.is_second_best(&failed.status));
            }
            // A way that partly works is better than one that the user can repair, and that one is better than any other.
            let rank = |outcomes: &[Outcome]| match works(outcomes) {
                false => u8::from(outcomes.iter().any(|outcome| outcome.status.remedy.is_some())),
                true => 2,
            };
            if whole || best.is_empty() || rank(&outcomes) > rank(&best) {
                // This drops the links of the previous way, so no event is delivered twice.
                best = outcomes;
            }
            if whole {
                break;
            }
        }
        for outcome in best {
            self.into.links.extend(outcome.links);
            self.into.programs.extend(outcome.program.map(|fd| (outcome.status.name, fd)));
            self.into.probes.push(outcome.status);
        }
    }

    fn probe(&mut self, probe: &Probe, place: &AttachPoint) -> Outcome {
        let mut outcome = Outcome {
            status: ProbeStatus {
                name: probe.name,
                kinds: probe.kinds(),
                how: place.name(self.arch, self.requested.ends()),
                missing: probe.missing.join(", "),
                optional: probe.optional,
                preemptible: probe.is_preemptible(place, self.preemptible),
                at_functions: place.is_at_functions(),
                ..ProbeStatus::default()
            },
            links: Vec::new(),
            program: None,
        };
        match self.load_and_attach(probe, place) {
            Ok((links, program, note)) => {
                let notes = [note, place.blind(self.arch)].into_iter().flatten();
                outcome.status.why = Some(notes.collect::<Vec<_>>().join("; ")).filter(|why| !why.is_empty());
                (outcome.status.attached, outcome.links, outcome.program) = (true, links, program);
            }
            Err(Failure { why, remedy }) => (outcome.status.why, outcome.status.remedy) = (Some(why), remedy),
        }
        outcome
    }

    fn load_and_attach(&mut self, probe: &Probe, place: &AttachPoint) -> Result<Running, Failure> {
        if let Some(why) = probe.refused(place, self.facts) {
            return Err(Failure { why, remedy: None });
        }
        if self.silent && place.is_at_functions() {
            return Err(Failure { why: ftrace::OFF.to_owned(), remedy: Some(ftrace::REMEDY.to_owned()) });
        }
        let kind = kind(place, self.facts, self.arch, self.requested)?;
        let loaded = match self.loaded.iter().position(|(name, _)| *name == probe.name) {
            Some(at) => self.loaded.swap_remove(at).1,
            None => self.object.load(probe.name, kind),
        };
        let how = || place.name(self.arch, self.requested.ends());
        let program = loaded.map_err(|rejected| refusal(&how(), rejected, self.facts))?;
        let (links, note) = self.attach(&program, place)?;
        let turn = if let AttachPoint::Listed(turn, ..) = place { Some(*turn) } else { None };
        let link = |held| Link { program: probe.name, held, at_functions: kind == ProgramKind::Functions, turn };
        let program = Some(program).filter(|_| probe.counts_skips(place));
        Ok((links.into_iter().map(link).collect(), program, note))
    }

    /// Attaches a loaded program. Returns the descriptors that keep it attached, and a note on attach points that the
    /// kernel lacks.
    fn attach(&self, program: &OwnedFd, place: &AttachPoint) -> Result<(Vec<OwnedFd>, Option<String>), Failure> {
        match place {
            AttachPoint::Btf(_) | AttachPoint::Exit(_) => Ok((vec![attach_by_id(program)?], None)),
            AttachPoint::Listed(_, _, maps) => {
                let failed = |error| Failure { why: format!("bpf_link_create: {error}"), remedy: None };
                let over = maps.iter().filter_map(|map| self.maps.fd(map)).map(|map| link_map_iterator(program, map));
                let links: io::Result<Vec<_>> =
                    if maps.is_empty() { link_iterator(program).map(|link| vec![link]) } else { over.collect() };
                Ok((links.map_err(failed)?, None))
            }
            AttachPoint::Notified => {
                let failed = |error| Failure { why: format!("netlink socket: {error}"), remedy: None };
                Ok((vec![notified_socket(program).map_err(failed)?], None))
            }
            AttachPoint::Functions(..) | AttachPoint::Ends(Way::Functions) => {
                let mut names = place.functions(self.arch, self.requested.ends());
                names.retain(|name| self.facts.functions.contains(name));
                Ok((vec![kprobe_multi::attach(program, matches!(place, AttachPoint::Ends(_)), &names)?], None))
            }
            AttachPoint::Classic(..) | AttachPoint::Ends(_) => {
                let category = place.category().unwrap_or_default();
                let record = if let AttachPoint::Classic(_, _, record) = place { record } else { RET };
                let (mut links, mut notes) = (Vec::new(), Vec::new());
                for name in place.tracepoints(self.arch, self.requested.ends()) {
                    if let Some(moved) = moved(category, name, record) {
                        return Err(moved);
                    }
                    match attach_to_event(program, category, name) {
                        Ok(link) => links.push(link),
                        Err(why) if links.is_empty() => return Err(no_tracefs(why)),
                        Err(why) => notes.push(format!("{name}: {why}")),
                    }
                }
                Ok((links, (!notes.is_empty()).then(|| notes.join("; "))))
            }
        }
    }
}

fn refusal(place: &str, rejected: Rejected, facts: &KernelFacts) -> Failure {
    let Rejected { error, log, lacks } = rejected;
    if let Some(why) = lacks.map(|field| facts.lacks(field)) {
        return Failure { why, remedy: None };
    }
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
    // The capabilities suffice for other programs.
    let policy = if error.raw_os_error() == Some(libc::EPERM) {
        format!(": this machine's security policy forbids a BPF program at {place}")
    } else {
        String::new()
    };
    Failure { why: format!("BPF_PROG_LOAD: {error}{policy}\n{tail}").trim_end().to_string(), remedy: None }
}

fn no_function(name: &str) -> Failure {
    Failure { why: format!("this kernel has no function {name}"), remedy: None }
}

const LOG_LINES: usize = 6;

fn attach_by_id(program: &OwnedFd) -> Result<OwnedFd, Failure> {
    const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
    // SAFETY: the member has the address of a name, none here, and the program.
    let link = unsafe { bpf_fd(BPF_RAW_TRACEPOINT_OPEN, &mut [0, 0, number(program), 0]) };
    link.map_err(|error| Failure { why: format!("bpf_raw_tracepoint_open: {error}"), remedy: None })
}

/// A socket that receives rtnetlink's notifications of interfaces and tc filters in this network namespace, with a program as its
/// filter. In others, interfaces have the same numbers, and the program does not see the namespace.
fn notified_socket(program: &OwnedFd) -> io::Result<OwnedFd> {
    let socket = RouteChanges::socket()?;
    let (program, size) = (program.as_raw_fd(), size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the descriptor is live, and has the size that is passed.
    let result = unsafe {
        let value = (&raw const program).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_BPF, value, size)
    };
    if result == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

/// Attaches a program to an event of tracefs. From 5.15 on, a link holds the program; before, the event itself does.
fn attach_to_event(program: &OwnedFd, category: &str, name: &str) -> Result<OwnedFd, String> {
    const BPF_LINK_CREATE: libc::c_int = 28;
    const BPF_PERF_EVENT: u32 = 41;
    const PERF_EVENT_IOC_SET_BPF: libc::Ioctl = 0x4004_2408;
    let event = open_tracepoint(event_id(category, name)?).map_err(|error| format!("perf_event_open: {error}"))?;
    // SAFETY: the member begins with program, target, attach type and flags. Both descriptors are open.
    match unsafe { bpf_fd(BPF_LINK_CREATE, &mut [number(program), number(&event), BPF_PERF_EVENT, 0]) } {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        link => return link.map_err(|error| format!("bpf_link_create: {error}")),
    }
    // SAFETY: both descriptors are open, and the call takes no pointer.
    match unsafe { libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()) } {
        0 => Ok(event),
        _ => Err(format!("PERF_EVENT_IOC_SET_BPF: {}", io::Error::last_os_error())),
    }
}

fn event_id(category: &str, name: &str) -> Result<u64, String> {
    let place = TRACEFS_PLACES.into_iter().find(|place| has_events(place)).ok_or("tracefs not found")?;
    let file = format!("{place}/events/{category}/{name}/id");
    let id = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    id.trim().parse().map_err(|_| format!("{file}: not a number"))
}

/// The error if a field in the record of a classic tracepoint is not at the expected offset. A missing tracepoint is
/// not detected here: it fails to attach.
fn moved(category: &str, name: &str, record: Record) -> Option<Failure> {
    let format = TRACEFS_PLACES
        .iter()
        .find_map(|at| fs::read_to_string(format!("{at}/events/{category}/{name}/format")).ok())?;
    let (field, ..) = record.iter().find(|field| !has_field(&format, field))?;
    Some(Failure { why: format!("field {field} of {category}:{name} is at an unexpected offset"), remedy: None })
}

/// Whether a `format` file of tracefs has a field with this name, offset and size. An example is
/// `\tfield:void * req;\toffset:16;\tsize:8;…`.
pub fn has_field(format: &str, (name, at, size): &(&str, usize, usize)) -> bool {
    let place = [format!("offset:{at}"), format!("size:{size}")];
    format.lines().any(|line| {
        let mut parts = line.trim().split(';').map(str::trim);
        let declared = parts.next().and_then(|part| part.strip_prefix("field:")).unwrap_or_default();
        // Arrays: `char[] filename`, `char comm[16]`.
        let declared = declared.rsplit([' ', '*']).next().and_then(|last| last.split('[').next());
        declared == Some(name) && place.iter().all(|wanted| parts.next() == Some(wanted))
    })
}

fn no_tracefs(why: String) -> Failure {
    let remedy = "classic tracepoints need tracefs: run as root (sudo tracetui), or mount it as root: \
                  sudo mount -t tracefs tracefs /sys/kernel/tracing";
    Failure { why, remedy: Some(remedy.to_string()) }
}

const TRACEFS_PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

fn has_events(place: &str) -> bool {
    Path::new(place).join("events").exists()
}

/// Runs `work` where tracefs is mounted. If necessary, `work` runs in a thread with its own mount namespace, so that
/// nothing on the system changes.
fn with_tracefs<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if TRACEFS_PLACES.into_iter().any(has_events) {
        return Ok(work());
    }
    std::thread::scope(|scope| {
        let mounted = || {
            // If this is not permitted, the attach reports the missing permission.
            let _ = mount_tracefs();
            work()
        };
        let worker = std::thread::Builder::new().spawn_scoped(scope, mounted)?;
        Ok(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Gives the calling thread a mount namespace and mounts tracefs in it.
fn mount_tracefs() -> std::io::Result<()> {
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
    let target = std::ffi::CString::new(TRACEFS_PLACES[0]).unwrap_or_default();
    // SAFETY: all strings are NUL-terminated and outlive the calls; unshare(2) takes no pointers. mount(2) accepts null
    // for the data. When it changes the propagation type, it ignores the source and the file system type.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let none = std::ptr::null();
        check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()))?;
        check(libc::mount(c"tracefs".as_ptr(), target.as_ptr(), c"tracefs".as_ptr(), 0, std::ptr::null()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_records_are_found_where_they_are() {
        let format = "name: x\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
            \tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n\
            \tfield:void * req;\toffset:16;\tsize:8;\tsigned:0;\n\
            \tfield:char comm[16];\toffset:24;\tsize:16;\tsigned:0;\n";
        for there in [("common_type", 0, 2), ("filename", 8, 4), ("req", 16, 8), ("comm", 24, 16)] {
            assert!(has_field(format, &there), "{there:?}");
        }
        for elsewhere in [("req", 8, 8), ("req", 16, 4), ("eq", 16, 8), ("char", 8, 4), ("", 0, 2)] {
            assert!(!has_field(format, &elsewhere), "{elsewhere:?}");
        }
    }
}
