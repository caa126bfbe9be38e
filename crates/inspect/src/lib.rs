//! The BPF programs, links and attachments that exist, collected from user space.
//!
//! | module | subject |
//! |---|---|
//! | [`sys`] | bpf(2) |
//! | [`programs`], [`links`] | the objects with ids |
//! | [`helpers`] | the helpers and kfuncs that a program calls |
//! | [`processes`] | the holders of programs and links, perf events, network namespaces |
//! | [`mounts`] | pins, named network namespaces |
//! | [`network`], [`netlink`] | XDP, tc, tcx, netkit, flow dissector, sk_lookup |
//! | [`inet`] | listening sockets, routes; for why connections failed |
//! | [`perf`] | perf events without links |
//! | [`places`] | cgroups, names of tracepoints |
//! | [`maps`] | the programs in maps |
//! | [`lister`], [`iterators`] | programs and links, by tracetui's programs in the kernel |
//! | [`descriptors`] | the same as [`processes`], by such programs |
//! | [`answers`] | what queries report at a place |
//! | [`attached`] | the places of [`network`], [`places`] and [`maps`], by such programs |
//! | [`cross`] | which programs are hidden |
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

mod answers;
mod attached;
mod cross;
mod descriptors;
mod helpers;
pub mod inet;
mod iterators;
mod links;
mod lister;
mod maps;
mod mounts;
mod netlink;
pub mod network;
mod perf;
mod places;
pub mod processes;
mod programs;
mod sys;
mod view;

use answers::{Answers, Place};
use cross::Churn;
pub use helpers::BASE;
use helpers::Helpers;
use iterators::{Iterators, Layout};
pub use mounts::Pins;
pub use netlink::{RouteChanges, Sockets};
pub use programs::counters;
use rustc_hash::{FxHashMap, FxHashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracetui_events::bpf::{
    AttachFacts, EVENTS, Hidden, Hook, InterfacePart, Inventory, LINKS, NotScanned, ProgramFacts, SOCKETS, Unseen, Via,
    View,
};
use tracetui_events::limits;
use tracetui_events::symbols::{Snapshot, Unavailable};
use tracetui_events::text::without_codes;
use tracetui_host::clock::now_thread;
use tracetui_host::confine::Spawner;
use tracetui_host::kallsyms;
use tracetui_host::ksymbols::ProgramStream;
use tracetui_host::mounts::Mounts;
use tracetui_host::pace::{Pace, Pieces};
use tracetui_shared::id::{LinkId, NsInum, ProgId};
use view::Unlooked;

/// Why no inventory can be taken at all.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// CAP_SYS_ADMIN is missing, without which bpf(2) lists no objects.
    #[error("cannot list BPF programs: missing CAP_SYS_ADMIN: run as root on the host: sudo tracetui bpf")]
    NotPermitted,
    #[error("cannot list BPF programs: {0}")]
    Failed(io::Error),
}

/// Takes inventories. Keeps the data that does not change from one to the next: the addresses of helpers, the kernel's
/// types, the names of functions.
#[derive(Default)]
pub struct Collector {
    programs: programs::ProgramReader,
    /// The programs of the last inventory. Nothing in them changes but their counters.
    known: FxHashMap<u32, programs::Read>,
    /// Whether runs were ever counted, so that the counters may have changed.
    counted: bool,
    types: links::Types,
    helpers: Option<Helpers>,
    /// When the next comparison may read the kernel's symbols.
    symbols_due: Option<Instant>,
    /// The offsets that the iterators read on this kernel.
    layout: Option<Result<Layout, String>>,
    /// The iterators, loaded for the first comparison and then kept. The inner value is `None` if this kernel lacks
    /// them.
    iterators: Option<Option<Iterators>>,
    /// The processor time of the threads that the collector started.
    aside: Duration,
    /// The thread that searches for pins, if the caller may not do so itself.
    pins: Option<Pins>,
    /// The answers of the last inventory about the programs of places.
    answers: Answers,
    /// The hidden attachments that the last comparison found.
    unlisted: FxHashSet<(Place, ProgId)>,
    /// The links that cannot be opened, although they exist.
    hidden_links: FxHashSet<LinkId>,
    /// Since when other links cannot be opened.
    unopened: FxHashMap<LinkId, Instant>,
    /// The ids tried so far to find hidden programs.
    numbers: cross::Numbers,
    sockets: Option<Sockets>,
    /// The interfaces of the last inventory.
    interfaces: network::Interfaces,
    /// The programs that links attached to interfaces in the last inventory, with the number and the namespace of the interface.
    linked: Vec<(ProgId, u32, NsInum)>,
    /// The thread that opens rings of changes.
    streams: Option<Spawner>,
    /// The pace of everything that it reads. `None` if it has no pauses.
    pace: Option<Arc<Pace>>,
    /// The facts found by programs that were loaded at the start, if none may be loaded later.
    sealed: Option<Sealed>,
}

