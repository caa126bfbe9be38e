//! The programs in maps, and perf events: what an inventory shows of them, compared with bpftool.

use crate::bpf::{Attr, EXIT, MOV_R0, id_and_tag, link_create, set_bpf};
use crate::bpf_ways::{BPF_MAP_CREATE, PERF_EVENT, XDP, load_as};
use crate::prelude::*;
use foldhash::HashSet;
use tracetui_events::bpf::{Hook, Inventory, Via};
use tracetui_events::event::names;
use tracetui_events::frame::host::BpfAttachment;

const BPF_MAP_UPDATE_ELEM: u64 = 2;
const BPF_MAP_DELETE_ELEM: u64 = 3;
const BPF_BTF_LOAD: u64 = 18;

pub(crate) const PROG_ARRAY: u32 = 3;
pub(crate) const DEVMAP: u32 = 14;
pub(crate) const CPUMAP: u32 = 16;
const DEVMAP_HASH: u32 = 25;
const STRUCT_OPS_MAP: u32 = 26;

const STRUCT_OPS: u32 = 27;

pub(crate) const XDP_DEVMAP: u32 = 33;
pub(crate) const XDP_CPUMAP: u32 = 35;

/// `mov64 r0, 2`: XDP_PASS.
const PASS: u64 = 0x2_0000_00b7;

fn id(prog: &OwnedFd) -> ProgId {
    ProgId(id_and_tag(prog)[0] as u32)
}

fn map_id(map: &OwnedFd) -> u32 {
    bpf::link_id(map) as u32
}

pub(crate) fn new_map(map_type: u32, value_size: u32) -> Option<OwnedFd> {
    let attr = Attr::new().u32(0, map_type).u32(4, 4).u32(8, value_size).u32(12, 4).put(28, b"tt_map");
    let map = { attr }.call(BPF_MAP_CREATE);
    (map >= 0).then(|| sys::owned(map))
}

pub(crate) fn update(map: &OwnedFd, key: u32, value: &[u8]) -> i64 {
    let key = key.to_ne_bytes();
    let attr = Attr::new().u32(0, map.as_raw_fd() as u32).u64(8, key.as_ptr() as u64);
    attr.u64(16, value.as_ptr() as u64).call(BPF_MAP_UPDATE_ELEM)
}

pub(crate) fn delete(map: &OwnedFd, key: u32) -> i64 {
    let key = key.to_ne_bytes();
    Attr::new().u32(0, map.as_raw_fd() as u32).u64(8, key.as_ptr() as u64).call(BPF_MAP_DELETE_ELEM)
}

fn inventory() -> Inventory {
    Collector::default().take_inventory(&HashSet::default()).expect("an inventory")
}

fn places(inventory: &Inventory, program: ProgId) -> Vec<&BpfAttachment> {
    inventory.attachments.iter().filter(|attach| attach.program == program).collect()
}

fn bpftool(args: &[&str]) -> Option<Vec<u8>> {
    Command::new("bpftool").args(args).output().ok().map(|output| output.stdout)
}

/// The values in a map that are not 0, with their keys, according to bpftool. The program is the last 4 bytes of a value.
fn dumped(map: u32) -> BTreeSet<(u32, u32)> {
    let dump = bpftool(&["-j", "map", "dump", "id", &map.to_string()]).unwrap_or_default();
    let entries: Value = serde_json::from_slice(&dump).unwrap_or_default();
    let number = |bytes: &Value| {
        let bytes = bytes.as_array()?.iter().rev().take(4);
        let digits = |byte: &Value| u32::from_str_radix(byte.as_str()?.strip_prefix("0x")?, 16).ok();
        bytes.map(digits).try_fold(0, |number, byte| Some(number << 8 | byte?))
    };
    let entries = entries.as_array().into_iter().flatten();
    entries.filter_map(|entry| Some((number(&entry["key"])?, number(&entry["value"])?))).filter(|e| e.1 != 0).collect()
}

