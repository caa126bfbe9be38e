//! A cgroup of root for a trace that was started in one of another user, as by sudo in a graphical terminal. Who can write to
//! a cgroup, or to one above it, can kill and freeze its processes, or take their CPU time.
//!
//! A process of its own removes the cgroup after the trace, which has no right to do so any more.

use rustix::fs::{AtFlags, Dir, Mode, OFlags, mkdirat, openat, statat, unlinkat};
use rustix::io::{Errno, write};
use rustix::process::geteuid;
use rustix::stdio::stdout;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use std::io::{self, Read as _, stdin};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use tracetui_events::text::{Charset, escaped};
use tracetui_host::cgroup::CgroupResolver;
use tracetui_host::read_bounded;

/// The name by which the program is started to remove the cgroup (`argv[0]`).
pub const NAME: &str = "tracetui-cgroup";

/// What decides over the processes of a cgroup: its directory, and these files in it.
const RULES: [&str; 10] = [
    ".",
    "cgroup.procs",
    "cgroup.threads",
    "cgroup.kill",
    "cgroup.freeze",
    "cpu.max",
    "cpu.weight",
    "memory.high",
    "memory.max",
    "pids.max",
];

/// Moves this process to a cgroup of root if another user can write to its own or to one above it, in the hierarchy of version 2.
/// Processes that it has started stay. The error is a sentence.
pub fn enter() -> Result<(), String> {
    let own = read_bounded("/proc/self/cgroup", 64 << 10).unwrap_or_default();
    let own = own.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"));
    let (Some(own), Ok(cgroups), true) = (own, CgroupResolver::new(), geteuid().is_root()) else { return Ok(()) };
    let ends = own.iter().enumerate().filter(|(at, byte)| *at > 0 && **byte == b'/').map(|(at, _)| at);
    let mut place = None;
    for end in [0].into_iter().chain(ends).chain([own.len()]) {
        // It is not below the mount, as in a container.
        let Some(dir) = cgroups.open_dir(&own[..end]) else { return Ok(()) };
        if !is_roots(&dir) {
            let why = place.ok_or(io::ErrorKind::PermissionDenied.into()).and_then(|place| move_to(&place));
            let foreign = escaped(&own[..end], Charset::Utf8.mode());
            return why.map_err(|error| {
                format!(
                    "another user can freeze or kill this trace by the cgroup {foreign}, and it cannot leave it: {error}; \
                     start it as a unit: systemd-run --scope tracetui"
                )
            });
        }
        place = Some(dir);
    }
    Ok(())
}

/// Whether only root can write to a cgroup.
fn is_roots(dir: &OwnedFd) -> bool {
    RULES.iter().filter_map(|file| statat(dir, *file, AtFlags::SYMLINK_NOFOLLOW).ok()).all(|stat| {
        let writes = |bits: u32| stat.st_mode & bits != 0;
        stat.st_uid == 0 && !writes(0o002) && (stat.st_gid == 0 || !writes(0o020))
    })
}

#[allow(clippy::zombie_processes, reason = "it outlives this process")]
fn move_to(place: &OwnedFd) -> io::Result<()> {
    const PREFIX: &str = "tracetui-";
    // Who may kill a trace may also kill the process that removes its cgroup.
    for left in Dir::read_from(place)?.filter_map(Result::ok) {
        let of = left.file_name().to_str().ok().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if of.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = unlinkat(place, left.file_name(), AtFlags::REMOVEDIR);
        }
    }
    let name = format!("{PREFIX}{}", std::process::id());
    let (end, ours) = io::pipe()?;
    mkdirat(place, &name, Mode::from_raw_mode(0o755))?;
    Command::new("/proc/self/exe")
        .arg0(NAME)
        .arg(&name)
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(end)
        .stdout(place.try_clone()?)
        .stderr(Stdio::null())
        .spawn()?;
    // It is closed with the process.
    std::mem::forget(ours);
    let procs = openat(place, format!("{name}/cgroup.procs"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write(procs, b"0")?;
    Ok(())
}

/// The main function of the process that removes the cgroup `argv[1]` when its stdin is closed.
pub fn run() -> ExitCode {
    // The directory of the root has no mode for writing.
    let kept = CapabilitySet::DAC_OVERRIDE;
    let kept = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    if set_capabilities(None, kept).and_then(|()| set_no_new_privs(true)).is_err() {
        return ExitCode::FAILURE;
    }
    let _ = stdin().read(&mut [0]);
    let name = std::env::args_os().nth(1).unwrap_or_default();
    // The inspector may end later.
    for _ in 0..300 {
        match unlinkat(stdout(), &name, AtFlags::REMOVEDIR) {
            Err(Errno::BUSY) => std::thread::sleep(Duration::from_millis(100)),
            _ => break,
        }
    }
    ExitCode::SUCCESS
}