/// Facts that need programs of tracetui, which a trace loads only at its start.
struct Sealed {
    /// The distance of a known helper.
    distance: Result<i32, NotScanned>,
    /// The highest program id at the start.
    newest: ProgId,
}

/// A result that is read concurrently with the rest.
enum Aside<T> {
    /// A thread's result, with the processor time that it used.
    Thread(JoinHandle<(T, Duration)>),
    Done(T),
}

/// Runs `act` on a separate thread, or at once if no thread can be started.
fn aside<T: Send + 'static>(act: impl Fn() -> T + Clone + Send + 'static) -> Aside<T> {
    let other = act.clone();
    let thread = std::thread::Builder::new().spawn(move || (other(), now_thread()));
    thread.map_or_else(|_| Aside::Done(act()), Aside::Thread)
}

/// The pages of each CPU's ring of the stream during a comparison. They hold some 1,200 changes.
const STREAM_PAGES: usize = 32;

/// The pause after a read of the kernel's symbols, as a multiple of the processor time that it took. That grows with the square of the
/// number of programs: to list one, the kernel walks over those before it
/// ([`bpf_get_kallsym`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/core.c)).
const SYMBOLS: u32 = 200;

/// How long the creation or the release of a link may take. Until then, inventories wait for it.
const UNOPENED: Duration = Duration::from_secs(10);

/// How many inventories must confirm a hidden attachment.
const CONFIRMATIONS: usize = 8;

impl Collector {
    /// A collector whose pins are searched, and whose sockets and streams are opened, by separate threads.
    pub fn with_threads(pins: Pins, sockets: Sockets, streams: Spawner, pace: Arc<Pace>) -> Collector {
        let (pins, sockets, streams, pace) = (Some(pins), Some(sockets), Some(streams), Some(pace));
        Collector { pins, sockets, streams, pace, ..Collector::default() }
    }

    /// See [`RouteChanges`]. `None` if there is no thread that opens it, or it cannot be opened.
    pub fn changes(&self) -> Option<RouteChanges> {
        self.sockets.as_ref()?.changes().ok()
    }

    /// The netlink attachments in tracetui's network namespace, with those of XDP links. Notifications are compared with them until the
    /// first inventory. `None` if they cannot be read.
    pub fn attached_by_netlink(&mut self) -> Option<(NsInum, Vec<AttachFacts>)> {
        let own = places::own_network_namespace();
        let mut network = network::of_own(own, self.sockets.as_ref()).ok()?;
        self.interfaces = network::Interfaces::of(&mut network, own);
        let found = network.found.into_iter().map(|found| found.facts);
        Some((own, found.filter(|facts| facts.via == Via::Netlink).collect()))
    }

