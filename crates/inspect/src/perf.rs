//! Joins the perf events of processes with links.

use super::links::event_name;
use super::processes::SeenEvent;
use super::programs::Read;
use foldhash::{HashMap, HashSet};
use tracetui_events::bpf::{HeldBy, Holder, Hook, Object, UnresolvedAttachment, Via};
use tracetui_events::frame::host::{BpfAttachment, BpfHolder};
use tracetui_shared::record::bpf::link_type;

/// Adds the programs on perf events that have no link.
pub(super) fn join(
    found: Vec<(BpfAttachment, BpfHolder)>,
    links: &mut [BpfAttachment],
    rest: &mut Vec<BpfAttachment>,
    holders: &mut Vec<Holder>,
) {
    for (facts, by) in found {
        let of_program =
            |link: &&mut BpfAttachment| (link.program, link.link_type) == (facts.program, link_type::PERF_EVENT);
        let same =
            |link: &BpfAttachment| (link.hook, &link.target, link.offset) == (facts.hook, &facts.target, facts.offset);
        if links.iter_mut().filter(of_program).any(|link| same(link)) {
            continue;
        }
        // A link shows the lower half of the offset.
        let lower = facts.offset.map(|offset| offset & u64::from(u32::MAX));
        let cut =
            |link: &&mut BpfAttachment| (link.hook, &link.target, link.offset) == (facts.hook, &facts.target, lower);
        if let Some(link) = links.iter_mut().filter(of_program).find(cut) {
            link.offset = facts.offset;
            continue;
        }
        // Before 6.6, a link does not show its target.
        if let Some(link) = links.iter_mut().filter(of_program).find(|link| link.hook == Hook::Unknown) {
            *link = BpfAttachment { link: link.link, link_type: link.link_type, via: Via::Link, ..facts };
            continue;
        }
        holders.push(Holder { object: Object::Program(facts.program), by });
        // Several processes may hold the same event.
        if !rest.iter().any(|known| known.program == facts.program && same(known)) {
            rest.push(facts);
        }
    }
}

/// Adds the perf_event programs that ioctl(2) attached. `linked`: the perf events of links.
pub(super) fn add(
    found: Vec<(SeenEvent, BpfHolder)>,
    linked: &HashSet<u32>,
    rest: &mut Vec<BpfAttachment>,
    holders: &mut Vec<Holder>,
) {
    let (mut seen, mut names) = (HashSet::default(), HashMap::default());
    for (SeenEvent { program, event, event_type, config }, by) in found {
        if linked.contains(&event) {
            continue;
        }
        holders.push(Holder { object: Object::Program(program), by });
        // Several processes may hold the same event.
        if seen.insert(event) {
            let target: &mut Vec<u8> =
                names.entry((event_type, config)).or_insert_with(|| event_name(event_type, config));
            let (via, hook, target) = (Via::Ioctl, Hook::PerfEvent, target.clone());
            rest.push(BpfAttachment { program, via, hook, target, event, ..BpfAttachment::default() });
        }
    }
}

pub(super) fn unresolved(by: BpfHolder) -> UnresolvedAttachment {
    UnresolvedAttachment { hook: Hook::PerfEvent, target: Vec::new(), by }
}

/// Leaves out the perf events of processes whose links explain all of them. The kernel names neither the program of such an event
/// nor the event of a link.
pub(super) fn without_links(
    mut unresolved: Vec<UnresolvedAttachment>,
    links: &[BpfAttachment],
    holders: &[Holder],
    programs: &HashMap<u32, Read>,
) -> Vec<UnresolvedAttachment> {
    let is_of_event = |facts: &&BpfAttachment| {
        facts.link_type == link_type::PERF_EVENT
            && programs.get(&facts.program.0).is_some_and(|read| read.facts.prog_type == PERF_EVENT)
    };
    let of_events: HashSet<_> = links.iter().filter(is_of_event).map(|facts| facts.link).collect();
    let mut left: HashMap<_, i64> = HashMap::default();
    let held = holders.iter().filter_map(|holder| match holder.object {
        Object::Link(link) if holder.by.by == HeldBy::Process && of_events.contains(&link) => {
            Some((holder.by.pid, link))
        }
        _ => None,
    });
    held.collect::<HashSet<_>>().into_iter().for_each(|(pid, _)| *left.entry(pid).or_default() -= 1);
    let is_event = |unresolved: &UnresolvedAttachment| unresolved.hook == Hook::PerfEvent;
    unresolved.iter().filter(|one| is_event(one)).for_each(|event| *left.entry(event.by.pid).or_default() += 1);
    unresolved.retain(|one| !is_event(one) || left.get(&one.by.pid).is_some_and(|left| *left > 0));
    unresolved
}

/// BPF_PROG_TYPE_PERF_EVENT.
const PERF_EVENT: u32 = 7;
