//! An [`Inventory`] as text and as JSON.

use foldhash::HashMap;
use std::cmp::Reverse;
use std::io::Write as _;
use tracetui_events::bpf::{
    HeldBy, HelperCalls, Holder, Hook, Inventory, Object, UnresolvedAttachment, Words, may_hide_place,
};
use tracetui_events::event::{self, names};
use tracetui_events::frame::host::{BpfAttachment, BpfHidden, BpfHolder, BpfMap, BpfProgram, BpfRuns};
use tracetui_events::text::json::{Members, Strings, Value, object};
use tracetui_events::text::paint::{Look, Paint};
use tracetui_events::text::time::{short_duration, utc};
use tracetui_events::text::{Charset, counted, escaped, grouped};
use tracetui_shared::helper::Changes;
use tracetui_shared::id::ProgId;

#[derive(Clone, Copy)]
pub struct InventoryReport<'a> {
    pub inventory: &'a Inventory,
    /// CLOCK_REALTIME − CLOCK_BOOTTIME in nanoseconds.
    pub clock_offset: i64,
    pub charset: Charset,
    pub user: &'a dyn Fn(u32) -> Option<String>,
    /// The counters of the programs before the measuring time, if runs were counted over a time.
    pub window: Option<&'a Window>,
    /// Whether the text has colours. Hidden programs are red.
    pub paint: Paint,
    /// Whether the counters of runs are meaningful: statistics are on, or were.
    pub counts_runs: bool,
}

/// A time over which runs were counted.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Its length in nanoseconds.
    pub ns: u64,
    /// The runs of each program at the start.
    pub before: HashMap<ProgId, BpfRuns>,
}

impl Window {
    /// The number of runs within the time, and their nanoseconds. `None` if the program is new.
    fn of(&self, runs: &BpfRuns) -> Option<(u64, u64)> {
        let before = self.before.get(&runs.id)?;
        Some((runs.count.saturating_sub(before.count), runs.time.saturating_sub(before.time)))
    }
}

/// The hook of a program, in the words of `bpf` events; `None` if the kernel does not report it.
pub fn hook_name(facts: &BpfAttachment) -> Option<&'static str> {
    event::bpf::hook_name(facts.hook, facts.linked().map(|_| facts.link_type))
}

/// The attachments and holders of each program and link.
struct Index<'a> {
    attached: HashMap<ProgId, Vec<&'a BpfAttachment>>,
    held: HashMap<Object, Vec<&'a Holder>>,
}

impl<'a> Index<'a> {
    fn new(inventory: &'a Inventory) -> Index<'a> {
        let mut index = Index { attached: HashMap::default(), held: HashMap::default() };
        for attach in &inventory.attachments {
            index.attached.entry(attach.program).or_default().push(attach);
        }
        for holder in &inventory.holders {
            index.held.entry(holder.object).or_default().push(holder);
        }
        index
    }

    fn attached(&self, program: ProgId) -> &[&'a BpfAttachment] {
        self.attached.get(&program).map_or(&[], Vec::as_slice)
    }

    fn held(&self, object: Object) -> &[&'a Holder] {
        self.held.get(&object).map_or(&[], Vec::as_slice)
    }
}

impl InventoryReport<'_> {
    /// The text report: hidden programs, then each program with its attachments and holders. If runs were counted, the program that took
    /// most time comes first.
    pub fn text(&self) -> Vec<u8> {
        let index = Index::new(self.inventory);
        let mut out = Vec::new();
        for hidden in &self.inventory.hidden {
            let text = format!("HIDDEN {}", hidden_text(hidden, self.charset));
            self.paint.put(Look::Bad, &mut out, |out| out.extend_from_slice(text.as_bytes()));
            out.push(b'\n');
        }
        let mut programs: Vec<&BpfProgram> = self.inventory.programs.iter().collect();
        if let Some(window) = self.window {
            let runs = |program: &&BpfProgram| window.of(&self.inventory.runs_of(program.id));
            programs.sort_by_key(|program| Reverse(runs(program).map(|(_, time)| time)));
        }
        for program in programs {
            self.program_text(program, &index, &mut out);
        }
        let is_unlisted = |attach: &&BpfAttachment| self.inventory.program(attach.program).is_none();
        for attach in self.inventory.attachments.iter().filter(is_unlisted) {
            let _ = writeln!(out, "program {} not listed: on {}", attach.program.0, self.attach_text(attach));
        }
        for unresolved in &self.inventory.unresolved {
            out.extend_from_slice(match unresolved.hook {
                Hook::PerfEvent => b"perf event with an unidentified program or link: ",
                Hook::Reuseport => b"group of sockets with a classic program: ",
                _ => b"socket with a classic filter: ".as_slice(),
            });
            out.extend_from_slice(&unresolved.target);
            let _ = writeln!(out, " of {}", process_text(&unresolved.by, self.charset));
        }
        self.summary(&mut out);
        out
    }