    /// Reads the notifications about interfaces that came since. Returns the parts of interfaces that changed since the last inventory,
    /// and whether notifications were lost or of programs in an unknown namespace. An XDP program may be that of a
    /// [link](network::xdp_links).
    pub fn changed_parts(&mut self, routes: &mut RouteChanges) -> (Vec<InterfacePart>, bool) {
        let (mut parts, mut unknown) = (Vec::new(), false);
        let lost =
            routes.read(|namespace, datagram| unknown |= !self.interfaces.changes(namespace, datagram, &mut parts));
        (parts, lost || unknown)
    }

    /// How many links of the last inventory attach a program to interfaces with this number in other namespaces.
    pub fn links_elsewhere(&self, program: ProgId, ifindex: u32, netns: NsInum) -> usize {
        self.linked.iter().filter(|(of, at, ns)| (*of, *at) == (program, ifindex) && *ns != netns).count()
    }

    /// Whether a network namespace of the last inventory sends no notifications.
    pub fn is_silent(&self) -> bool {
        self.interfaces.silent
    }

    /// Reads the counters of all programs in each inventory from now on. Call it when runs are counted.
    pub fn follow_counters(&mut self) {
        self.counted = true;
    }

    /// All objects that exist now. `own` are tracetui's programs.
    pub fn take(&mut self, own: &FxHashSet<ProgId>) -> Result<Inventory, InventoryError> {
        let symbols = self.helpers.is_none().then(|| self.read_symbols());
        self.collect(own, symbols).map(|(inventory, _)| inventory)
    }

    /// One program. `None` if it was removed or cannot be read. Call this only after the first inventory.
    pub fn program(&mut self, id: ProgId, own: &FxHashSet<ProgId>) -> Option<ProgramFacts> {
        let read = self.programs.read(id).ok().flatten()?;
        let helpers = self.helpers.as_ref()?;
        let (calls, kfuncs) = (helpers.at(&read.called), helpers.kfuncs(&read.called));
        Some(ProgramFacts { calls, kfuncs, own: own.contains(&id) || self.is_iterator(id), ..read.facts })
    }

    /// The processor time, since the last call, of the threads that the collector started.
    pub fn took_aside(&mut self) -> Duration {
        std::mem::take(&mut self.aside)
    }

    fn joined<T>(&mut self, thread: Aside<T>) -> Option<T> {
        match thread {
            Aside::Thread(thread) => {
                let (value, took) = thread.join().ok()?;
                self.aside += took;
                Some(value)
            }
            Aside::Done(value) => Some(value),
        }
    }

    /// Loads all programs now, and none later. The iterators are among them, and every later inventory uses them.
    pub fn load_programs(&mut self) {
        // The comparison reports missing iterators.
        let _ = self.iterators();
        self.sealed = Some(Sealed { distance: helpers::known_distance(), newest: cross::newest() });
    }

    /// Reports a loaded program to a collector that loads none itself.
    pub fn saw(&mut self, id: ProgId) {
        self.sealed.iter_mut().for_each(|sealed| sealed.newest = sealed.newest.max(id));
    }

    /// The loaded iterators. The inner value is `None` if this kernel lacks them.
    fn iterators(&mut self) -> Result<&mut Option<Iterators>, String> {
        match &mut self.iterators {
            Some(iterators) => Ok(iterators),
            None if self.sealed.is_some() => Err("the iterators could not be loaded at startup".to_owned()),
            none => {
                let layout = self.layout.get_or_insert_with(Layout::of_kernel).clone()?;
                let count = |kind| sys::ids(kind, limits::BPF_PROGRAMS).map_or(0, |(ids, _)| ids.len());
                let most = count(sys::ObjectKind::Program).max(count(sys::ObjectKind::Link));
                Ok(none.insert(Iterators::load(&layout, most)?))
            }
        }
    }

    fn is_iterator(&self, id: ProgId) -> bool {
        self.iterators.iter().flatten().any(|iterators| iterators.has(id))
    }

