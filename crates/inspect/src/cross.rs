//! Compares independent views of the existing programs. A program that is in one view and missing in another is hidden,
//! unless it was loaded or unloaded meanwhile. The kernel's own stream of changes shows that. It is opened before
//! anything is read.

use super::sys::{self, ObjectKind};
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::time::Duration;
use tracetui_events::bpf::{HeldBy, Hidden, Inventory, Link, Object, ProgramFacts, Via, View};
use tracetui_events::limits;
use tracetui_events::symbols::{CodeImage, ImageKind, Snapshot};
use tracetui_host::kallsyms;
use tracetui_host::ksymbols::{ProgramStream, StreamChange};
use tracetui_host::pace::Pieces;
use tracetui_host::program::{self, Instruction};
use tracetui_shared::id::{KernelAddr, ProgId};

/// How long after its change a program may still be in only some of the views. The kernel makes the changes one after
/// another, and may be preempted between them.
const SETTLED: Duration = Duration::from_millis(50);

/// The number of hex digits of a tag.
const TAG: usize = 16;

/// The loads and unloads since the stream was opened.
#[derive(Default)]
pub(super) struct Changes {
    ids: FxHashSet<ProgId>,
    addresses: FxHashSet<KernelAddr>,
    count: usize,
    lost: bool,
}

impl Changes {
    /// Adds the new records of the stream.
    pub(super) fn update(&mut self, stream: &mut ProgramStream) {
        stream.drain(&mut |change| {
            self.count += 1;
            match change.what {
                StreamChange::Loaded { id, .. } | StreamChange::Unloaded { id, .. } => _ = self.ids.insert(id),
                StreamChange::Symbol { addr, .. } => _ = self.addresses.insert(addr),
            }
        });
        self.lost |= stream.lost() > 0;
    }

    fn explain(&self, hidden: &Hidden) -> bool {
        self.lost
            || hidden.id.is_some_and(|id| self.ids.contains(&id))
            || hidden.addr.is_some_and(|addr| self.addresses.contains(&addr))
    }
}

/// The hidden programs, and the hidden links that something refers to. No id is far above `newest`. `again` takes another inventory.
/// `Err` if there were so many changes that some were lost.
pub(super) fn hidden(
    inventory: &Inventory,
    newest: ProgId,
    numbers: &mut Numbers,
    symbols: Option<&Snapshot>,
    stream: &mut ProgramStream,
    again: impl FnOnce() -> Option<Inventory>,
) -> Result<Vec<Hidden>, Churn> {
    let mut changes = Changes::default();
    changes.update(stream);
    let by_number = numbers.programs(inventory, newest);
    let mut found = missing(inventory, by_number, symbols);
    found.retain(|hidden| !changes.explain(hidden));
    if !found.is_empty() {
        std::thread::sleep(SETTLED);
        changes.update(stream);
        let before = changes.count;
        let now = symbols.and_then(|_| kallsyms::images(&mut Pieces::new(None)).ok());
        changes.update(stream);
        // The file leaves out lines if programs are unloaded while it is read.
        let is_whole = changes.count == before;
        let is_referred = |hidden: &Hidden| !matches!(hidden.seen_by, View::FdById | View::Kallsyms | View::ObjInfo);
        let again = if found.iter().any(is_referred) { again() } else { None };
        let again = again.as_ref().map(references).unwrap_or_default();
        changes.update(stream);
        let counts = |hidden: &Hidden| is_whole || hidden.missing_in != View::Kallsyms;
        found.retain(|hidden| counts(hidden) && !changes.explain(hidden) && still_there(hidden, &again, now.as_ref()));
    }
    if changes.lost { Err(Churn) } else { Ok(found) }
}

/// Joins the findings of the iterators with those of the other views, each program once. The iterators give the names
/// of the programs that they find. In kallsyms, the symbol of a program begins with this name, which the kernel cuts.
pub(super) fn joined(listed: Vec<Hidden>, compared: Vec<Hidden>) -> Vec<Hidden> {
    let mut all = listed;
    let programs = all.iter().filter(|hidden| hidden.link.is_none()).count();
    for hidden in compared {
        let of_link = |hidden: &Hidden| hidden.link.map(|link| link.id);
        if hidden.link.is_some() && all.iter().any(|known| of_link(known) == of_link(&hidden)) {
            continue;
        }
        let same = |known: &&mut Hidden| match (hidden.id, hidden.addr) {
            (Some(id), _) => known.id == Some(id),
            (None, addr) => known.addr.is_none_or(|known| Some(known) == addr) && is_name(&hidden.name, &known.name),
        };
        match all.iter_mut().take(programs).find(same) {
            Some(known) => known.addr = known.addr.or(hidden.addr),
            None => all.push(hidden),
        }
    }
    all
}