    /// Whether all places were examined, and no view contradicts another about the program.
    fn all_seen(&self, program: &BpfProgram) -> bool {
        self.inventory.unseen.iter().all(|unseen| !may_hide_place(unseen.what, program.prog_type))
            && self.inventory.hidden.iter().all(|hidden| hidden.id != program.id)
    }

    fn program_text(&self, program: &BpfProgram, index: &Index<'_>, out: &mut Vec<u8>) {
        let name =
            escaped(if program.name.is_empty() { b"(no name)" } else { &program.name }, self.charset.reversible());
        let prog_type = names::prog_type(program.prog_type).unwrap_or("unknown");
        let own = if program.own { " (tracetui)" } else { "" };
        let _ = writeln!(out, "{:<6} {prog_type:<14} {name}{own}", program.id.0);
        let mut row = |name: &str, text: &str| _ = writeln!(out, "       {name:<8} {text}");
        let attached = index.attached(program.id);
        for attach in attached {
            row(if attach.detached { "was on" } else { "on" }, &self.attach_text(attach));
        }
        if attached.is_empty() {
            row("on", not_attached(program.prog_type, self.all_seen(program)));
        }
        for (name, text) in facts(program, self.clock_offset, (self.user)(program.uid.0), self.charset) {
            row(name, &text);
        }
        let runs = self.inventory.runs_of(program.id);
        if let Some((window, (count, time))) = self.window.and_then(|window| Some((window, window.of(&runs)?))) {
            let [mut length, mut each] = [Vec::new(), Vec::new()];
            short_duration(window.ns, &mut length);
            short_duration(time.checked_div(count).unwrap_or_default(), &mut each);
            let [length, each] = [&length, &each].map(|text| String::from_utf8_lossy(text));
            let share = (time * 10_000).checked_div(window.ns).unwrap_or_default();
            let (count, share) = (counted(count, ["time", "times"]), format!("{}.{:02} %", share / 100, share % 100));
            row("ran", &format!("{count} in {length}, {each} on average, {share} of a CPU"));
        }
        if runs.skipped > 0 {
            row("skipped", &counted(runs.skipped, ["time", "times"]));
        }
        for holder in index.held(Object::Program(program.id)) {
            row("held by", &holder_text(&holder.by, self.charset));
        }
        for link in attached.iter().filter_map(|attach| attach.linked()) {
            for holder in index.held(Object::Link(link)) {
                row("held by", &format!("link {} by {}", link.0, holder_text(&holder.by, self.charset)));
            }
        }
    }

    /// `uprobe /usr/bin/bash+0x31380, link 12`.
    fn attach_text(&self, attach: &BpfAttachment) -> String {
        let missed = attach.missed.filter(|missed| *missed > 0);
        let missed = missed.map(|missed| format!(", skipped {}", counted(missed, ["time", "times"])));
        format!("{}{}, {}", place_text(attach, self.charset), missed.unwrap_or_default(), way_text(attach))
    }