    /// The objects that only one of bpf(2) and the iterators shows.
    fn compare_iterators(&mut self, inventory: &Inventory) -> Result<Vec<Hidden>, String> {
        let known = std::mem::take(&mut self.known);
        let found = self.iterators().and_then(|iterators| match iterators {
            Some(iterators) => iterators.hidden(inventory, &known),
            None => Ok(Vec::new()),
        });
        self.known = known;
        self.load_again_after(&found);
        let unopened = |hidden: &Hidden| hidden.link.filter(|_| hidden.missing_in == View::FdById).map(|link| link.id);
        self.hidden_links.extend(found.iter().flatten().filter_map(unopened));
        found
    }

    fn load_again_after<T>(&mut self, found: &Result<T, String>) {
        if found.is_err() && self.sealed.is_none() {
            // With new iterators, and more room, the next comparison may succeed.
            self.iterators = None;
        }
    }

    fn listed(&mut self) -> Result<answers::Listed, String> {
        let listed = self.iterators()?.as_mut().map_or_else(|| Ok(Default::default()), Iterators::attached);
        self.load_again_after(&listed);
        listed
    }

    /// The programs that the kernel has in its list of a place, and that BPF_PROG_QUERY does not report there. A program
    /// may be attached and detached meanwhile, so a new finding counts only if each of several inventories lacks it and
    /// the lists before and after have it.
    fn compare_places(&mut self, own: &FxHashSet<ProgId>) -> Result<Vec<Hidden>, String> {
        let mut before = self.listed()?;
        let mut found: FxHashSet<(Place, ProgId)> = FxHashSet::default();
        found.extend(before.iter().filter(|(key, count)| self.answers.lack(key, **count)).map(|(key, _)| *key));
        for _ in 0..CONFIRMATIONS {
            if found.is_subset(&self.unlisted) {
                break;
            }
            self.take(own).map_err(|error| error.to_string())?;
            let after = self.listed()?;
            let count = |key: &(Place, ProgId)| {
                before.get(key).zip(after.get(key)).map_or(0, |(before, after)| *before.min(after))
            };
            found.retain(|key| self.answers.lack(key, count(key)));
            before = after;
        }
        let hidden = |(place, program): &(Place, ProgId)| Hidden {
            id: Some(*program),
            seen_by: place.0,
            missing_in: match place.0 {
                View::IterNetdev => View::Netlink,
                View::IterFile => View::TaskFdQuery,
                _ => View::ProgQuery,
            },
            ..Hidden::default()
        };
        let mut all: Vec<_> = found.iter().map(hidden).collect();
        all.sort_unstable_by_key(|hidden| (hidden.id, hidden.seen_by));
        all.dedup();
        self.unlisted = found;
        Ok(all)
    }

    /// Like [`take`](Self::take), but also compares independent views to find hidden programs.
    pub fn take_and_compare(&mut self, own: &FxHashSet<ProgId>) -> Result<Inventory, InventoryError> {
        let stream = ProgramStream::open(STREAM_PAGES, self.streams.clone());
        let layout = self.layout.is_none().then(|| aside(Layout::of_kernel));
        let is_due = self.helpers.is_none() || self.symbols_due.is_none_or(|due| due <= Instant::now());
        let symbols = is_due.then(|| self.read_symbols());
        let (mut inventory, symbols) = self.collect(own, symbols)?;
        if let Some(layout) = layout.and_then(|thread| self.joined(thread)) {
            self.layout = Some(layout);
        }
        let listed = self.compare_iterators(&inventory);
        self.add_held(&mut inventory);
        let compared = match stream {
            Ok(mut stream) => {
                let newest = self.sealed.as_ref().map_or_else(cross::newest, |sealed| sealed.newest);
                let mut numbers = std::mem::take(&mut self.numbers);
                let again = || self.take(own).ok();
                let hidden = cross::hidden(&inventory, newest, &mut numbers, symbols.as_ref(), &mut stream, again);
                self.numbers = numbers;
                hidden.map_err(|Churn| {
                    "programs were loaded and unloaded too fast to compare the views of the kernel".to_owned()
                })
            }
            Err(error) => Err(format!("cannot follow changes during the comparison: {error}")),
        };
        let mut note = |what, why: String| inventory.unseen.push(Unseen { what, why: without_codes(&why), remedy: "" });
        let has_iterators = listed.is_ok();
        let listed = listed.map_err(|why| note("hidden programs by iterators", why)).unwrap_or_default();
        let compared = compared.map_err(|why| note("hidden programs", why)).unwrap_or_default();
        inventory.hidden = cross::joined(listed, compared);
        inventory.hidden.extend(self.with_other_ids());
        if has_iterators {
            let unlisted = self.compare_places(own).map_err(|why| note("hidden programs by lists of places", why));
            inventory.hidden.extend(unlisted.unwrap_or_default());
        }
        if inventory.unseen.is_empty() {
            // Other programs that are not listed came meanwhile.
            let hidden = inventory.hidden.iter().filter_map(|hidden| hidden.id);
            let known = inventory.programs.iter().map(|program| program.id).chain(hidden).chain([ProgId(0)]);
            let known: FxHashSet<ProgId> = known.collect();
            // An update can give a link such a program.
            inventory.attachments.retain(|facts| facts.link.is_some() || known.contains(&facts.program));
        }
        Ok(inventory)
    }

