//! The BPF programs, links and attachments that exist, collected from user space.
//!
//! bpf(2) lists programs and links, but not where a program is attached without a link. This crate therefore queries
//! every place: each perf event of a process, cgroup, interface, network namespace and map of sockets. An attachment
//! found there that belongs to a link is not reported twice.
//!
//! An object that is removed while it is being read is counted as vanished and left out. Unreadable objects are
//! reported ([`Inventory::unseen`]). Everything is bounded ([`tracetui_events::limits`]).
//!
//! User space cannot see: perf events that no process holds by a descriptor; pins in other mount namespaces; network
//! namespaces that neither a process nor a mount of tracetui's namespace refers to;
//! seccomp filters and lwt, which the kernel does not list.

mod descriptors;
mod helpers;
pub mod inet;
mod iterators;
mod links;
mod lister;
mod maps;
mod mounts;
mod namespaces;
mod netlink;
pub mod network;
mod perf;
mod places;
pub mod processes;
mod programs;
mod sys;
pub mod testing;
mod unread_objects;

use foldhash::{HashMap, HashSet};
pub use helpers::BASE;
use helpers::Helpers;
use iterators::Iterators;
pub use mounts::start_pins;
pub use netlink::{RouteChanges, Sockets};
pub use programs::counters;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracetui_events::bpf::{EVENTS, Hook, InterfacePart, Inventory, LINKS, SOCKETS, Unseen, VIEWS, Via, View};
use tracetui_events::frame::host::{BpfAttachment, BpfHidden, BpfProgram};
use tracetui_events::limits;
use tracetui_events::text::without_codes;
use tracetui_host::background::{Pace, Pieces};
use tracetui_host::confine::Spawner;
use tracetui_host::kallsyms;
use tracetui_host::mounts::Mounts;
use tracetui_host::procfs::namespace;
use tracetui_shared::id::{LinkId, NsInum, ProgId};
use unread_objects::Unlooked;

/// Takes inventories. Keeps the data that does not change from one to the next: the addresses of helpers, the kernel's
/// types, the names of functions.
#[derive(Default)]
pub struct Collector {
    programs: programs::ProgramReader,
    /// The programs of the last inventory. Nothing in them changes but their counters.
    known: HashMap<u32, programs::Read>,
    /// Whether to read the counters of all programs in each inventory. Set it when runs are counted.
    pub counted: bool,
    types: links::Types,
    helpers: Option<Helpers>,
    /// The iterators, loaded for the first inventory, or why they could not be loaded. The inner value is `None` if this kernel lacks
    /// them.
    iterators: Option<Result<Option<Iterators>, String>>,
    aside: Duration,
    /// The thread that searches for pins, if the caller may not do so itself.
    pins: Option<Spawner>,
    /// The links that cannot be opened, although they exist.
    hidden_links: HashSet<LinkId>,
    /// Since when other links cannot be opened.
    unopened: HashMap<LinkId, Instant>,
    sockets: Option<Sockets>,
    interfaces: network::Interfaces,
    /// The programs that links attached to interfaces in the last inventory, with the number and the namespace of the interface.
    linked: Vec<(ProgId, u32, NsInum)>,
    /// The pace of everything that it reads. `None` if it has no pauses.
    pace: Option<Arc<Pace>>,
}

/// How long the creation or the release of a link may take. Until then, inventories wait for it.
const UNOPENED: Duration = Duration::from_secs(10);

impl Collector {
    /// A collector whose pins are searched, and whose sockets are opened, by separate threads.
    pub fn with_threads(pins: Spawner, sockets: Sockets, pace: Arc<Pace>) -> Collector {
        Collector { pins: Some(pins), sockets: Some(sockets), pace: Some(pace), ..Collector::default() }
    }

    /// See [`RouteChanges`]. `None` if there is no thread that opens it, or it cannot be opened.
    pub fn changes(&self) -> Option<RouteChanges> {
        self.sockets.as_ref()?.changes().ok()
    }

    /// The netlink attachments in tracetui's network namespace, with those of XDP links. Notifications are compared with them until the
    /// first inventory. `None` if they cannot be read.
    pub fn attached_by_netlink(&mut self) -> Option<(NsInum, Vec<BpfAttachment>)> {
        let own = namespace("/proc/self", "net").unwrap_or_default();
        let mut network = network::of_own(own, self.sockets.as_ref()).ok()?;
        self.interfaces = network::Interfaces::of(&mut network, own);
        network.found.retain(|facts| facts.via == Via::Netlink);
        Some((own, network.found))
    }

