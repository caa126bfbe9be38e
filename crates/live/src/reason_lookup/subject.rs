//! The process whose root, directory and ids the lookup uses. This is the caller, or an ancestor if the caller has
//! ended.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use tracetui_events::text::command::leaf;
use tracetui_events::why::access::Credentials;
use tracetui_events::why::{Need, Question, Who};
use tracetui_host::procfs::{self, namespace};
use tracetui_host::{decimal, read_bounded};
use tracetui_shared::id::NsInum;

/// The maximum number of bytes read from /proc/PID/status and from the maps of a user namespace.
const TEXT_MAX: u64 = 64 << 10;

/// The maximum number of bytes of the list of Unix sockets that are read.
const SOCKETS_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Subject {
    /// The directory of the process in /proc. It is the calling thread's if that still exists.
    pub dir: String,
    /// Whether the process is the caller.
    pub own: bool,
    pub credentials: Credentials,
    /// Where the lookup took place, if not in the caller.
    pub note: Option<Vec<u8>>,
}

impl Subject {
    pub(super) fn find(question: &Question) -> Result<Subject, Vec<u8>> {
        if procfs::initial_self().is_err() {
            return Err(b"/proc does not show the traced processes".to_vec());
        }
        let runs = |who: &Who| procfs::runs(who.key.tgid, who.key.start);
        let same_mounts = |dir: &str| namespace(dir, "mnt") == Some(question.mnt_ns);
        let caller = || {
            let (process, thread) = (question.process.key.tgid.0, question.tid.0);
            let task = format!("/proc/{process}/task/{thread}");
            if Path::new(&task).exists() { task } else { format!("/proc/{process}") }
        };
        // One that is ending still runs, without namespaces.
        let own = runs(&question.process) && namespace(&caller(), "mnt").is_some();
        let (dir, ancestor) = if own {
            (caller(), None)
        } else {
            let ancestor =
                question.ancestors.iter().find(|who| runs(who) && same_mounts(&format!("/proc/{}", who.key.tgid.0)));
            let ancestor =
                ancestor.ok_or(b"the process ended, and no ancestor is running in its mount namespace".to_vec())?;
            (format!("/proc/{}", ancestor.key.tgid.0), Some(ancestor))
        };
        if !same_mounts(&dir) {
            return Err(b"the process has changed its mount namespace".to_vec());
        }
        let root = link(&dir, "root");
        if question.root.as_ref().is_some_and(|at_event| Some(at_event) != root.as_ref()) {
            return Err(b"the process has changed its root directory".to_vec());
        }
        let relative = !question.path.starts_with(b"/") && !question.path.is_empty();
        if relative && question.start.is_none() {
            return Err(b"its directory at the call is unknown".to_vec());
        }
        // Recorded directories are paths in the mount namespace.
        if relative && root.as_deref() != Some(b"/") {
            return Err(b"its directory cannot be resolved from its root".to_vec());
        }
        let mut note = ancestor.map(|ancestor| {
            let root = format!("process gone; looked up from the root of {} ", ancestor.key.tgid.0);
            [root.as_bytes(), &ancestor.comm].concat()
        });
        let credentials = credentials(&dir, question).unwrap_or_else(|| {
            note.get_or_insert_with(|| b"its ids have changed since".to_vec());
            if let (Some(note), true) = (&mut note, question.ids.0 != 0) {
                note.extend_from_slice(b"; assumed to have no capabilities");
            }
            only_ids(question)
        });
        Ok(Subject { credentials, dir, own, note })
    }

    /// The path of another Unix socket of the network namespace with the same last name (proc(5), `/proc/PID/net/unix`).
    pub(super) fn other_socket(&self, path: &[u8]) -> Option<Vec<u8>> {
        let name = Some(leaf(path)).filter(|name| !name.is_empty())?;
        let list = read_bounded(format!("{}/net/unix", self.dir), SOCKETS_MAX).ok()?;
        let paths = list
            .split(|byte| *byte == b'\n')
            .filter_map(|line| line.iter().position(|byte| *byte == b'/').map(|at| &line[at..]));
        let mut others = paths.filter(|other| *other != path && leaf(other) == name);
        others.next().map(<[u8]>::to_vec)
    }
}

fn link(dir: &str, name: &str) -> Option<Vec<u8>> {
    let target = std::fs::read_link(format!("{dir}/{name}")).ok()?;
    Some(target.as_os_str().as_bytes().to_vec())
}

fn numbers<'a>(status: &'a [u8], name: &str) -> Option<impl Iterator<Item = &'a [u8]>> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
    Some(line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()))
}

/// The credentials that are known if no process has the ids of the event. A process loses its capabilities when it
/// becomes a user other than root.
fn only_ids(question: &Question) -> Credentials {
    let (uid, gid) = question.ids;
    Credentials { uid, gid, groups: None, capabilities: (uid != 0).then_some(0), mapped: None }
}

/// The credentials for files of the process that replaces the caller, if it has the ids of the event.
fn credentials(dir: &str, question: &Question) -> Option<Credentials> {
    let (uid, gid) = question.ids;
    let status = read_bounded(format!("{dir}/status"), TEXT_MAX).ok()?;
    let ids = |name| numbers(&status, name).map(|words| words.filter_map(decimal).collect::<Vec<u32>>());
    let (uids, gids) = (ids("Uid:")?, ids("Gid:")?);
    // The order of the ids: real, effective, saved, for files. Only setfsuid(2), of which events say nothing, makes the last ones others.
    let group = usize::from(question.call.need == Need::Program);
    if (uids.get(1), uids.get(3), gids.get(group)) != (Some(&uid), Some(&uid), Some(&gid)) {
        return None;
    }
    let gid = *gids.get(3)?;
    let capabilities = numbers(&status, "CapEff:").and_then(|mut words| words.next());
    let capabilities = capabilities.and_then(|word| u64::from_str_radix(str::from_utf8(word).ok()?, 16).ok());
    let initial = namespace(dir, "user") == Some(INITIAL_USER_NS);
    let mapped = (!initial).then(|| [map(dir, "uid_map"), map(dir, "gid_map")]);
    Some(Credentials { uid, gid, groups: ids("Groups:"), capabilities, mapped })
}

/// `PROC_USER_INIT_INO`
/// ([include/linux/proc_ns.h](https://elixir.bootlin.com/linux/v6.12/source/include/linux/proc_ns.h)).
const INITIAL_USER_NS: NsInum = NsInum(4_026_531_837);

/// The ids of a user namespace, as tracetui sees them: first ids and counts.
fn map(dir: &str, name: &str) -> Vec<(u32, u32)> {
    let text = read_bounded(format!("{dir}/{name}"), TEXT_MAX).unwrap_or_default();
    let range = |line: &[u8]| {
        let numbers: Vec<u32> = line.split(u8::is_ascii_whitespace).filter_map(decimal).collect();
        Some((*numbers.get(1)?, *numbers.get(2)?))
    };
    text.split(|byte| *byte == b'\n').filter_map(range).collect()
}