    /// The programs that have another id than the kernel's table of ids says.
    fn with_other_ids(&mut self) -> Vec<Hidden> {
        let differs = |id: u32, read: &programs::Read| read.says.0 != id;
        let found: Vec<u32> = self.known.iter().filter(|(id, read)| differs(**id, read)).map(|(id, _)| *id).collect();
        let still = |id: &u32| self.programs.read(ProgId(*id)).ok().flatten().is_some_and(|read| differs(*id, &read));
        let hidden = |id| Hidden { id: Some(ProgId(id)), missing_in: View::ObjInfo, ..Hidden::default() };
        found.into_iter().filter(still).map(hidden).collect()
    }

    /// Adds the programs of sockets and perf events to an inventory that was taken before the iterators were loaded, and whether there are network
    /// namespaces that it cannot have.
    fn add_held(&mut self, inventory: &mut Inventory) {
        let is_missing = inventory.unseen.iter().any(|unseen| unseen.what == SOCKETS);
        let iterators = self.iterators.iter_mut().flatten().next().filter(|_| is_missing);
        let Some(iterators) = iterators else { return };
        let namespaces = iterators.namespaces();
        let Some(mut held) = iterators.held() else { return };
        let Inventory { attachments, holders, unresolved, unseen, .. } = inventory;
        if let Ok(mounts) = Mounts::read() {
            mounts::add_namespaces(&mounts, &mut held.namespaces, &mut Unlooked::default());
            unseen.extend(iterators.unreachable(namespaces, &held.namespaces));
        }
        if let Some(linked) = iterators.linked_events() {
            unresolved.retain(|one| one.hook != Hook::PerfEvent);
            perf::add(held.events, &linked, attachments, holders);
            unseen.retain(|unseen| unseen.what != EVENTS);
        }
        let Some(all) = held.sockets else { return };
        processes::sockets(all, attachments, holders, unresolved);
        unseen.retain(|unseen| unseen.what != SOCKETS);
    }

    /// Reads the required symbols. The names of the helpers are required only once.
    fn read_symbols(&self) -> Aside<Result<Snapshot, Unavailable>> {
        let read = if self.helpers.is_none() { kallsyms::snapshot } else { kallsyms::images };
        let pace = self.pace.clone();
        aside(move || read(&mut Pieces::new(pace.as_deref())))
    }