    /// Reads the notifications about interfaces that came since. Returns the parts of interfaces that changed since the last inventory,
    /// and whether notifications were lost or of programs in an unknown block. An XDP program may be that of a
    /// [link](network::xdp_links).
    pub fn changed_parts(&mut self, routes: &mut RouteChanges) -> (Vec<InterfacePart>, bool) {
        let (mut parts, mut unknown) = (Vec::new(), false);
        let lost = routes.read(|datagram| unknown |= !self.interfaces.changes(datagram, &mut parts));
        (parts, lost || unknown)
    }

    /// How many links of the last inventory attach a program to interfaces with this number in other namespaces.
    pub fn links_elsewhere(&self, program: ProgId, ifindex: u32, netns: NsInum) -> usize {
        self.linked.iter().filter(|(of, at, ns)| (*of, *at) == (program, ifindex) && *ns != netns).count()
    }

    pub fn take_inventory(&mut self, own: &HashSet<ProgId>) -> io::Result<Inventory> {
        self.load_programs();
        let mut inventory = self.collect(own)?;
        match self.hidden(&inventory) {
            Ok(hidden) => inventory.hidden = hidden,
            Err(why) => inventory.unseen.push(Unseen { what: VIEWS, why: without_codes(&why), remedy: "" }),
        }
        if inventory.unseen.is_empty() {
            // Other programs came meanwhile.
            let exists = |id: ProgId| sys::open(sys::ObjectKind::Program, id.0).is_ok_and(|program| program.is_some());
            let is_hidden = |id| inventory.hidden.iter().any(|hidden| hidden.id == id);
            let is_later = |id: &ProgId| inventory.program(*id).is_none() && !is_hidden(*id) && exists(*id);
            let later = inventory.attachments.iter().filter(|facts| facts.link.0 == 0).map(|facts| facts.program);
            let later: HashSet<_> = later.filter(is_later).collect();
            inventory.attachments.retain(|facts| facts.link.0 != 0 || !later.contains(&facts.program));
        }
        Ok(inventory)
    }

    /// One program. `None` if it was removed or cannot be read. Call this only after the first inventory.
    pub fn program(&mut self, id: ProgId, own: &HashSet<ProgId>) -> Option<BpfProgram> {
        let mut read = self.programs.read(id).ok().flatten()?;
        self.helpers.as_ref()?.describe(&mut read);
        Some(BpfProgram { own: own.contains(&id) || self.is_iterator(id), ..read.facts })
    }

    /// The processor time, since the last call, of the threads that the collector started.
    pub fn took_aside(&mut self) -> Duration {
        std::mem::take(&mut self.aside)
    }

    /// Loads the programs of tracetui, unless they are loaded. Every inventory uses them.
    pub fn load_programs(&mut self) {
        self.helpers.get_or_insert_with(Helpers::load);
        self.iterators.get_or_insert_with(|| {
            let count = |kind| sys::ids(kind, limits::BPF_PROGRAMS).map_or(0, |(ids, _)| ids.len());
            let most = count(sys::ObjectKind::Program).max(count(sys::ObjectKind::Link));
            Iterators::load(most)
        });
    }

    fn iterators(&mut self) -> Option<&mut Iterators> {
        self.iterators.as_mut()?.as_mut().ok()?.as_mut()
    }

    fn is_iterator(&self, id: ProgId) -> bool {
        self.iterators.iter().flatten().flatten().any(|iterators| iterators.has(id))
    }

    fn hidden(&mut self, inventory: &Inventory) -> Result<Vec<BpfHidden>, String> {
        let found = match &mut self.iterators {
            Some(Ok(Some(iterators))) => iterators.hidden(inventory, &self.known)?,
            Some(Err(why)) => return Err(why.clone()),
            _ => Vec::new(),
        };
        let unopened = found.iter().filter(|hidden| hidden.link.0 != 0 && hidden.missing_in == View::FdById);
        self.hidden_links.extend(unopened.map(|hidden| hidden.link));
        Ok(found)
    }