fn is_name(symbol: &[u8], known: &[u8]) -> bool {
    !known.is_empty() && symbol.starts_with(known)
}

/// Too much changed for a comparison.
#[derive(Debug)]
pub(super) struct Churn;

/// The programs that a view shows and the walk over the ids does not. Each id and each address appears once.
fn missing(inventory: &Inventory, by_number: Vec<ProgId>, symbols: Option<&Snapshot>) -> Vec<Hidden> {
    let mut found = Vec::new();
    let mut seen = FxHashSet::default();
    let mut add = |id: ProgId, seen_by: View| {
        if inventory.program(id).is_none() && seen.insert(id) {
            found.push(Hidden { id: Some(id), seen_by, missing_in: View::NextId, ..Hidden::default() });
        }
    };
    by_number.into_iter().for_each(|id| add(id, View::FdById));
    let refers = references(inventory);
    let mut links = Vec::new();
    for (object, view) in refers {
        match object {
            Object::Program(id) => add(id, view),
            Object::Link(id) => links.push(Hidden {
                link: Some(Link { id, link_type: 0 }),
                seen_by: view,
                missing_in: View::NextId,
                ..Hidden::default()
            }),
        }
    }
    links.dedup_by_key(|hidden| hidden.link);
    found.extend(links);
    let addresses: FxHashSet<_> = inventory.programs.iter().flat_map(|program| &program.addresses).collect();
    // If the kernel hides the addresses of programs, there is nothing to compare with.
    let are_hidden = addresses.is_empty() && !inventory.programs.is_empty();
    let functions = symbols.filter(|_| !are_hidden).into_iter().flat_map(functions);
    found.extend(functions.filter(|function| !addresses.contains(&function.address)).map(|function| Hidden {
        addr: Some(function.address),
        name: function.name.to_vec(),
        seen_by: View::Kallsyms,
        missing_in: View::NextId,
        ..Hidden::default()
    }));
    found.extend(symbols.map(|symbols| unnamed(inventory, symbols)).unwrap_or_default());
    found
}

/// The programs whose function the kernel does not list. It lists those of each program that was loaded with CAP_BPF
/// ([`bpf_prog_kallsyms_add`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/core.c)); without it, only two types can be
/// loaded.
fn unnamed(inventory: &Inventory, symbols: &Snapshot) -> Vec<Hidden> {
    /// `BPF_PROG_TYPE_SOCKET_FILTER`, `BPF_PROG_TYPE_CGROUP_SKB` (include/uapi/linux/bpf.h).
    const WITHOUT: [u32; 2] = [1, 8];
    let listed: FxHashSet<_> = functions(symbols).map(|function| function.address).collect();
    // `sysctl net.core.bpf_jit_kallsyms`, or too many to read.
    if listed.is_empty() || listed.len() >= limits::BPF_FUNCTIONS {
        return Vec::new();
    }
    let with_symbol = inventory.programs.iter().filter(|program| !WITHOUT.contains(&program.prog_type));
    let addressed = with_symbol.filter_map(|program| Some((program, *program.addresses.first()?)));
    let is_missing = |(_, addr): &(&ProgramFacts, KernelAddr)| !listed.contains(addr);
    let hidden = |(program, addr): (&ProgramFacts, KernelAddr)| Hidden {
        id: Some(program.id),
        addr: Some(addr),
        name: [format!("bpf_prog_{:016x}_", program.tag).as_bytes(), &program.name].concat(),
        seen_by: View::ObjInfo,
        missing_in: View::Kallsyms,
        ..Hidden::default()
    };
    addressed.filter(is_missing).map(hidden).collect()
}

/// The programs and links that are not in an inventory although something in it refers to them, and what does. Whatever refers to
/// them keeps them in the kernel.
fn references(inventory: &Inventory) -> BTreeSet<(Object, View)> {
    let links: FxHashSet<_> = inventory.attachments.iter().filter_map(|facts| facts.link).map(|link| link.id).collect();
    let held = inventory.holders.iter().map(|holder| {
        let view = match holder.by {
            HeldBy::Process { .. } => View::Fdinfo,
            HeldBy::Pin(_) => View::Pin,
            HeldBy::Perf { .. } => View::TaskFdQuery,
            HeldBy::Socket { .. } => View::IterFile,
        };
        (holder.object, view)
    });
    let attached = inventory.attachments.iter().map(|facts| {
        let view = match facts.via {
            Via::Link => View::Link,
            Via::Ioctl => View::TaskFdQuery,
            Via::ProgAttach => View::ProgQuery,
            Via::Netlink => View::Netlink,
            Via::Map => View::Map,
            Via::Setsockopt => View::IterFile,
        };
        (Object::Program(facts.program), view)
    });
    let are_read = |what: &str| inventory.unseen.iter().all(|unseen| unseen.what != what);
    let (has_programs, has_links) = (are_read("programs"), are_read("links"));
    let is_missing = |(object, view): &(Object, View)| match object {
        // The kernel reports some attachments without their program. One with a descriptor or a pin has an id.
        Object::Program(ProgId(0)) if !matches!(view, View::Fdinfo | View::Pin) => false,
        Object::Program(id) => has_programs && inventory.program(*id).is_none(),
        Object::Link(id) => has_links && id.0 != 0 && !links.contains(id),
    };
    held.chain(attached).filter(is_missing).collect()
}