    /// The numbers, and the places that could not be examined.
    fn summary(&self, out: &mut Vec<u8>) {
        let inventory = self.inventory;
        let links = inventory.attachments.iter().filter(|attach| attach.link.0 != 0).count();
        let writes = |expected| {
            let is_it = |program: &&BpfProgram| program.calls().write_user().ok() == expected;
            grouped(inventory.programs.iter().filter(is_it).count() as u64)
        };
        let _ = writeln!(
            out,
            "{}, {}, {} without a link, {} hidden; {} can write to user memory, unknown for {}",
            counted(inventory.programs.len() as u64, ["program", "programs"]),
            counted(links as u64, ["link", "links"]),
            counted((inventory.attachments.len() - links) as u64, ["attachment", "attachments"]),
            grouped(inventory.hidden.len() as u64),
            writes(Some(true)),
            writes(None),
        );
        for unseen in &inventory.unseen {
            let _ = writeln!(out, "not checked: {}", unseen.text());
        }
    }

    /// The JSON report: one object, on one line.
    pub fn json(&self) -> Vec<u8> {
        let (index, inventory) = (Index::new(self.inventory), self.inventory);
        let links = inventory.attachments.iter().filter(|attach| attach.link.0 != 0).map(|attach| {
            let mut link = object! {
                "id": attach.link.0,
                "type": names::link_type(attach.link_type).unwrap_or("unknown"),
                "prog": nonzero(attach.program.0),
                "attach": Value::or(hook_name(attach), "no_field"),
            };
            link.extend(place_json(attach));
            link.push((
                "held_by",
                index.held(Object::Link(attach.link)).iter().map(|held| holder_json(&held.by)).collect(),
            ));
            link
        });
        let is_unlisted = |attach: &&BpfAttachment| attach.link.0 == 0 && inventory.program(attach.program).is_none();
        let unlisted = inventory.attachments.iter().filter(is_unlisted).map(|attach| {
            let mut all = object! { "prog": attach.program.0 };
            all.extend(attached_json(attach));
            all
        });
        let hidden = inventory.hidden.iter().map(|hidden| {
            let link_type = names::link_type(hidden.link_type).unwrap_or("unknown");
            object! {
                "id": nonzero(hidden.id.0),
                "link_id": nonzero(hidden.link.0),
                "link_type": nonzero(hidden.link.0).map(|_| link_type),
                "name": some(&hidden.name),
                "seen_by": hidden.seen_by.name(),
                "missing_in": hidden.missing_in.name(),
            }
        });
        let unresolved = inventory.unresolved.iter().map(|UnresolvedAttachment { hook, target, by }| {
            object! {
                "type": hook.name(),
                "target": some(target),
                "pid": by.pid.0,
                "comm": &*by.comm,
                "fd": by.fd,
            }
        });
        let unseen = inventory.unseen.iter().map(|unseen| {
            object! { "what": unseen.what, "why": &*unseen.why, "remedy": some(unseen.remedy.as_bytes()) }
        });
        let report = object! {
            "programs": inventory.programs.iter().map(|program| self.program_json(program, &index)).collect::<Value<'_>>(),
            "links": links.collect::<Value<'_>>(),
            "unlisted": unlisted.collect::<Value<'_>>(),
            "hidden": hidden.collect::<Value<'_>>(),
            "unresolved": unresolved.collect::<Value<'_>>(),
            "unseen": unseen.collect::<Value<'_>>(),
            "vanished": inventory.vanished,
            "window_ns": self.window.map(|window| window.ns),
        };
        let mut out = Vec::new();
        let mut strings = Strings { charset: self.charset, ..Strings::default() };
        Value::from(report).write(&mut strings, &mut out);
        out.push(b'\n');
        out
    }

