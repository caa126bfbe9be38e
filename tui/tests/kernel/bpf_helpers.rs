//! The helpers and kfuncs that programs call, compared with `bpftool prog dump xlated`; the table of helpers, with the kernel's.

use crate::bpf::{Attr, BPF_PROG_TYPE_TRACEPOINT, EXIT, id_and_tag};
use crate::bpf_ways::{BPF_MAP_CREATE, MOV_R0_1, SCHED_CLS, SK_LOOKUP, SK_SKB, XDP, btf_id, load_as};
use crate::prelude::*;
use tracetui_host::btf;
use tracetui_shared::helper::{HELPERS, functions};

const PROG_ARRAY: u32 = 3;
const DEVMAP: u32 = 14;

const CGROUP_SOCK_ADDR: u32 = 18;

const CGROUP_INET4_CONNECT: u32 = 10;
const AT_SK_LOOKUP: u32 = 36;

const fn insn(code: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
    code as u64
        | (registers as u64) << 8
        | (offset.cast_unsigned() as u64) << 16
        | (immediate.cast_unsigned() as u64) << 32
}

/// `mov64 r, immediate`.
const fn set(register: u8, value: i32) -> u64 {
    insn(0xb7, register, 0, value)
}

/// `mov64 to, from`.
const fn copy(to: u8, from: u8) -> u64 {
    insn(0xbf, from << 4 | to, 0, 0)
}

/// The address of a place below the top of the stack.
fn stack(register: u8, below: i32) -> [u64; 2] {
    [copy(register, 10), insn(0x07, register, 0, -below)]
}

/// The helper with a number is called with these values in r2 to r5, and with the context in r1, which r6 keeps.
fn call(helper: i32, arguments: &[i32]) -> Vec<u64> {
    let values = arguments.iter().zip(2..).map(|(value, register)| set(register, *value));
    [copy(1, 6)].into_iter().chain(values).chain([insn(0x85, 0, 0, helper)]).collect()
}

fn map_address(register: u8, map: &OwnedFd) -> [u64; 2] {
    [insn(0x18, 0x10 | register, 0, sys::raw(map)), 0]
}

fn new_map(map_type: u32) -> OwnedFd {
    sys::owned(Attr::new().u32(0, map_type).u32(4, 4).u32(8, 4).u32(12, 1).call(BPF_MAP_CREATE))
}

/// A program, and what it calls.
struct Case {
    name: &'static str,
    prog_type: u32,
    attach_type: u32,
    insns: Vec<u64>,
    helpers: &'static [&'static str],
    changes: &'static [&'static str],
    /// Its kfunc, or that it continues with other programs.
    kfunc: Option<&'static str>,
    continues: bool,
}