/// The functions of programs: `bpf_prog_`, the tag, and `_` with the name of the function if it has one
/// ([`bpf_prog_get_name`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/core.c)).
fn functions(symbols: &Snapshot) -> impl Iterator<Item = &CodeImage> {
    let of_program = |image: &&CodeImage| {
        let tag = image.name.strip_prefix(b"bpf_prog_").and_then(|rest| rest.get(..TAG));
        image.kind == ImageKind::Bpf && tag.is_some_and(|tag| tag.iter().all(u8::is_ascii_hexdigit))
    };
    symbols.images.iter().filter(of_program).take(limits::BPF_FUNCTIONS)
}

/// The ids to try, to open programs that the walk left out. At first these are all ids, or the last ones if there are
/// many. The kernel assigns an id only once (`idr_alloc_cyclic` in
/// [`bpf_prog_alloc_id`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c)). Later these are
/// therefore the new ids, those of programs that existed, and some of the others in turn.
#[derive(Default, Debug)]
pub(super) struct Numbers {
    tried: u32,
    /// The ids of programs that existed at the last comparison.
    existed: FxHashSet<u32>,
    /// The next of the other ids.
    turn: u32,
}

impl Numbers {
    /// The programs that can be opened, but are not in the inventory.
    fn programs(&mut self, inventory: &Inventory, newest: ProgId) -> Vec<ProgId> {
        let last = inventory.programs.last().map_or(0, |program| program.id.0).max(newest.0);
        let first = last.saturating_sub(limits::BPF_NUMBERS);
        if self.tried > last {
            // The ids started again from the beginning.
            *self = Numbers::default();
        }
        let new = self.tried.max(first);
        let turn = if (first..new).contains(&self.turn) { self.turn } else { first };
        let until = turn.saturating_add(IN_TURN).min(new);
        let existed = self.existed.iter().copied().filter(|id| *id < new && !(turn..until).contains(id));
        let candidates = existed.chain(turn..until).chain(new..=last.saturating_add(AHEAD));
        let mut failed = false;
        let mut is_program = |id: &u32| {
            let open = sys::open(ObjectKind::Program, *id);
            failed |= open.is_err();
            open.is_ok_and(|program| program.is_some())
        };
        let left_out = candidates.filter(|id| inventory.program(ProgId(*id)).is_none());
        let found: Vec<ProgId> = left_out.filter(&mut is_program).map(ProgId).collect();
        self.existed =
            inventory.programs.iter().map(|program| program.id.0).chain(found.iter().map(|id| id.0)).collect();
        self.turn = until;
        if !failed {
            self.tried = last;
        }
        found
    }
}

/// The number of ids to try beyond the newest known one, because a program's load may not have been reported yet.
const AHEAD: u32 = 256;

/// The number of other ids to try again at each comparison.
const IN_TURN: u32 = 512;

/// The highest id of a program. It is the id of a program of tracetui that this function loads.
pub(super) fn newest() -> ProgId {
    let ours = program::load("tt_nothing", &NOTHING).and_then(|prog| sys::info(prog.as_fd()));
    ProgId(ours.map_or(0, |info| info.u32(4)))
}

/// `return 0`.
const NOTHING: [Instruction; 2] = [(0xb7, 0, 0, 0), (0x95, 0, 0, 0)];