    fn program_json<'a>(&'a self, program: &'a BpfProgram, index: &Index<'a>) -> Members<'a> {
        let calls = program.calls();
        let unknown = calls.unknown.filter(|_| calls.helpers == 0);
        let words = |words: Words| unknown.map_or_else(|| words.collect(), |why| Value::Unknown(why.name()));
        let attached = index.attached(program.id);
        let is_known = is_listed(program.prog_type) && self.all_seen(program);
        let links = attached.iter().filter_map(|attach| attach.linked()).map(|link| object! { "link": link.0 });
        let holders = index.held(Object::Program(program.id)).iter().map(|holder| holder_json(&holder.by));
        let runs = self.inventory.runs_of(program.id);
        let counted = |count| Value::or(Some(count).filter(|_| self.counts_runs || runs.count > 0), "not_collected");
        let window = self.window.and_then(|window| window.of(&runs));
        object! {
            "id": program.id.0,
            "name": &*program.name,
            "type": names::prog_type(program.prog_type).unwrap_or("unknown"),
            "tag": format!("{:016x}", program.tag),
            "uid": program.uid.0,
            "loaded": utc(i128::from(program.loaded.0) + i128::from(self.clock_offset)),
            "loaded_ns": program.loaded.0,
            "own": program.own,
            "write_user": calls.write_user().map_or("unknown", |writes| if writes { "yes" } else { "no" }),
            "write_user_why": calls.write_user().err().map(tracetui_events::bpf::NotScanned::name),
            "helpers": words(calls.names()),
            "changes": words(calls.changes()),
            "kfuncs": program.kfuncs.iter().map(|name| some(name.as_bytes())).collect::<Value<'_>>(),
            "maps": program.maps.iter().map(map_json).collect::<Value<'_>>(),
            "attached": attached.iter().map(|attach| attached_json(attach)).collect::<Value<'_>>(),
            "attached_why": (attached.is_empty() && !is_known).then_some("not_collected"),
            "held_by": links.chain(holders).collect::<Value<'_>>(),
            "run_count": counted(runs.count),
            "run_time_ns": counted(runs.time),
            "window_run_count": window.map(|(count, _)| count),
            "window_run_time_ns": window.map(|(_, time)| time),
            "recursion_misses": runs.skipped,
            "jited_bytes": program.jited_len,
            "addr": nonzero(program.addr.0).map(address),
        }
    }
}

/// Whether the kernel lists all attachments of a program of this type. It does not list attachments to perf events by ioctl, to
/// sockets, to routes and actions of tc, or in tables of functions without a link.
fn is_listed(prog_type: u32) -> bool {
    const UNLISTED: &str =
        "socket_filter sched_act lwt_in lwt_out lwt_xmit lwt_seg6local lirc_mode2 sk_reuseport struct_ops";
    names::prog_type(prog_type).is_some_and(|name| UNLISTED.split(' ').all(|unlisted| unlisted != name))
}

/// The text about a program without an attachment. `all_seen`: whether all places were examined.
pub fn not_attached(prog_type: u32, all_seen: bool) -> &'static str {
    match (is_listed(prog_type), all_seen) {
        (true, true) => "not attached",
        (true, false) => "not attached in the places checked",
        (false, _) => "not attached, or not listed by the kernel",
    }
}

/// `program 7 NAME: in iter_prog, but not in next_id`.
pub fn hidden_text(hidden: &BpfHidden, charset: Charset) -> String {
    let object = match (hidden.link.0, hidden.id.0) {
        (0, id) => format!("program {id}"),
        (link, 0) => format!("link {link}"),
        (link, id) => format!("link {link} of program {id}"),
    };
    let space = if hidden.name.is_empty() { "" } else { " " };
    let name = escaped(&hidden.name, charset.reversible());
    format!("{object}{space}{name}: in {}, but not in {}", hidden.seen_by.name(), hidden.missing_in.name())
}

/// What is known of a program itself, as rows of a name and a text. `user`: the name of the user who loaded it.
pub fn facts(
    program: &BpfProgram,
    clock_offset: i64,
    user: Option<String>,
    charset: Charset,
) -> Vec<(&'static str, String)> {
    let time = utc(i128::from(program.loaded.0) + i128::from(clock_offset));
    let by = match (user, program.uid.0) {
        (Some(user), _) => format!(" by {user}"),
        (None, u32::MAX) => String::new(),
        (None, uid) => format!(" by uid {uid}"),
    };
    let mut rows: Vec<_> = alters(program.calls()).map(|text| ("helpers", text)).into_iter().collect();
    rows.extend(kfuncs(program, charset).map(|text| ("kfuncs", text)));
    rows.extend(program.maps.iter().map(|map| ("map", map_text(map, charset))));
    rows.push(("loaded", format!("{}Z{by}", time.get(..19).unwrap_or_default())));
    rows.push(("tag", format!("{:016x}", program.tag)));
    rows
}