#[test]
fn programs_in_maps_are_attached_at_their_index() {
    let Some(()) = alone_as_root() else { return };
    let lo = 1_u32;
    let cases = [
        (PROG_ARRAY, 0, 2, Hook::ProgArray),
        (DEVMAP, XDP_DEVMAP, 3, Hook::Devmap),
        (DEVMAP_HASH, XDP_DEVMAP, 1_000_000, Hook::Devmap),
        (CPUMAP, XDP_CPUMAP, 0, Hook::Cpumap),
    ];
    for (map_type, expected, key, hook) in cases {
        let size = if map_type == PROG_ARRAY { 4 } else { 8 };
        let (Some(map), Ok(prog)) = (new_map(map_type, size), load_as(XDP, expected, 0, "tt_in_map", &[PASS, EXIT]))
        else {
            not_checked(&format!("this kernel refuses {hook:?}"));
            continue;
        };
        let fd = prog.as_raw_fd().to_ne_bytes();
        let first = if map_type == CPUMAP { 64_u32 } else { lo }.to_ne_bytes();
        let value = if map_type == PROG_ARRAY { fd.to_vec() } else { [first, fd].concat() };
        let before = inventory();
        assert_eq!(places(&before, id(&prog)), Vec::<&BpfAttachment>::new(), "{hook:?}");
        let updated = update(&map, key, &value);
        if updated != 0 {
            not_checked(&format!("this kernel refuses a program in {hook:?}: error {updated}"));
            continue;
        }
        let after = inventory();
        let found = places(&after, id(&prog));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].hook, found[0].via, found[0].linked()), (hook, Via::Map, None));
        assert_eq!((found[0].map, found[0].index), (Some(map_id(&map)), Some(key)), "{found:?}");
        let target = format!("tt_map map {}[{key}]", map_id(&map));
        assert_eq!(String::from_utf8_lossy(&found[0].target), target);
        let shown: BTreeSet<_> = after
            .attachments
            .iter()
            .filter(|attach| attach.map == Some(map_id(&map)))
            .filter_map(|attach| Some((attach.index?, attach.program.0)))
            .collect();
        let theirs = dumped(map_id(&map));
        match theirs.is_empty() {
            true => not_checked("bpftool dumps no map"),
            false => assert_eq!(shown, theirs, "{hook:?}"),
        }
        assert_eq!(delete(&map, key), 0, "{hook:?}");
        assert_eq!(places(&inventory(), id(&prog)), Vec::<&BpfAttachment>::new(), "{hook:?}");
    }
}

pub(crate) fn load_btf(types: &[u32], names: &[u8]) -> i64 {
    let size = size_of_val(types) as u32;
    let head = [0x1_eb9f_u32, 24, 0, size, size, names.len() as u32];
    let words = head.iter().chain(types).flat_map(|word| word.to_ne_bytes());
    let data: Vec<u8> = words.chain(names.iter().copied()).collect();
    Attr::new().u64(0, data.as_ptr() as u64).u32(16, data.len() as u32).call(BPF_BTF_LOAD)
}

/// A table of functions that the kernel calls (struct_ops): a map, its value, and a program for each function.
pub(crate) struct FunctionTable {
    pub(crate) map: OwnedFd,
    pub(crate) value: Vec<u8>,
    pub(crate) programs: Vec<(&'static str, OwnedFd)>,
}

impl FunctionTable {
    /// A table of a type of the kernel, which [`update`] registers. `Err` contains −errno if the kernel refuses it.
    pub(crate) fn new(
        kernel_type: &str,
        name: &str,
        wanted: &[&'static str],
        map_flags: u32,
    ) -> Result<FunctionTable, i64> {
        let btf = Btf::running().map_err(|_| -i64::from(libc::ENOENT))?;
        let value_type = btf.structure(&format!("bpf_struct_ops_{kernel_type}"));
        let (Some(table), Some(value_type)) = (btf.structure(kernel_type), value_type) else {
            return Err(-i64::from(libc::ENOENT));
        };
        let at = |structure, path: &[&str]| btf.first_path(structure, path).expect("a member").byte_offset() as usize;
        let data = at(value_type, &["data"]);
        let functions = btf.callbacks(value_type);
        // The numbers of the functions are those of the members only if no other member comes first.
        if functions[0].0 as usize != data {
            return Err(-i64::from(libc::EOPNOTSUPP));
        }
        let size = btf.size_of(value_type).expect("a size");
        // A BTF with one type, as maps with types need one.
        let types = sys::owned(load_btf(&[1, 1 << 24, 4, 32], b"\0int\0"));
        let attr = Attr::new().u32(0, STRUCT_OPS_MAP).u32(4, 4).u32(8, size).u32(12, 1).u32(16, map_flags);
        let attr = attr.put(28, name.as_bytes()).u32(48, types.as_raw_fd() as u32).u32(60, value_type);
        let map = { attr }.call(BPF_MAP_CREATE);
        if map < 0 {
            return Err(map);
        }
        let mut value = vec![0; size as usize];
        let name_at = data + at(table, &["name"]);
        value[name_at..name_at + name.len()].copy_from_slice(name.as_bytes());
        let mut programs = Vec::new();
        for wanted in wanted {
            let index = functions.iter().position(|(_, name)| *name == wanted.as_bytes()).expect("a function");
            let program = load_as(STRUCT_OPS, index as u32, table, name, &[MOV_R0, EXIT])?;
            let place = functions[index].0 as usize;
            value[place..place + 4].copy_from_slice(&program.as_raw_fd().to_ne_bytes());
            programs.push((*wanted, program));
        }
        Ok(FunctionTable { map: sys::owned(map), value, programs })
    }
}

#[test]
fn functions_that_the_kernel_calls_without_a_link_are_attached() {
    let Some(()) = alone_as_root() else { return };
    let table = match FunctionTable::new("tcp_congestion_ops", "tt_cc", &["ssthresh", "cong_avoid", "undo_cwnd"], 0) {
        Ok(table) => table,
        Err(error) => return not_checked(&format!("this kernel refuses struct_ops for TCP: error {error}")),
    };
    let FunctionTable { map, value, programs } = &table;
    let loaded: Vec<_> = programs.iter().map(|(function, program)| (id(program), *function)).collect();
    assert_eq!(places(&inventory(), loaded[0].0), Vec::<&BpfAttachment>::new());
    let updated = update(map, 0, value);
    if updated != 0 {
        return not_checked(&format!("this kernel refuses the functions: error {updated}"));
    }
    let after = inventory();
    let dump = bpftool(&["struct_ops", "dump", "id", &map_id(map).to_string()]);
    if dump.is_none() {
        not_checked("there is no bpftool to compare with");
    }
    let dump = dump.map(|dump| String::from_utf8_lossy(&dump).into_owned());
    for (program, function) in &loaded {
        let found = places(&after, *program);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].hook, found[0].via, found[0].map), (Hook::StructOps, Via::Map, Some(map_id(map))));
        assert_eq!(String::from_utf8_lossy(&found[0].symbol), *function);
        let has = |dump: &String| dump.contains(&format!("prog_id:{}", program.0));
        assert!(dump.as_ref().is_none_or(has), "{dump:?}");
    }
    assert_eq!(delete(map, 0), 0);
    let after = inventory();
    for (program, _) in &loaded {
        assert_eq!(places(&after, *program), Vec::<&BpfAttachment>::new());
    }
}