/// Whether a view still shows it. `again`: what another inventory lacks.
fn still_there(hidden: &Hidden, again: &BTreeSet<(Object, View)>, symbols: Option<&Snapshot>) -> bool {
    match (hidden.seen_by, hidden.id, hidden.link) {
        (View::Kallsyms, ..) => {
            let same = |function: &CodeImage| Some(function.address) == hidden.addr && *function.name == *hidden.name;
            symbols.is_some_and(|symbols| functions(symbols).any(same))
        }
        (View::ObjInfo, ..) => {
            let same = |function: &CodeImage| Some(function.address) == hidden.addr;
            symbols.is_some_and(|symbols| !functions(symbols).any(same))
        }
        (View::FdById, Some(id), _) => sys::open(ObjectKind::Program, id.0).ok().flatten().is_some(),
        (view, Some(id), _) => again.contains(&(Object::Program(id), view)),
        (view, None, Some(link)) => again.contains(&(Object::Link(link.id), view)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Collector;
    use super::*;
    use std::time::Instant;

    /// Longer than the kernel takes to free a program.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// The test removes an existing program from the inventory. The inventory looks the same if bpf(2) is made to omit
    /// the program.
    #[test]
    fn a_program_that_is_left_out_is_found_by_other_views() {
        let _alone = crate::alone();
        let (Ok(prog), Ok(mut stream)) = (program::load("tt_nothing", &NOTHING), ProgramStream::open(8, None)) else {
            return tracetui_host::not_checked("no privileges");
        };
        let mut changes = Changes::default();
        // The program was loaded before the stream was opened.
        changes.update(&mut stream);
        let id = ProgId(sys::info(prog.as_fd()).expect("a program").u32(4));
        let mut inventory = Collector::default().take(&FxHashSet::default()).expect("it may list programs");
        let symbols = kallsyms::images(&mut Pieces::new(None)).expect("kallsyms");
        inventory.programs.retain(|program| program.id != id);
        let mut numbers = Numbers::default();
        let found = hidden(&inventory, newest(), &mut numbers, Some(&symbols), &mut stream, || None).expect("no churn");
        let by = |view: View| found.iter().filter(|hidden| hidden.seen_by == view).count();
        assert!(found.iter().any(|hidden| hidden.id == Some(id) && hidden.seen_by == View::FdById), "{found:?}");
        assert_eq!(by(View::FdById), 1, "{found:?}");
        if functions(&symbols).next().is_some() {
            assert_eq!(by(View::Kallsyms), 1, "its function: {found:?}");
        }
        // A list of functions that lacks one of a program, and the whole list.
        let mut cut = symbols.clone();
        let whole = Collector::default().take(&FxHashSet::default()).expect("it may list programs");
        let addr = whole.program(id).and_then(|program| program.addresses.first().copied());
        cut.images.retain(|image| Some(image.address) != addr);
        if addr.is_some() && functions(&cut).next().is_some() {
            // Others may have been loaded meanwhile.
            let found = unnamed(&whole, &cut).into_iter().find(|hidden| hidden.id == Some(id)).expect("it is found");
            assert!(still_there(&found, &BTreeSet::new(), Some(&cut)));
            assert!(!still_there(&found, &BTreeSet::new(), Some(&symbols)));
        }
        // The program existed, so it is found again. After it was unloaded, it is not.
        assert!(numbers.programs(&inventory, newest()).contains(&id));
        drop(prog);
        let end = Instant::now() + PATIENCE;
        while numbers.programs(&inventory, newest()).contains(&id) {
            assert!(Instant::now() < end, "the program is still there");
        }
        // A new program is found among the new ids, although all the others were tried.
        let prog = program::load("tt_nothing", &NOTHING).expect("it was loaded before");
        let id = ProgId(sys::info(prog.as_fd()).expect("a program").u32(4));
        assert!(numbers.programs(&inventory, id).contains(&id));
        // With the program in the inventory, nothing is hidden.
        let whole = Collector::default().take_and_compare(&FxHashSet::default()).expect("it may list programs");
        assert_eq!(whole.hidden, []);
    }

    #[test]
    fn a_program_that_several_views_show_is_hidden_once() {
        let by_iterator = |id, name: &str| Hidden {
            id: Some(ProgId(id)),
            name: name.into(),
            seen_by: View::IterProg,
            ..Hidden::default()
        };
        let by_number = Hidden { id: Some(ProgId(7)), seen_by: View::FdById, ..Hidden::default() };
        let by_symbol = |name: &str, addr| Hidden {
            addr: Some(KernelAddr(addr)),
            name: name.into(),
            seen_by: View::Kallsyms,
            ..Hidden::default()
        };
        let (a, b) = ("bpf_prog_0123456789abcdef_a_name_of_15", "bpf_prog_00000000000000ff");
        let listed = vec![by_iterator(7, a), by_iterator(8, "")];
        let full = format!("{a}_and_more");
        let compared = vec![by_number.clone(), by_symbol(&full, 1), by_symbol(&full, 2), by_symbol(b, 3)];
        let expected = [
            Hidden { addr: Some(KernelAddr(1)), ..by_iterator(7, a) },
            by_iterator(8, ""),
            by_symbol(&full, 2),
            by_symbol(b, 3),
        ];
        assert_eq!(joined(listed, compared), expected, "two programs may have the same name");
        assert_eq!(joined(vec![], vec![by_number.clone()]), [by_number]);
    }
}
