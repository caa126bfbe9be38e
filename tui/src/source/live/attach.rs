//! Attaches the programs of the table ([`programs`](super::programs)), each group in the best way that works.

use super::Way;
use super::call::unless_interrupted;
use super::load::{Failure, KernelFacts, StartError};
use super::multi::{self, At, Functions};
use super::programs::{AttachPoint, GROUPS, Group, Probe, Record, order};
use super::status::ProbeStatus;
use crate::arch::Arch;
use crate::source::host::btf::RUNNING;
use crate::source::host::machine::Release;
use aya::programs::fexit::FExitLink;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::trace_point::TracePointLink;
use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use tracetui_shared::kind::KindSet;

/// An attached program; detaches when dropped.
pub(super) struct Link {
    pub(super) program: &'static str,
    held: LinkHandle,
}

enum LinkHandle {
    Btf(#[allow(dead_code)] BtfTracePointLink),
    Classic(#[allow(dead_code)] TracePointLink),
    Exit(#[allow(dead_code)] FExitLink),
    Functions(OwnedFd),
}

impl Link {
    /// The number of calls whose return the kernel did not track. Runs that it skipped are counted by the program.
    pub(super) fn missed(&self) -> u64 {
        match &self.held {
            LinkHandle::Functions(link) => multi::missed(link),
            LinkHandle::Btf(_) | LinkHandle::Classic(_) | LinkHandle::Exit(_) => 0,
        }
    }
}

/// The result of attaching.
#[derive(Default)]
pub(super) struct Attached {
    pub(super) links: Vec<Link>,
    pub(super) programs: Vec<(&'static str, OwnedFd)>,
    pub(super) probes: Vec<ProbeStatus>,
}

/// Loads the object again, with the verifier's log.
type Again<'a> = &'a (dyn Fn() -> Result<(Ebpf, Option<Btf>), StartError> + Sync);

/// Whether programs at tracepoints can be preempted, according to the kernel's BTF. If the BTF does not show this, the
/// release decides: such a kernel has no BTF, and none of its symbols shows it either. (`tracepoint_srcu` is also in
/// 5.10 to 6.12, for another purpose.)
fn tracepoints_are_preemptible(facts: &KernelFacts) -> bool {
    const FIRST: Release = Release::new(7, 0);
    facts.preemptible_tracepoints.unwrap_or_else(|| Release::running() >= Some(FIRST))
}

/// Attaches the requested groups, each in the best way that works.
pub(super) fn all(
    object: &mut Ebpf,
    btf: Option<&Btf>,
    functions: &Functions<'_>,
    kinds: KindSet,
    facts: &KernelFacts,
    first: Way,
    again: Again<'_>,
) -> Result<Attached, StartError> {
    let arch = facts.arch.ok_or(StartError::Architecture)?;
    let preemptible = tracepoints_are_preemptible(facts);
    let order = order(first, preemptible);
    Ok(with_tracefs(|| {
        let mut attached = Attached::default();
        let ahead = load_ahead(object, btf, functions, &best(kinds, order), facts, arch);
        let into = &mut attached;
        let mut attacher = Attacher { arch, object, btf, functions, ahead, facts, again, preemptible, into };
        for group in GROUPS {
            attacher.group(group, kinds, order);
        }
        attached
    }))
}

/// The programs of the best way of each group.
fn best(kinds: KindSet, order: [Way; 3]) -> Vec<&'static Probe> {
    let of = |group: &'static Group| group.ways(order).take(1).flatten().filter(move |probe| group.wants(probe, kinds));
    GROUPS.iter().flat_map(of).collect()
}

/// Loads programs in parallel: most of the start is the work of the verifier. Returns those at functions. An error is
/// not reported here: what is not loaded is loaded again where it is attached.
fn load_ahead(
    object: &mut Ebpf,
    btf: Option<&Btf>,
    functions: &Functions<'_>,
    probes: &[&'static Probe],
    facts: &KernelFacts,
    arch: &Arch,
) -> Vec<(&'static str, OwnedFd)> {
    let complete = |probe: &&&Probe| facts.lacks(probe.needs).is_none();
    std::thread::scope(|scope| {
        for (name, program) in object.programs_mut() {
            if let Some(probe) = probes.iter().filter(complete).find(|probe| probe.name() == name) {
                scope.spawn(move || unless_interrupted(|| load(program, btf, probe)).ok());
            }
        }
        let at_functions = probes.iter().filter(complete).filter(|probe| match &probe.place {
            AttachPoint::Functions(_, names) => facts.functions.contains(&names(arch)[0]),
            _ => false,
        });
        let threads: Vec<_> = at_functions
            .map(|probe| scope.spawn(|| functions.load(probe.name()).ok().map(|fd| (probe.name(), fd))))
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
    })
}

struct Attacher<'a> {
    arch: &'static Arch,
    object: &'a mut Ebpf,
    btf: Option<&'a Btf>,
    functions: &'a Functions<'a>,
    /// Programs at functions that are loaded.
    ahead: Vec<(&'static str, OwnedFd)>,
    facts: &'a KernelFacts,
    again: Again<'a>,
    /// Whether programs at tracepoints can be preempted.
    preemptible: bool,
    into: &'a mut Attached,
}

/// The links and the status of a program.
struct Outcome {
    status: ProbeStatus,
    links: Vec<LinkHandle>,
    program: Option<OwnedFd>,
}

/// A program that runs, and a note on attach points where it does not.
struct Running {
    links: Vec<LinkHandle>,
    program: Option<OwnedFd>,
    note: Option<String>,
}

impl Attacher<'_> {
    fn group(&mut self, group: &Group, kinds: KindSet, order: [Way; 3]) {
        let mut best: Vec<Outcome> = Vec::new();
        for way in group.ways(order) {
            let wanted: Vec<&Probe> = way.iter().filter(|probe| group.wants(probe, kinds)).collect();
            if wanted.is_empty() {
                return;
            }
            let mut outcomes: Vec<Outcome> = wanted.iter().map(|probe| self.probe(probe)).collect();
            let works = |outcomes: &[Outcome]| outcomes.iter().filter(|o| o.status.attached).count();
            let fails = |outcome: &Outcome| !outcome.status.attached && !outcome.status.optional;
            let whole = !outcomes.iter().any(fails);
            if let Some(failed) = best.iter().find(|outcome| fails(outcome)).filter(|_| whole) {
                outcomes.iter_mut().for_each(|outcome| outcome.status.is_second_best(&failed.status));
            }
            if whole || best.is_empty() || works(&best) == 0 && works(&outcomes) > 0 {
                // This drops the links of the other way, so no event is delivered twice.
                best = outcomes;
            }
            if whole {
                break;
            }
        }
        for outcome in best {
            let program = outcome.status.name;
            self.into.links.extend(outcome.links.into_iter().map(|held| Link { program, held }));
            self.into.programs.extend(outcome.program.map(|fd| (outcome.status.name, fd)));
            self.into.probes.push(outcome.status);
        }
    }

    fn probe(&mut self, probe: &Probe) -> Outcome {
        let mut outcome = Outcome {
            status: ProbeStatus {
                name: probe.name(),
                kinds: probe.kinds(),
                attached: false,
                how: probe.place.name(self.arch),
                why: None,
                missing: probe.missing.to_string(),
                optional: probe.optional,
                remedy: None,
                preemptible: probe.place.is_preemptible(self.preemptible),
            },
            links: Vec::new(),
            program: None,
        };
        match self.load_and_attach(probe) {
            Ok(running) => {
                outcome.status.attached = true;
                let notes = [running.note, probe.place.blind(self.arch)].into_iter().flatten();
                outcome.status.why = Some(notes.collect::<Vec<_>>().join("; ")).filter(|why| !why.is_empty());
                outcome.links = running.links;
                outcome.program = running.program;
            }
            Err(failure) => {
                outcome.status.why = Some(failure.why);
                outcome.status.remedy = failure.remedy;
            }
        }
        outcome
    }

    fn load_and_attach(&mut self, probe: &Probe) -> Result<Running, Failure> {
        if let Some(why) = self.facts.lacks(probe.needs) {
            return Err(Failure { why, remedy: None });
        }
        if self.btf.is_none() && matches!(probe.place, AttachPoint::Btf(_) | AttachPoint::Exit(_)) {
            return Err(Failure {
                why: format!("{RUNNING} does not exist, and this probe needs its type ids"),
                remedy: Some("boot a kernel with CONFIG_DEBUG_INFO_BTF=y".to_string()),
            });
        }
        if let AttachPoint::Functions(at, names) = &probe.place {
            return self.functions(probe, *at, names(self.arch));
        }
        if let AttachPoint::Exit(name) = probe.place
            && !self.facts.functions.contains(&name)
        {
            return Err(no_function(name));
        }
        let program = program(self.object, probe).map_err(|error| plain(&error))?;
        if program.fd().is_err() {
            let loaded = unless_interrupted(|| load(program, self.btf, probe));
            loaded.map_err(|error| refused(self.again, probe, &error))?;
        }
        // Events that the kernel skips at a return are not counted here. Their requests have no completion and are
        // counted as such.
        let counted = !matches!(probe.place, AttachPoint::Exit(_));
        let fd = program.fd().ok().filter(|_| counted).and_then(|fd| fd.as_fd().try_clone_to_owned().ok());
        let (links, note) = attach(program, &probe.place, self.arch)?;
        Ok(Running { links, program: fd, note })
    }

    /// Loads a program for functions, and attaches it to those that the kernel has.
    fn functions(&mut self, probe: &Probe, at: At, names: &[&'static str]) -> Result<Running, Failure> {
        let there: Vec<_> = names.iter().copied().filter(|name| self.facts.functions.contains(name)).collect();
        if there.first() != names.first() {
            return Err(no_function(names[0]));
        }
        let program = match self.ahead.iter().position(|(name, _)| *name == probe.name()) {
            Some(at) => self.ahead.swap_remove(at).1,
            None => self.functions.load(probe.name()).map_err(|error| refusal(probe, &error.0, &error.1))?,
        };
        let link = Functions::attach(&program, at, &there)?;
        Ok(Running { links: vec![LinkHandle::Functions(link)], program: Some(program), note: None })
    }
}

/// Loads again, for the end of the verifier's log. After EPERM there is no log, because the verifier did not run.
fn refused(again: Again<'_>, probe: &Probe, error: &ProgramError) -> Failure {
    if let ProgramError::LoadError { io_error, .. } = error
        && io_error.raw_os_error() == Some(libc::EPERM)
    {
        return refusal(probe, io_error, "");
    }
    let logged =
        again().ok().and_then(|(mut object, btf)| load(program(&mut object, probe).ok()?, btf.as_ref(), probe).err());
    let error = logged.as_ref().unwrap_or(error);
    let ProgramError::LoadError { io_error, verifier_log } = error else { return plain(error) };
    refusal(probe, io_error, &verifier_log.to_string())
}

/// The error of a rejected program, with the end of the verifier's log.
fn refusal(probe: &Probe, error: &std::io::Error, log: &str) -> Failure {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
    let remedy = (error.raw_os_error() == Some(libc::EPERM))
        .then(|| format!("the kernel or its policy refuses programs at {}", probe.place.kind()));
    Failure { why: format!("{}: {error}\n{tail}", probe.name()).trim_end().to_string(), remedy }
}

fn no_function(name: &str) -> Failure {
    Failure { why: format!("this kernel has no function {name}"), remedy: None }
}

/// The number of lines of the verifier's log that are shown.
const LOG_LINES: usize = 6;

fn plain(error: &ProgramError) -> Failure {
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !why.contains(&text) {
            why = format!("{why}: {text}");
        }
        cause = error.source();
    }
    Failure { why, remedy: None }
}

fn program<'a>(object: &'a mut Ebpf, probe: &Probe) -> Result<&'a mut Program, ProgramError> {
    object.program_mut(probe.name()).ok_or_else(|| ProgramError::InvalidName { name: probe.name().to_string() })
}

fn load(program: &mut Program, btf: Option<&Btf>, probe: &Probe) -> Result<(), ProgramError> {
    match (program, &probe.place, btf) {
        (Program::BtfTracePoint(program), AttachPoint::Btf(names), Some(btf)) => {
            let mut loaded = Err(ProgramError::UnexpectedProgramType);
            for name in *names {
                loaded = program.load(name, btf);
                if !matches!(loaded, Err(ProgramError::Btf(_))) {
                    break;
                }
            }
            loaded
        }
        (Program::TracePoint(program), AttachPoint::Classic(..), _) => program.load(),
        (Program::FExit(program), AttachPoint::Exit(name), Some(btf)) => program.load(name, btf),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Attaches a loaded program. Returns the links, and a note on attach points that the kernel lacks.
fn attach(
    program: &mut Program,
    place: &AttachPoint,
    arch: &Arch,
) -> Result<(Vec<LinkHandle>, Option<String>), Failure> {
    match (program, place) {
        (Program::BtfTracePoint(program), AttachPoint::Btf(_)) => {
            let id = program.attach().map_err(|error| plain(&error))?;
            let link = program.take_link(id).map_err(|error| plain(&error))?;
            Ok((vec![LinkHandle::Btf(link)], None))
        }
        (Program::FExit(program), AttachPoint::Exit(_)) => {
            let id = program.attach().map_err(|error| plain(&error))?;
            let link = program.take_link(id).map_err(|error| plain(&error))?;
            Ok((vec![LinkHandle::Exit(link)], None))
        }
        (Program::TracePoint(program), AttachPoint::Classic(category, names, record)) => {
            let (mut links, mut notes) = (Vec::new(), Vec::new());
            for name in names(arch) {
                if let Some(moved) = moved(category, name, record) {
                    return Err(moved);
                }
                let link = program.attach(category, name).and_then(|id| program.take_link(id));
                match link {
                    Ok(link) => links.push(LinkHandle::Classic(link)),
                    Err(error) if links.is_empty() => return Err(no_tracefs(plain(&error))),
                    Err(error) => notes.push(format!("{name}: {}", plain(&error).why)),
                }
            }
            Ok((links, (!notes.is_empty()).then(|| notes.join("; "))))
        }
        _ => Err(plain(&ProgramError::UnexpectedProgramType)),
    }
}

/// The error if a field in the record of a classic tracepoint is not at the expected offset. (A missing tracepoint
/// fails to attach.)
fn moved(category: &str, name: &str, record: Record) -> Option<Failure> {
    let format = TRACEFS_PLACES
        .iter()
        .find_map(|at| fs::read_to_string(format!("{at}/events/{category}/{name}/format")).ok())?;
    let (field, ..) = record.iter().find(|field| !has_field(&format, field))?;
    Some(Failure { why: format!("{category}:{name} has its field {field} at an unexpected offset"), remedy: None })
}

/// Whether a `format` file of tracefs has a field with this name, offset and size. An example is
/// `\tfield:void * req;\toffset:16;\tsize:8;…`.
pub(crate) fn has_field(format: &str, (name, at, size): &(&str, usize, usize)) -> bool {
    let place = [format!("offset:{at}"), format!("size:{size}")];
    format.lines().any(|line| {
        let mut parts = line.trim().split(';').map(str::trim);
        let declared = parts.next().and_then(|part| part.strip_prefix("field:")).unwrap_or_default();
        // Arrays: `char[] filename`, `char comm[16]`.
        let declared = declared.rsplit([' ', '*']).next().and_then(|last| last.split('[').next());
        declared == Some(name) && place.iter().all(|wanted| parts.next() == Some(wanted))
    })
}

fn no_tracefs(failure: Failure) -> Failure {
    let remedy = "classic tracepoints need tracefs: run as root (sudo tracetui), or mount it as root: \
                  sudo mount -t tracefs tracefs /sys/kernel/tracing";
    Failure { remedy: Some(remedy.to_string()), ..failure }
}

/// The mount points of tracefs.
const TRACEFS_PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Runs `work` where tracefs is mounted. If necessary, `work` runs in a thread with its own mount namespace, so that
/// nothing on the system changes.
fn with_tracefs<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let seen = || TRACEFS_PLACES.iter().any(|place| Path::new(place).join("events").exists());
    if seen() {
        return work();
    }
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // If this is not permitted, attaching reports what is missing.
            let _ = mount_tracefs();
            work()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
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