/// The place where a program is attached: `uprobe /usr/bin/bash+0x31380`.
pub fn place_text(attach: &BpfAttachment, charset: Charset) -> String {
    let mut out = hook_name(attach).unwrap_or("an unknown place").to_owned();
    let escape = |text: &[u8]| escaped(text, charset.reversible()).into_owned();
    if let Hook::Type(attach_type) = attach.hook
        && let (Some(name), Some(kind)) = (names::attach_type(attach_type), hook_name(attach))
        && name != kind
        && matches!(kind, "cgroup" | "sockmap" | "tcx" | "netkit")
    {
        out += " ";
        out += name.strip_prefix(kind).map_or(name, |rest| rest.trim_start_matches('_'));
    }
    if !attach.target.is_empty() {
        out = out + " " + &escape(&attach.target);
    }
    if attach.detached {
        out += ", detached";
    }
    if attach.symbol != attach.target && !attach.symbol.is_empty() {
        out = out + " " + &escape(&attach.symbol);
    }
    if let Some(offset) = attach.offset.filter(|offset| *offset != 0) {
        out += &format!("+{offset:#x}");
    }
    if !attach.module.is_empty() {
        out += &format!(" [{}]", escape(&attach.module));
    }
    if let Some(addr) = attach.function().filter(|_| attach.target.is_empty()) {
        out += &format!(" {:#x}", addr.0);
    }
    if !attach.flags.is_empty() {
        out = out + " " + &escape(&attach.flags);
    }
    if let Some(count) = attach.multi {
        out += &format!(", {} places", grouped(count.into()));
    }
    if let (Some(netns), Some(_)) = (attach.netns, attach.ifindex) {
        out += &format!(", net:[{}]", netns.0);
    }
    if let Some(pid) = attach.only {
        out += &format!(", process {} only", pid.0);
    }
    out
}

/// The way in which a program is attached: `link 12`, or a mechanism without a link.
pub fn way_text(attach: &BpfAttachment) -> String {
    attach.linked().map_or_else(|| attach.via.name().to_owned(), |link| format!("link {}", link.0))
}

pub fn holder_text(holder: &BpfHolder, charset: Charset) -> String {
    let text = match holder.by {
        HeldBy::Pin => escaped(&holder.path, charset.reversible()).into_owned(),
        _ => process_text(holder, charset),
    };
    format!("{}{text}", holder.by.name())
}

fn process_text(BpfHolder { pid, comm, fd, .. }: &BpfHolder, charset: Charset) -> String {
    format!("{}[{}] fd {fd}", escaped(comm, charset.reversible()), pid.0)
}

fn map_json(map: &BpfMap) -> Members<'_> {
    object! {
        "id": map.id,
        "type": names::map_type(map.map_type).unwrap_or("unknown"),
        "name": &*map.name,
        "max_entries": map.max_entries,
    }
}

fn attached_json(attach: &BpfAttachment) -> Members<'_> {
    let mut all = object! {
        "type": Value::or(hook_name(attach), "no_field"),
        "via": attach.via.name(),
        "link_id": attach.linked().map(|link| link.0),
    };
    all.extend(place_json(attach));
    all
}

/// The fields that an attachment and a link have in common.
fn place_json(attach: &BpfAttachment) -> Members<'_> {
    let function = attach.function();
    object! {
        "target": Value::or(some(&attach.target), if function.is_some() { "not_collected" } else { "no_field" }),
        "detached": attach.detached,
        "attach_type": match attach.hook {
            Hook::Type(attach_type) => names::attach_type(attach_type),
            _ => None,
        },
        "symbol": some(&attach.symbol),
        "offset": attach.offset,
        "addr": function.map(|addr| address(addr.0)),
        "module": some(&attach.module),
        "multi": attach.multi,
        "cookie": attach.cookie,
        "map_id": attach.map,
        "index": attach.index,
        "ifindex": attach.ifindex,
        "netns": attach.netns.map(|netns| netns.0),
        "pid": attach.only.map(|pid| pid.0),
        "missed": attach.missed,
        "flags": some(&attach.flags),
    }
}