    fn collect(
        &mut self,
        own: &FxHashSet<ProgId>,
        symbols: Option<Aside<Result<Snapshot, Unavailable>>>,
    ) -> Result<(Inventory, Option<Snapshot>), InventoryError> {
        let (mut unlooked, mut answers) = (Unlooked::default(), Answers::default());
        let pace = self.pace.clone();
        let mut pieces = Pieces::new(pace.as_deref());
        let mut programs = self.read_programs(&mut pieces, &mut unlooked)?;
        let cgroups = places::Cgroups::read(&mut unlooked);
        let (mut links, unopened_links, unread_links) =
            self.read_links(&programs, cgroups.paths(), &mut pieces, &mut unlooked);

        let namespaces = self.iterators.iter_mut().flatten().map(Iterators::namespaces).next().unwrap_or_default();
        let mut held = match self.iterators.iter_mut().flatten().find_map(Iterators::held) {
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
        answers.extend(std::mem::take(&mut held.answers));
        let mut holders = std::mem::take(&mut held.holders);
        let mounts = unlooked.note("mounts", Mounts::read());
        let may_wait = mounts.as_ref().is_some_and(|mounts| !mounts.may_be_silent());
        if let Some(mounts) = mounts {
            mounts::add_namespaces(&mounts, &mut held.namespaces, &mut unlooked);
            holders.extend(match &self.pins {
                Some(thread) => thread.of(mounts, &mut unlooked),
                None => mounts::pins(&mounts, &mut unlooked),
            });
        }
        let iterators = self.iterators.iter_mut().flatten().next();
        let unreachable = iterators.and_then(|iterators| iterators.unreachable(namespaces, &held.namespaces));
        let own_namespace = places::own_network_namespace();
        let mut network = network::read(&held.namespaces, own_namespace, self.sockets.as_ref(), &mut unlooked);
        self.aside += network.aside;
        network.silent |= unreachable.is_some();
        unlooked.unseen.extend(unreachable);
        self.interfaces = network::Interfaces::of(&mut network, own_namespace);
        answers.extend(std::mem::take(&mut network.answers));

        let mut rest = Vec::new();
        perf::join(held.perf, &mut links, &mut rest, &mut holders);
        let events = std::mem::take(&mut held.events);
        let mut iterators = self.iterators.iter_mut().flatten().filter(|_| !events.is_empty());
        match iterators.find_map(Iterators::linked_events) {
            Some(linked) => perf::add(events, &linked, &mut rest, &mut holders),
            None => held.unresolved.extend(perf::unresolved(events)),
        }
        match held.sockets.take() {
            Some(all) => processes::sockets(all, &mut rest, &mut holders, &mut held.unresolved),
            None => unlooked.add(SOCKETS, "only the kernel's iterators show them".to_owned(), ""),
        }
        // The kernel does not report the namespace of a link at an interface. Prefer the place of the last inventory.
        let place = |facts: &AttachFacts| Some((facts.program, facts.ifindex?, facts.netns?));
        let had_link = |facts: &AttachFacts| place(facts).is_some_and(|place| self.linked.contains(&place));
        network.found.sort_by_key(|found| !had_link(&found.facts));
        network.join(&mut links, &mut rest);
        self.linked = links.iter().filter_map(place).collect();
        let in_maps = maps::programs(&links, &programs, &mut self.types, &mut answers, &mut unlooked);
        unexplained(cgroups.attached(&mut answers, &mut unlooked).into_iter().chain(in_maps), &links, &mut rest);
        places::name_tracepoints(&mut links, &mut rest);
        places::name_files(&mut links, &mut rest, &holders, may_wait);

        let before = self.aside;
        let symbols = symbols.and_then(|thread| self.joined(thread)).and_then(Result::ok);
        if symbols.is_some() {
            self.symbols_due = Some(Instant::now() + SYMBOLS * self.aside.saturating_sub(before));
        }
        let all_symbols = if self.helpers.is_none() { symbols.clone() } else { None };
        let helpers = self.helpers.get_or_insert_with(|| {
            let known = self.sealed.as_ref().map_or_else(helpers::known_distance, |sealed| sealed.distance);
            Helpers::new(symbols.as_ref(), known)
        });
        if programs.values().any(|read| helpers.needs_names(&read.called)) {
            let all_symbols = all_symbols.or_else(|| kallsyms::snapshot(&mut pieces).ok());
            helpers.name(all_symbols.as_ref(), programs.values().map(|read| &read.called));
        }
        for read in programs.values_mut() {
            read.facts.calls = helpers.at(&read.called);
            read.facts.kfuncs = helpers.kfuncs(&read.called);
        }
        let unresolved = perf::without_links(held.unresolved, &links, &holders, &programs);
        if unresolved.iter().any(|one| one.hook == Hook::PerfEvent) {
            unlooked.add(EVENTS, "only the kernel's iterators show them".to_owned(), "");
        }
        let mut inventory = Inventory {
            programs: programs
                .values()
                .map(|programs::Read { facts, .. }| {
                    let own = own.contains(&facts.id) || self.is_iterator(facts.id);
                    ProgramFacts { own, ..facts.clone() }
                })
                .collect(),
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
        (self.known, self.answers) = (programs, answers);
        Ok((inventory, symbols))
    }

    fn read_programs(
        &mut self,
        pieces: &mut Pieces<'_>,
        unlooked: &mut Unlooked,
    ) -> Result<FxHashMap<u32, programs::Read>, InventoryError> {
        let (ids, all) =
            sys::ids(sys::ObjectKind::Program, limits::BPF_PROGRAMS).map_err(|error| match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => InventoryError::NotPermitted,
                _ => InventoryError::Failed(error),
            })?;
        if !all {
            unlooked.cut("programs", limits::BPF_PROGRAMS);
        }
        let mut known = std::mem::take(&mut self.known);
        let mut programs = FxHashMap::default();
        for id in ids {
            pieces.rest();
            let read = match known.remove(&id) {
                Some(read) if !self.counted => Ok(Some(read)),
                Some(mut read) => Ok(programs::update_counters(&mut read.facts).then_some(read)),
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
        programs: &FxHashMap<u32, programs::Read>,
        cgroups: &FxHashMap<u64, Vec<u8>>,
        pieces: &mut Pieces<'_>,
        unlooked: &mut Unlooked,
    ) -> (Vec<AttachFacts>, Vec<LinkId>, FxHashSet<LinkId>) {
        // EINVAL: before 5.8, links have no ids.
        let (ids, all) =
            unlooked.note(LINKS, sys::ids(sys::ObjectKind::Link, limits::BPF_PROGRAMS)).unwrap_or_default();
        if !all && !ids.is_empty() {
            unlooked.cut(LINKS, limits::BPF_PROGRAMS);
        }
        let mut names = links::LookupTables { programs, cgroups, types: &mut self.types };
        let before = std::mem::take(&mut self.unopened);
        let (mut links, mut unopened, mut unread) = (Vec::with_capacity(ids.len()), Vec::new(), FxHashSet::default());
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
fn unexplained(found: impl Iterator<Item = AttachFacts>, links: &[AttachFacts], rest: &mut Vec<AttachFacts>) {
    let place = |facts: &AttachFacts| (facts.program, facts.hook, facts.target.clone());
    let mut linked: FxHashMap<_, usize> = FxHashMap::default();
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

    /// Whether counting is on for the whole system (`sysctl kernel.bpf_stats_enabled`).
    pub fn are_on() -> bool {
        tracetui_host::read_bounded("/proc/sys/kernel/bpf_stats_enabled", 16)
            .is_ok_and(|value| value.trim_ascii() == b"1")
    }
}

/// The ids of all links. Before 5.8, links have no ids.
/// Needs CAP_SYS_ADMIN.
pub fn link_ids() -> io::Result<Vec<u32>> {
    match sys::ids(sys::ObjectKind::Link, limits::BPF_PROGRAMS) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(Vec::new()),
        ids => ids.map(|(ids, _)| ids),
    }
}

/// Reads the counters of all programs again.
pub fn update_counters(inventory: &mut Inventory) {
    for program in &mut inventory.programs {
        programs::update_counters(program);
    }
}

/// Held by each test that loads programs: views are not compared while too many are loaded.
#[cfg(test)]
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