/// The maps of the programs, and the programs. Those with a kfunc that the kernel lacks are left out.
fn cases() -> (Vec<OwnedFd>, Vec<Case>) {
    let (devices, programs) = (new_map(DEVMAP), new_map(PROG_ARRAY));
    let keep = || vec![copy(6, 1)];
    let zero = insn(0x7a, 10, -8, 0);
    let end = || vec![MOV_R0_1, EXIT];
    let case = |name, (prog_type, attach_type), insns: &[Vec<u64>], helpers, changes| Case {
        name,
        prog_type,
        attach_type,
        insns: [keep(), insns.concat(), end()].concat(),
        helpers,
        changes,
        kfunc: None,
        continues: false,
    };
    let bytes = |helper, first: i32, rest: &[u64]| {
        [&[zero, copy(1, 6), set(2, first)][..], &stack(3, 8), &[set(4, 4)], rest, &[insn(0x85, 0, 0, helper)]].concat()
    };
    let redirected = [&map_address(1, &devices)[..], &[set(2, 0), set(3, 0), insn(0x85, 0, 0, 51)]].concat();
    let address = [&[zero, insn(0x7a, 10, -16, 0), copy(1, 6)][..], &stack(2, 16), &[set(3, 16)]].concat();
    let option = [&[zero, copy(1, 6), set(2, 1), set(3, 8)][..], &stack(4, 8), &[set(5, 4)]].concat();
    let tail = [&[copy(1, 6)][..], &map_address(2, &programs), &[set(3, 0), insn(0x85, 0, 0, 12)]].concat();
    let no_type = |prog_type| (prog_type, 0);
    let connect = (CGROUP_SOCK_ADDR, CGROUP_INET4_CONNECT);
    let called = |mut insns: Vec<u64>, helper| {
        insns.push(insn(0x85, 0, 0, helper));
        insns
    };
    let mut all = vec![
        case("tt_none", no_type(BPF_PROG_TYPE_TRACEPOINT), &[call(14, &[])], &[], &[]),
        case(
            "tt_xdp",
            no_type(XDP),
            &[call(44, &[0]), call(65, &[0]), redirected],
            &["xdp_adjust_head", "xdp_adjust_tail", "redirect_map"],
            &["packet"],
        ),
        case("tt_xdp_bytes", no_type(XDP), &[bytes(190, 0, &[])], &["xdp_store_bytes"], &["packet"]),
        case(
            "tt_tc",
            no_type(SCHED_CLS),
            &[
                bytes(9, 0, &[set(5, 0)]),
                call(10, &[0, 0, 0, 2]),
                call(11, &[0, 0, 0, 2]),
                call(38, &[64, 0]),
                call(43, &[0, 0]),
                call(50, &[0, 0, 0]),
                vec![set(1, 1), set(2, 0), insn(0x85, 0, 0, 23)],
            ],
            &[
                "skb_store_bytes",
                "redirect",
                "l3_csum_replace",
                "l4_csum_replace",
                "skb_change_tail",
                "skb_change_head",
                "skb_adjust_room",
            ],
            &["packet"],
        ),
        case("tt_sk_skb", no_type(SK_SKB), &[call(38, &[64, 0])], &["skb_change_tail"], &["packet"]),
        case(
            "tt_connect",
            connect,
            &[called(address, 64), called(option, 49), vec![set(1, -1), insn(0x85, 0, 0, 187)]],
            &["set_retval", "setsockopt", "bind"],
            &["return_value", "socket"],
        ),
        case("tt_lookup", (SK_LOOKUP, AT_SK_LOOKUP), &[call(124, &[0, 0])], &["sk_assign"], &["socket"]),
        case(
            "tt_signal",
            no_type(BPF_PROG_TYPE_TRACEPOINT),
            &[vec![set(1, 9), insn(0x85, 0, 0, 109)]],
            &["send_signal"],
            &["processes"],
        ),
        Case { continues: true, ..case("tt_tail", no_type(XDP), std::slice::from_ref(&tail), &[], &[]) },
        Case {
            continues: true,
            ..case("tt_tail_head", no_type(XDP), &[call(44, &[0]), tail], &["xdp_adjust_head"], &["packet"])
        },
    ];
    if let Some(id) = btf_id("bpf_dynptr_from_xdp") {
        // Source register 2: `BPF_PSEUDO_KFUNC_CALL`.
        let call = insn(0x85, 0x20, 0, id.cast_signed());
        let slice = [&[copy(1, 6), set(2, 0)][..], &stack(3, 16), &[call]].concat();
        let kfunc = Some("bpf_dynptr_from_xdp");
        all.push(Case { kfunc, ..case("tt_kfunc", no_type(XDP), &[slice], &[], &[]) });
    } else {
        let _ = writeln!(std::io::stderr(), "not checked: this kernel has no kfunc bpf_dynptr_from_xdp");
    }
    (vec![devices, programs], all)
}

fn called(xlated: &str) -> BTreeSet<&str> {
    let calls = xlated.lines().filter_map(|line| line.split_once(") call "));
    calls.filter_map(|(_, call)| call.split('#').next()).map(str::trim).collect()
}