fn holder_json(holder: &BpfHolder) -> Members<'_> {
    if holder.by == HeldBy::Pin {
        return object! { "pin": &*holder.path };
    }
    let mut all = object! { "pid": holder.pid.0, "comm": &*holder.comm, "fd": holder.fd };
    match holder.by {
        HeldBy::Perf => all.push(("perf_event", true.into())),
        HeldBy::Socket => all.push(("socket", true.into())),
        _ => {}
    }
    all
}

fn some(text: &[u8]) -> Option<&[u8]> {
    Some(text).filter(|text| !text.is_empty())
}

fn nonzero<T: Default + PartialEq>(number: T) -> Option<T> {
    Some(number).filter(|number| *number != T::default())
}

fn address(address: u64) -> String {
    format!("{address:#018x}")
}

/// The helpers that it calls, by what they change, or why they are unknown; `None` if there are none.
fn alters(calls: HelperCalls) -> Option<String> {
    let group = |what: Changes| {
        let names: Vec<_> = calls.that_change(what).collect();
        let what = match what {
            Changes::UserMemory => "WRITES TO USER MEMORY".to_owned(),
            what => what.name().replace('_', " "),
        };
        (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
    };
    let groups: Vec<_> = Changes::ALL.into_iter().filter_map(group).collect();
    match (groups.as_slice(), calls.unknown) {
        ([], None) => None,
        ([], Some(why)) => Some(format!("unknown ({})", why.name())),
        (groups, None) => Some(groups.join("; ")),
        (groups, Some(why)) => Some(format!("{}; others unknown ({})", groups.join("; "), why.name())),
    }
}

/// The functions of the kernel that it calls directly; `None` if there are none.
fn kfuncs(program: &BpfProgram, charset: Charset) -> Option<String> {
    let name = |name: &String| match name.is_empty() {
        true => "(unknown)".to_owned(),
        false => escaped(name.as_bytes(), charset.reversible()).into_owned(),
    };
    let names: Vec<_> = program.kfuncs.iter().map(name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// A map that a program uses: `counts (hash, 10,240 entries, id 7)`.
fn map_text(map: &BpfMap, charset: Charset) -> String {
    let name = escaped(if map.name.is_empty() { b"(no name)" } else { &map.name }, charset.reversible());
    let map_type = names::map_type(map.map_type).unwrap_or("unknown");
    let size = match (map_type, map.max_entries) {
        // Maps of storage have no limit.
        (_, 0) => String::new(),
        ("ringbuf" | "user_ringbuf", bytes) => format!(", {} bytes", grouped(bytes.into())),
        ("arena", pages) => format!(", {}", counted(pages.into(), ["page", "pages"])),
        (_, entries) => format!(", {}", counted(entries.into(), ["entry", "entries"])),
    };
    format!("{name} ({map_type}{size}, id {})", map.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracetui_events::bpf::{NotScanned, Unseen, Via, View};
    use tracetui_shared::id::{LinkId, Tgid};

    fn inventory() -> Inventory {
        let program = BpfProgram {
            id: ProgId(12),
            prog_type: 2,
            name: b"on_bash".to_vec(),
            tag: 0x0123_4567_89ab_cdef,
            helpers: 1 | 1 << 2,
            kfuncs: vec!["bpf_dynptr_from_skb".to_owned(), String::new()],
            maps: vec![
                BpfMap { id: 5, map_type: 1, name: b"counts".to_vec(), max_entries: 10_240 },
                BpfMap { id: 6, map_type: 27, name: b"a\nb".to_vec(), max_entries: 4096 },
                BpfMap { id: 7, map_type: 29, ..BpfMap::default() },
            ],
            ..BpfProgram::default()
        };
        let unknown = NotScanned::NotPermitted as u8;
        let other = BpfProgram { id: ProgId(13), prog_type: 6, unknown, own: true, ..BpfProgram::default() };
        let uprobe = BpfAttachment {
            program: ProgId(12),
            link: LinkId(4),
            link_type: 7,
            hook: Hook::Uprobe,
            target: b"/tmp/a\x1b\xff".to_vec(),
            offset: Some(0x31380),
            ..BpfAttachment::default()
        };
        let cgroup = BpfAttachment {
            program: ProgId(12),
            via: Via::ProgAttach,
            hook: Hook::Type(1),
            target: b"/user.slice".to_vec(),
            ..BpfAttachment::default()
        };
        let holder = |object, by| Holder { object, by };
        Inventory {
            programs: vec![program, other],
            attachments: vec![uprobe, cgroup],
            holders: vec![
                holder(Object::Link(LinkId(4)), BpfHolder::pin(b"/sys/fs/bpf/x".to_vec())),
                holder(Object::Program(ProgId(12)), BpfHolder::process(HeldBy::Process, Tgid(7), b"b\na".to_vec(), 3)),
            ],
            hidden: vec![BpfHidden {
                id: ProgId(9),
                name: b"bpf_prog_0123456789abcdef_x".to_vec(),
                seen_by: View::IterProg,
                ..BpfHidden::default()
            }],
            unseen: vec![Unseen { what: "links", why: "no".to_owned(), remedy: "be root" }],
            ..Inventory::default()
        }
    }

    fn report(inventory: &Inventory) -> InventoryReport<'_> {
        InventoryReport {
            inventory,
            clock_offset: 1_000_000_000,
            charset: Charset::Utf8,
            user: &|uid| (uid == 0).then(|| "root".to_owned()),
            window: None,
            paint: Paint::Off,
            counts_runs: false,
        }
    }

    #[test]
    fn text_and_json_have_everything() {
        let inventory = inventory();
        let text = String::from_utf8(report(&inventory).text()).expect("UTF-8");
        for part in [
            "HIDDEN program 9 bpf_prog_0123456789abcdef_x: in iter_prog, but not in next_id\n",
            "12     kprobe         on_bash\n",
            "       on       uprobe /tmp/a\\x1b\\xff+0x31380, link 4\n",
            "       on       cgroup inet_egress /user.slice, prog_attach\n",
            "       helpers  WRITES TO USER MEMORY: probe_write_user; processes: send_signal\n",
            "       kfuncs   bpf_dynptr_from_skb, (unknown)\n",
            "       map      counts (hash, 10,240 entries, id 5)\n       map      a\\nb (ringbuf, 4,096 bytes, id 6)\n",
            "       map      (no name) (task_storage, id 7)\n",
            "       loaded   1970-01-01T00:00:01Z by root\n       tag      0123456789abcdef\n       held by  b\\na[7] fd 3\n",
            "       held by  link 4 by pin /sys/fs/bpf/x\n",
            "13     xdp            (no name) (tracetui)\n       on       not attached in the places checked\n       helpers  unknown (not_permitted)\n",
            "2 programs, 1 link, 1 attachment without a link, 1 hidden; 1 can write to user memory, unknown for 1\n",
            "not checked: links: no: be root\n",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
        // The json has the promised keys.
        let inventory = self::inventory();
        let json: serde_json::Value = serde_json::from_slice(&report(&inventory).json()).expect("JSON");
        let program = &json["programs"][0];
        assert_eq!((&program["id"], &program["tag"]), (&12.into(), &"0123456789abcdef".into()));
        assert_eq!((&program["write_user"], &program["write_user_why"]), (&"yes".into(), &serde_json::Value::Null));
        assert_eq!(program["helpers"], serde_json::json!(["probe_write_user", "send_signal"]));
        assert_eq!(program["changes"], serde_json::json!(["user_memory", "processes"]));
        assert_eq!(program["kfuncs"], serde_json::json!(["bpf_dynptr_from_skb", null]));
        let map = serde_json::json!({"id": 5, "type": "hash", "name": "counts", "max_entries": 10240});
        assert_eq!((&program["maps"][0], program["maps"].as_array().map(Vec::len)), (&map, Some(3)));
        assert_eq!(program["attached"][0]["target_hex"], "2f746d702f611bff");
        assert_eq!(program["attached"][1]["type"], "cgroup");
        assert_eq!(program["attached"][1]["attach_type"], "cgroup_inet_egress");
        assert_eq!(program["held_by"], serde_json::json!([{"link": 4}, {"pid": 7, "comm": "b\na", "fd": 3}]));
        assert_eq!(program["run_count"], serde_json::Value::Null);
        assert_eq!(program["run_count_why"], "not_collected");
        let other = &json["programs"][1];
        assert_eq!((other["attached"].as_array(), &other["attached_why"]), (Some(&vec![]), &"not_collected".into()));
        assert_eq!((&other["write_user"], &other["write_user_why"]), (&"unknown".into(), &"not_permitted".into()));
        assert_eq!((&other["helpers"], &other["own"]), (&serde_json::Value::Null, &true.into()));
        let link = &json["links"][0];
        assert_eq!((&link["id"], &link["type"], &link["prog"]), (&4.into(), &"perf_event".into(), &12.into()));
        assert_eq!(link["held_by"], serde_json::json!([{"pin": "/sys/fs/bpf/x"}]));
        let hidden = &json["hidden"][0];
        assert_eq!((&hidden["seen_by"], &hidden["missing_in"]), (&"iter_prog".into(), &"next_id".into()));
    }

    #[test]
    fn runs_are_those_within_the_window_and_unlisted_programs_are_not_detached() {
        let mut inventory = inventory();
        let ran = |count, time| {
            let runs = BpfRuns { id: ProgId(12), count, time, skipped: 0 };
            HashMap::from_iter([(runs.id, runs)])
        };
        inventory.runs = ran(30, 6_000);
        let window = Window { ns: 1_000_000_000, before: ran(10, 2_000) };
        let with = InventoryReport { window: Some(&window), counts_runs: true, ..report(&inventory) };
        let text = String::from_utf8(with.text()).expect("UTF-8");
        assert!(text.contains("ran      20 times in 1.0 s, 200 ns on average, 0.00 % of a CPU\n"), "{text}");
        let json: serde_json::Value = serde_json::from_slice(&with.json()).expect("JSON");
        let program = &json["programs"][0];
        assert_eq!((&program["run_count"], &program["window_run_count"]), (&30.into(), &20.into()));
        assert_eq!(json["programs"][1]["window_run_count"], serde_json::Value::Null);
        inventory.programs.reverse();
        let with = InventoryReport { window: Some(&window), counts_runs: true, ..report(&inventory) };
        let text = String::from_utf8(with.text()).expect("UTF-8");
        let at = text.find("ran      20 times").expect("counted");
        assert!(text[..at].contains("\n") && !text[..at].contains("\n13 "), "the busiest is the first: {text}");
        // What the kernel does not list is not said to be detached.
        let mut inventory = self::inventory();
        inventory.unseen = vec![Unseen { what: tracetui_events::bpf::VIEWS, why: "no".to_owned(), remedy: "" }];
        let text = String::from_utf8(report(&inventory).text()).expect("UTF-8");
        assert!(text.contains("       on       not attached\n"), "{text}");
        let json: serde_json::Value = serde_json::from_slice(&report(&inventory).json()).expect("JSON");
        assert_eq!(json["programs"][1]["attached_why"], serde_json::Value::Null);
        inventory.programs[1].prog_type = 1;
        let text = String::from_utf8(report(&inventory).text()).expect("UTF-8");
        assert!(text.contains("not attached, or not listed by the kernel\n"), "{text}");
        let json: serde_json::Value = serde_json::from_slice(&report(&inventory).json()).expect("JSON");
        assert_eq!(json["programs"][1]["attached_why"], "not_collected");
    }
}