    fn collect(&mut self, own: &HashSet<ProgId>) -> io::Result<Inventory> {
        let mut unlooked = Unlooked::default();
        let pace = self.pace.clone();
        let mut pieces = Pieces::new(pace.as_deref());
        let mut programs = self.read_programs(&mut pieces, &mut unlooked)?;
        let cgroups = places::Cgroups::read(&mut unlooked);
        let (mut links, unopened_links, unread_links) =
            self.read_links(&programs, &cgroups.paths, &mut pieces, &mut unlooked);

        let namespaces = self.iterators().map(Iterators::namespaces).unwrap_or_default();
        let mut held = match self.iterators().and_then(Iterators::held) {
            Some(held) => held,
            None => {
                let held = processes::read(&mut pieces, &mut unlooked);
                unlooked.note("processes", held).unwrap_or_default()
            }
        };
        if held.refused > 0 {
            let why = format!("no permission to read the descriptors of {} processes", held.refused);
            unlooked.add("descriptors of processes", why, "run as root on the host: sudo tracetui bpf");
        }
        let mut holders = std::mem::take(&mut held.holders);
        let mounts = unlooked.note("mounts", Mounts::read());
        let may_wait = mounts.as_ref().is_some_and(|mounts| !mounts.may_be_silent());
        if let Some(mounts) = mounts {
            mounts::add_namespaces(&mounts, &mut held.namespaces, &mut unlooked);
            holders.extend(match &self.pins {
                Some(thread) => mounts::pins_of(thread, mounts, &mut unlooked),
                None => mounts::pins(&mounts, &mut unlooked),
            });
        }
        let unreachable = self.iterators().and_then(|all| all.unreachable(namespaces, &held.namespaces));
        let own_namespace = namespace("/proc/self", "net").unwrap_or_default();
        let mut network = network::read(&held.namespaces, own_namespace, self.sockets.as_ref(), &mut unlooked);
        self.aside += network.aside;
        unlooked.unseen.extend(unreachable);
        self.interfaces = network::Interfaces::of(&mut network, own_namespace);

        let mut rest = Vec::new();
        perf::join(held.perf, &mut links, &mut rest, &mut holders);
        let events = std::mem::take(&mut held.events);
        match self.iterators().filter(|_| !events.is_empty()).and_then(Iterators::linked_events) {
            Some(linked) => perf::add(events, &linked, &mut rest, &mut holders),
            None => held.unresolved.extend(events.into_iter().map(|(_, by)| perf::unresolved(by))),
        }
        match held.sockets.take() {
            Some(all) => processes::sockets(all, &mut rest, &mut holders, &mut held.unresolved),
            None => unlooked.add(SOCKETS, "only the kernel's iterators show them".to_owned(), ""),
        }
        // The kernel does not report the namespace of a link at an interface. Prefer the place of the last inventory.
        let place = |facts: &BpfAttachment| Some((facts.program, facts.ifindex?, facts.netns?));
        let had_link = |facts: &BpfAttachment| place(facts).is_some_and(|place| self.linked.contains(&place));
        network.found.sort_by_key(|facts| !had_link(facts));
        network.join(&mut links, &mut rest);
        self.linked = links.iter().filter_map(place).collect();
        let in_maps = maps::programs(&links, &programs, &mut self.types, &mut unlooked);
        unexplained(cgroups.attached(&mut unlooked).into_iter().chain(in_maps), &links, &mut rest);
        places::name_tracepoints(&mut links, &mut rest);
        places::name_files(&mut links, &mut rest, &holders, may_wait);

        let helpers = self.helpers.get_or_insert_with(Helpers::load);
        if programs.values().any(|read| helpers.needs_symbols(&read.called)) {
            let symbols = kallsyms::snapshot(&mut pieces).ok().map(|snapshot| snapshot.table);
            helpers.name(symbols.as_ref(), programs.values().map(|read| &read.called));
        }
        programs.values_mut().for_each(|read| helpers.describe(read));
        let unresolved = perf::without_links(held.unresolved, &links, &holders, &programs);
        if unresolved.iter().any(|one| one.hook == Hook::PerfEvent) {
            unlooked.add(EVENTS, "only the kernel's iterators show them".to_owned(), "");
        }
        let mut inventory = Inventory {
            programs: programs
                .values()
                .map(|programs::Read { facts, .. }| {
                    let own = own.contains(&facts.id) || self.is_iterator(facts.id);
                    BpfProgram { own, ..facts.clone() }
                })
                .collect(),
            runs: programs.values().map(|read| (read.facts.id, read.runs)).collect(),
            attachments: links,
            holders,
            hidden: Vec::new(),
            unresolved,
            unseen: unlooked.unseen,
            vanished: unlooked.vanished,
            unopened_links,
            unread_links,
        };
        inventory.programs.sort_unstable_by_key(|program| program.id);
        rest.sort_by(|a, b| (a.program, a.hook, &a.target).cmp(&(b.program, b.hook, &b.target)));
        inventory.attachments.extend(rest);
        self.known = programs;
        Ok(inventory)
    }