fn clock() -> OwnedFd {
    sys::owned(bpf_ways::open_perf(1, 0, None, 0))
}

#[test]
fn the_perf_event_of_a_link_is_not_unresolved() {
    let Some(()) = alone_as_root() else { return };
    let Ok(prog) = load_as(PERF_EVENT, 0, 0, "tt_clock", &[MOV_R0, EXIT]) else {
        return not_checked("this kernel refuses programs of perf events");
    };
    // Only iterators name the program of an event without a link.
    let shown = || {
        let (all, own) = (inventory(), Tgid(std::process::id()));
        let named = all.attachments.iter().filter(|facts| facts.program == id(&prog) && facts.via == Via::Ioctl);
        named.count() + all.unresolved.iter().filter(|known| known.by.pid == own).count()
    };
    let linked = clock();
    let link = link_create(&prog, sys::raw(&linked), 0);
    if link < 0 {
        return not_checked(&format!("links to perf events: error {link}"));
    }
    let link = sys::owned(link);
    assert_eq!(shown(), 0, "its link shows its program");
    let set = clock();
    assert_eq!(set_bpf(&prog, &set), 0);
    assert_eq!(shown(), 1);
    drop(set);
    assert_eq!(shown(), 0);
    drop(link);
}

#[test]
fn the_maps_of_each_program_are_bpftools() {
    // Its programs use maps of several types.
    let Some(_traced) = Traced::start(&["--kind", "exec"]) else { return };
    let listed = |what: &str| serde_json::from_slice::<Value>(&bpftool(&[what, "show", "--json"])?).ok();
    let ours = inventory();
    let (Some(programs), Some(maps)) = (listed("prog"), listed("map")) else {
        return not_checked("there is no bpftool to compare with");
    };
    let mut compared = 0;
    for program in programs.as_array().expect("a list") {
        let Some(ours) = ours.program(ProgId(program["id"].as_u64().expect("an id") as u32)) else { continue };
        let ids: Vec<u64> = ours.maps.iter().map(|map| map.id.into()).collect();
        let theirs = program["map_ids"].as_array().map(|ids| ids.iter().filter_map(Value::as_u64).collect::<Vec<_>>());
        assert_eq!(ids, theirs.unwrap_or_default(), "{program}");
        for map in &ours.maps {
            let theirs = maps.as_array().expect("a list").iter().find(|theirs| theirs["id"] == map.id);
            // Another process may have unloaded the program.
            let Some(theirs) = theirs else { continue };
            let map_type = names::map_type(map.map_type).expect("a known type");
            let name = String::from_utf8_lossy(&map.name).into_owned();
            assert_eq!(theirs["type"], map_type, "{theirs}");
            assert_eq!(theirs["name"].as_str().unwrap_or_default(), name, "{theirs}");
            assert_eq!(theirs["max_entries"], map.max_entries, "{theirs}");
            compared += 1;
        }
    }
    assert!(compared > 0);
}