#[test]
fn events_and_inventory_show_the_helpers_that_bpftool_disassembles() {
    let dir = Dir::alone();
    let output = |name: &str| dir.path().join(name);
    let acted = trace("bpf", || {
        let (_maps, cases) = cases();
        let programs: Vec<_> = cases
            .iter()
            .map(|case| {
                load_as(case.prog_type, case.attach_type, 0, case.name, &case.insns)
                    .map(|prog| (id_and_tag(&prog)[0], prog))
            })
            .collect();
        let into = |name: &str| File::create(output(name)).expect("a file");
        let ours = tracetui().args(["bpf", "--format", "json"]).stdout(into("ours")).status();
        let mut numbers = vec![ours.expect("tracetui starts").code().unwrap_or(-1).into()];
        for program in &programs {
            let id = program.as_ref().map_or_else(|error| *error, |(id, _)| *id);
            let dump = ["prog", "dump", "xlated", "id", &id.to_string()];
            let _ = Command::new("bpftool").args(dump).stdout(into(&id.to_string())).stderr(Stdio::null()).status();
            numbers.push(id);
        }
        numbers
    });
    let Some((run, pid, numbers)) = acted else { return };
    assert_eq!(numbers[0], 0, "tracetui bpf");
    let ours: Value = serde_json::from_slice(&fs::read(output("ours")).expect("an output")).expect("JSON");
    let words = |words: &[&str]| words.iter().map(|word| Value::from(*word)).collect::<Vec<_>>();
    let symbols: BTreeMap<_, _> = functions().collect();
    let mut compared = 0;
    for (case, id) in cases().1.iter().zip(&numbers[1..]) {
        if *id < 0 {
            let _ = writeln!(std::io::stderr(), "not checked: this kernel refuses {}: error {id}", case.name);
            continue;
        }
        let event = run.one("bpf", pid, |event| event["op"] == "load" && event["prog"]["id"] == *id);
        let program = ours["programs"].as_array().expect("a list").iter().find(|program| program["id"] == *id);
        let program = program.expect("the program");
        let hidden = event["prog"]["helpers_why"] == "not_permitted";
        for found in [&event["prog"], program].into_iter().filter(|_| !hidden) {
            if case.continues && case.helpers.is_empty() {
                assert_eq!((&found["helpers"], &found["helpers_why"]), (&Value::Null, &"tail_call".into()), "{found}");
            } else {
                assert_eq!(found["helpers"], Value::from(words(case.helpers)), "{}: {found}", case.name);
                assert_eq!(found["changes"], Value::from(words(case.changes)), "{}: {found}", case.name);
            }
            let write_user = if case.continues { json!(["unknown", "tail_call"]) } else { json!(["no", null]) };
            assert_eq!(json!([found["write_user"], found["write_user_why"]]), write_user, "{}: {found}", case.name);
        }
        let kfuncs = words(case.kfunc.as_slice());
        assert_eq!(program["kfuncs"], Value::from(kfuncs), "{program}");
        let xlated = fs::read_to_string(output(&id.to_string())).expect("an output");
        let called = called(&xlated);
        let helpers: BTreeSet<_> =
            called.iter().filter_map(|function| Some(HELPERS[*symbols.get(function)?].name)).collect();
        if xlated.is_empty() || hidden {
            continue;
        }
        assert_eq!(helpers, case.helpers.iter().copied().collect(), "{}:\n{xlated}", case.name);
        assert!(case.kfunc.is_none_or(|kfunc| called.contains(kfunc)), "{xlated}");
        compared += 1;
    }
    println!("{compared} programs are as bpftool disassembles them");
    if compared == 0 {
        not_checked("bpftool disassembles no program");
    }
}

/// The enumerators of `enum bpf_func_id`, and the functions that the kernel defines as helpers (`BPF_CALL_x` declares a type
/// `btf_FUNCTION` for each), according to bpftool.
fn kernels() -> Option<(BTreeMap<String, usize>, BTreeSet<String>)> {
    let dump = Command::new("bpftool").args(["btf", "dump", "file", btf::RUNNING]).output().ok()?;
    let text = String::from_utf8(dump.stdout).ok()?;
    let quoted = |line: &str, prefix: &str| Some(line.split_once(prefix)?.1.split('\'').next()?.to_owned());
    let number = |line: &str| line.rsplit_once("val=")?.1.parse().ok();
    let enumerators = text.lines().filter_map(|line| Some((quoted(line, "'BPF_FUNC_")?, number(line)?)));
    let functions = text.lines().filter(|line| line.contains("] TYPEDEF "));
    let all = (enumerators.collect::<BTreeMap<_, _>>(), functions.filter_map(|line| quoted(line, "'btf_")).collect());
    (!all.0.is_empty()).then_some(all)
}

#[test]
fn the_table_of_helpers_is_that_of_the_running_kernel() {
    alone();
    let Some((helpers, defined)) = kernels() else { return not_checked("bpftool shows no types of this kernel") };
    let symbols = fs::read_to_string("/proc/kallsyms").expect("procfs");
    let symbols: BTreeSet<_> = symbols.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    // 212 numbers, of which 0 is none. The table leaves out those that change nothing: the unit tests list them.
    let last = helpers.values().max();
    assert!(last <= Some(&211), "decide which of the new helpers change something: {helpers:?}");
    for helper in &HELPERS {
        if let Some(number) = helpers.get(helper.name) {
            assert_eq!(*number, usize::from(helper.number), "{}", helper.name);
        }
        // A kernel may be built without it.
        if !helper.functions.iter().any(|function| symbols.contains(function)) {
            println!("not in this kernel: {}", helper.name);
        }
        let others = defined.iter().filter(|name| name.ends_with(&format!("_{}", helper.name)));
        for other in others.filter(|name| !name.starts_with("trace_")) {
            assert!(functions().any(|(known, _)| known == other), "{other} is not among those of {}", helper.name);
        }
    }
}