    fn read_programs(
        &mut self,
        pieces: &mut Pieces<'_>,
        unlooked: &mut Unlooked,
    ) -> io::Result<HashMap<u32, programs::Read>> {
        let listed = sys::ids(sys::ObjectKind::Program, limits::BPF_PROGRAMS);
        let (ids, all) = listed.map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => io::Error::other(
                "cannot list BPF programs: missing CAP_SYS_ADMIN: run as root on the host: sudo tracetui bpf",
            ),
            _ => io::Error::other(format!("cannot list BPF programs: {error}")),
        })?;
        if !all {
            unlooked.cut("programs", limits::BPF_PROGRAMS);
        }
        let mut known = std::mem::take(&mut self.known);
        let mut programs = HashMap::default();
        for id in ids {
            pieces.rest();
            let read = match known.remove(&id) {
                Some(read) if !self.counted => Ok(Some(read)),
                Some(read) => Ok(counters(read.facts.id).map(|runs| programs::Read { runs, ..read })),
                None => self.programs.read(ProgId(id)),
            };
            match unlooked.note("programs", read) {
                Some(Some(read)) => _ = programs.insert(id, read),
                Some(None) => unlooked.vanished += 1,
                None => {}
            }
        }
        Ok(programs)
    }

    fn read_links(
        &mut self,
        programs: &HashMap<u32, programs::Read>,
        cgroups: &HashMap<u64, Vec<u8>>,
        pieces: &mut Pieces<'_>,
        unlooked: &mut Unlooked,
    ) -> (Vec<BpfAttachment>, Vec<LinkId>, HashSet<LinkId>) {
        // EINVAL: before 5.8, links have no ids.
        let (ids, all) =
            unlooked.note(LINKS, sys::ids(sys::ObjectKind::Link, limits::BPF_PROGRAMS)).unwrap_or_default();
        if !all && !ids.is_empty() {
            unlooked.cut(LINKS, limits::BPF_PROGRAMS);
        }
        let mut names = links::LookupTables { programs, cgroups, types: &mut self.types };
        let before = std::mem::take(&mut self.unopened);
        let (mut links, mut unopened, mut unread) = (Vec::with_capacity(ids.len()), Vec::new(), HashSet::default());
        for id in ids.into_iter().map(LinkId) {
            pieces.rest();
            match unlooked.note(LINKS, links::read(id, &mut names)) {
                Some(Some(facts)) => links.push(facts),
                Some(None) if self.hidden_links.contains(&id) => {}
                Some(None) => {
                    let since = *before.get(&id).unwrap_or(&Instant::now());
                    self.unopened.insert(id, since);
                    if since.elapsed() < UNOPENED {
                        unopened.push(id);
                    } else {
                        unlooked.add(LINKS, format!("link {} cannot be opened", id.0), "");
                    }
                }
                None => _ = unread.insert(id),
            }
        }
        unlooked.vanished += unopened.len() as u64;
        (links, unopened, unread)
    }
}

/// Adds the attachments that no link explains. Each link explains one.
fn unexplained(found: impl Iterator<Item = BpfAttachment>, links: &[BpfAttachment], rest: &mut Vec<BpfAttachment>) {
    let place = |facts: &BpfAttachment| (facts.program, facts.hook, facts.target.clone());
    let mut linked: HashMap<_, usize> = HashMap::default();
    links.iter().for_each(|link| *linked.entry(place(link)).or_default() += 1);
    for facts in found {
        match linked.get_mut(&place(&facts)) {
            Some(left) if *left > 0 => *left -= 1,
            _ => rest.push(facts),
        }
    }
}

/// Keeps the kernel counting runs until it is dropped. `struct bpf_prog_info` has the counts.
#[derive(Debug)]
pub struct RunStatistics(#[allow(dead_code, reason = "its end turns the counting off")] OwnedFd);

impl RunStatistics {
    /// Turns counting on (5.8+). It costs some tens of nanoseconds for each run of every program.
    /// Needs CAP_SYS_ADMIN.
    pub fn enable() -> io::Result<RunStatistics> {
        sys::enable_stats().map(RunStatistics)
    }

    pub fn are_on() -> bool {
        tracetui_host::read_bounded("/proc/sys/kernel/bpf_stats_enabled", 16)
            .is_ok_and(|value| value.trim_ascii() == b"1")
    }
}

/// Empty before 5.8, where links have no ids. Needs CAP_SYS_ADMIN.
pub fn link_ids() -> io::Result<Vec<u32>> {
    match sys::ids(sys::ObjectKind::Link, limits::BPF_PROGRAMS) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(Vec::new()),
        ids => ids.map(|(ids, _)| ids),
    }
}

pub fn update_counters(inventory: &mut Inventory) {
    inventory.runs.extend(inventory.programs.iter().filter_map(|program| Some((program.id, counters(program.id)?))));
}

/// Held by each test that loads programs: views are not compared while too many are loaded.
#[cfg(test)]
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
