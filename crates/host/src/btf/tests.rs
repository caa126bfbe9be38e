use super::raw::{HEADER, MAGIC};
use super::resolve::{Absence, AttachNames, Resolved};
use super::testing::{Head, Writer};
use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};
use tracetui_shared::offsets::{ABSENT, Const, FARTHEST, FIELDS, Field};

/// A reduced BTF of a real kernel, from which the mutations start.
const REAL: &[u8] = include_bytes!("../../../../tui/tests/data/btf/7.3.btf");

struct Builder(Writer);

impl Builder {
    fn new() -> Builder {
        Builder(Writer::new())
    }

    fn with_int() -> (Builder, u32) {
        let mut b = Builder::new();
        let int = b.int(4);
        (b, int)
    }

    fn head(&mut self, kind: TypeKind, name: &str, word: u32, tail: &[u32]) -> u32 {
        self.0.push(Head { name: name.as_bytes(), kind, flag: false, word }, 0, tail)
    }

    fn int(&mut self, size: u32) -> u32 {
        self.head(TypeKind::Int, "int", size, &[size * 8])
    }

    fn array(&mut self, element: u32, elements: u32) -> u32 {
        self.head(TypeKind::Array, "", 0, &[element, 0, elements])
    }

    /// A structure of members (name, type, bit offset).
    fn composite(&mut self, kind: TypeKind, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        self.flagged(kind, name, size, members, false)
    }

    fn flagged(&mut self, kind: TypeKind, name: &str, word: u32, members: &[(&str, u32, u32)], flag: bool) -> u32 {
        let tail: Vec<u32> = members.iter().flat_map(|(name, a, b)| [self.0.string(name.as_bytes()), *a, *b]).collect();
        self.0.push(Head { name: name.as_bytes(), kind, flag, word }, members.len(), &tail)
    }

    fn enumeration(&mut self, name: &str, signed: bool, values: &[(&str, u32)]) -> u32 {
        let tail: Vec<u32> = values.iter().flat_map(|(name, value)| [self.0.string(name.as_bytes()), *value]).collect();
        self.0.push(Head { name: name.as_bytes(), kind: TypeKind::Enum, flag: signed, word: 4 }, values.len(), &tail)
    }

    fn tracepoint(&mut self, name: &str, args: usize) {
        let proto = Head { name: b"", kind: TypeKind::FuncProto, flag: false, word: 0 };
        let proto = self.0.push(proto, args + 1, &vec![0; 2 * (args + 1)]);
        let pointer = self.head(TypeKind::Ptr, "", proto, &[]);
        self.head(TypeKind::Typedef, &format!("btf_trace_{name}"), pointer, &[]);
    }

    fn finish(self) -> Btf {
        Btf::parse(self.0.finish()).expect("made well")
    }
}

/// The result of a search: alternative, bit offset, width, bytes.
type Found = Result<(usize, u32, Option<u8>, Option<u32>), Absence>;

fn check_path(btf: &Btf, structure: &str, paths: &[&str], expected: Found) {
    let id = btf.structure(structure).expect("the structure is there");
    let found = btf.first_path(id, paths).map(|p| (p.alternate, p.bit_offset, p.width, p.size));
    assert_eq!(found, expected, "{structure} {paths:?}");
}

fn check_refused(data: &[u8], expected: &str) {
    let error = Btf::parse(data.to_vec()).err().expect("refused").to_string();
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
}

fn changed(at: usize, byte: u8) -> Vec<u8> {
    let mut data = REAL.to_vec();
    data[at] = byte;
    data
}

#[test]
fn members_are_found_through_anonymous_ones_and_their_offsets_add_up() {
    let (mut b, int) = Builder::with_int();
    let inner = b.composite(TypeKind::Struct, "", 8, &[("low", int, 0), ("high", int, 32)]);
    let either = b.composite(TypeKind::Union, "", 8, &[("whole", int, 0), ("", inner, 0)]);
    let named = b.composite(TypeKind::Struct, "named", 16, &[("first", int, 0), ("", either, 64)]);
    let constant = b.head(TypeKind::Const, "", named, &[]);
    let typedef = b.head(TypeKind::Typedef, "named_t", constant, &[]);
    let tagged = b.head(TypeKind::TypeTag, "tag", typedef, &[]);
    b.composite(TypeKind::Struct, "outer", 40, &[("pad", int, 0), ("", either, 64), ("n", tagged, 128)]);
    // An anonymous member may have a type with a name.
    let tree = b.composite(TypeKind::Struct, "ns_tree", 8, &[("id", int, 32)]);
    let typedef = b.head(TypeKind::Typedef, "ns_tree_t", tree, &[]);
    b.composite(TypeKind::Struct, "ns_common", 16, &[("inum", int, 0), ("", typedef, 64)]);
    let btf = b.finish();
    check_path(&btf, "ns_common", &["id"], Ok((0, 96, None, Some(4))));
    check_path(&btf, "outer", &["high"], Ok((0, 96, None, Some(4))));
    check_path(&btf, "outer", &["whole"], Ok((0, 64, None, Some(4))));
    check_path(&btf, "outer", &["n.high"], Ok((0, 128 + 64 + 32, None, Some(4))));
    check_path(&btf, "outer", &["n"], Ok((0, 128, None, Some(16))));
    check_path(&btf, "outer", &["named"], Err(Absence::NoMember));
    check_path(&btf, "outer", &["pad.low"], Err(Absence::NoMember));
    // The way to a member names each step.
    let (mut b, int) = Builder::with_int();
    let decoy = b.composite(TypeKind::Struct, "", 8, &[("c", int, 0), ("d", int, 32)]);
    let inner = b.composite(TypeKind::Struct, "", 8, &[("a", int, 0), ("b", int, 32)]);
    let outer = b.composite(TypeKind::Struct, "outer", 24, &[("x", int, 0), ("", decoy, 64), ("", inner, 128)]);
    let place = b.finish().first_path(outer, &["b"]).expect("there");
    let steps: Vec<(u32, usize)> = place.steps.iter().map(|step| (step.structure, step.member)).collect();
    assert_eq!(steps, [(outer, 2), (inner, 1)]);
    assert_eq!((place.type_id, place.byte_offset()), (int, 20));
}

#[test]
fn bitfields_and_the_first_member_path_are_found() {
    let (mut b, int) = Builder::with_int();
    let flags = [("one", int, 1 << 24), ("three", int, 3 << 24 | 1), ("whole", int, 32)];
    let inner = b.flagged(TypeKind::Struct, "", 8, &flags, true);
    b.composite(TypeKind::Struct, "outer", 16, &[("", inner, 64)]);
    // Without the flag, an offset has 32 bits.
    b.composite(TypeKind::Struct, "large", 1 << 22, &[("far", int, 1 << 24)]);
    let btf = b.finish();
    check_path(&btf, "large", &["far"], Ok((0, 1 << 24, None, Some(4))));
    check_path(&btf, "outer", &["one"], Ok((0, 64, Some(1), Some(4))));
    check_path(&btf, "outer", &["three"], Ok((0, 65, Some(3), Some(4))));
    check_path(&btf, "outer", &["whole"], Ok((0, 96, None, Some(4))));
    // The first member path of the largest structure counts.
    let (mut b, int) = Builder::with_int();
    b.composite(TypeKind::Struct, "s", 8, &[("old", int, 0), ("new", int, 32)]);
    let btf = b.finish();
    check_path(&btf, "s", &["new", "old"], Ok((0, 32, None, Some(4))));
    check_path(&btf, "s", &["newest", "old"], Ok((1, 0, None, Some(4))));
    check_path(&btf, "s", &["newest", "older"], Err(Absence::NoMember));
    check_path(&btf, "s", &["ol", "olds"], Err(Absence::NoMember));
    // Of structures with the same name, the largest; of equals, the first.
    let (mut b, int) = Builder::with_int();
    b.head(TypeKind::Fwd, "s", 0, &[]);
    b.composite(TypeKind::Struct, "s", 4, &[("x", int, 0)]);
    b.composite(TypeKind::Struct, "s", 16, &[("x", int, 64)]);
    b.composite(TypeKind::Struct, "s", 16, &[("x", int, 96)]);
    check_path(&b.finish(), "s", &["x"], Ok((0, 64, None, Some(4))));
}

#[test]
fn what_is_missing_has_another_width_or_is_out_of_reach_is_named() {
    let (mut b, int) = Builder::with_int();
    b.composite(TypeKind::Struct, "task_struct", 64, &[("tgid", int, 256)]);
    let resolved = b.finish().resolve();
    assert_eq!(resolved.missing(&[Field::TaskPid, Field::TaskTgid]), [Field::TaskPid]);
    assert_eq!(resolved.offsets[Field::TaskTgid as usize], 32);
    assert_eq!(resolved.decisions[Field::TaskPid as usize].place, Err(Absence::NoMember));
    assert_eq!(resolved.decisions[Field::TaskTgid as usize].path(), Some("tgid"));
    let mut b = Builder::new();
    b.head(TypeKind::Fwd, "task_struct", 0, &[]);
    let resolved = b.finish().resolve();
    assert!(resolved.decisions.iter().all(|decision| decision.place == Err(Absence::NoStructure)));
    assert_eq!(resolved.offsets, [ABSENT; FIELDS.len()]);
    assert_eq!(resolved.missing(&[Field::LinkId, Field::TaskTgid]), [Field::LinkId, Field::TaskTgid]);
    assert!(resolved.consts.0.iter().all(|(_, value)| value.is_none()));
    // A field of another width or out of reach is absent and says so.
    let mut b = Builder::new();
    let (int, long) = (b.int(4), b.int(8));
    let byte = b.int(1);
    let (comm, short) = (b.array(byte, 32), b.array(byte, 8));
    b.composite(TypeKind::Struct, "cred", 32, &[("uid", long, 0), ("gid", int, 64), ("euid", short, 128)]);
    b.flagged(TypeKind::Struct, "fdtable", 16, &[("max_fds", int, 31 << 24), ("fd", long, 64)], true);
    b.composite(TypeKind::Struct, "task_struct", 64, &[("comm", comm, 0), ("tgid", int, 256)]);
    b.composite(TypeKind::Struct, "bpf_prog_aux", 16, &[("name", short, 0)]);
    b.composite(TypeKind::Struct, "io_kiocb", 16, &[("flags", long, 0), ("opcode", int, 64)]);
    let btf = b.finish();
    let resolved = btf.resolve();
    let of = |field: Field| {
        let decision = &resolved.decisions[field as usize];
        assert_eq!(resolved.offsets[field as usize], decision.offset());
        decision.usable().map(|place| place.byte_offset())
    };
    let width = |size| Err(Absence::Width { size });
    assert_eq!((of(Field::CredUid), of(Field::CredGid)), (width(Some(8)), Ok(8)));
    assert_eq!((of(Field::FdtableMaxFds), of(Field::FdtableFd)), (width(None), Ok(8)), "a bitfield cannot be read");
    assert_eq!((of(Field::TaskComm), of(Field::AuxName)), (Ok(0), width(Some(8))), "longer is as good, shorter is not");
    assert_eq!((of(Field::KiocbFlags), of(Field::KiocbOpcode)), (Ok(0), width(Some(4))));
    assert_eq!(resolved.missing(&[Field::CredUid, Field::CredGid, Field::TaskTgid]), [Field::CredUid]);
    let (_, odd) = btf.resolve().usable();
    let said = odd.iter().find(|(field, _)| *field == Field::CredUid).map(|(_, what)| what.as_str());
    assert_eq!((odd.len(), said), (5, Some("it has 8 bytes, expected 4")));
    // The minimal form also shows that the width is wrong.
    check_minimal_is_enough(&btf);
    // No load reaches these fields.
    let (mut b, int) = Builder::with_int();
    let (reached, beyond) = (8 * FARTHEST, 8 * (FARTHEST + 4));
    b.composite(TypeKind::Struct, "task_struct", 1 << 15, &[("pid", int, reached), ("tgid", int, beyond)]);
    let (offsets, odd) = b.finish().resolve().usable();
    let of = |field: Field| offsets[field as usize];
    assert_eq!((of(Field::TaskPid), of(Field::TaskTgid)), (FARTHEST, ABSENT));
    assert_eq!(odd, [(Field::TaskTgid, format!("its offset is {}, more than {FARTHEST}", FARTHEST + 4))]);
}

#[test]
fn sizes_enumerators_functions_and_typedefs_are_found() {
    let (mut b, int) = Builder::with_int();
    let byte = b.int(1);
    let name = b.array(byte, 32);
    let rows = b.array(name, 3);
    let union = b.composite(TypeKind::Union, "shortname_store", 40, &[]);
    let typedef = b.head(TypeKind::Typedef, "t", union, &[]);
    let pointer = b.head(TypeKind::Ptr, "", union, &[]);
    let open = b.array(int, 0);
    let float = b.head(TypeKind::Float, "double", 8, &[]);
    let proto = b.0.push(Head { name: b"", kind: TypeKind::FuncProto, flag: false, word: 0 }, 0, &[]);
    let btf = b.finish();
    let sizes = [name, rows, typedef, pointer, open, float].map(|id| btf.size_of(id));
    assert_eq!(sizes, [Some(32), Some(96), Some(40), Some(8), Some(0), Some(8)]);
    assert_eq!([0, proto, 1_000].map(|id| btf.size_of(id)), [None; 3]);
    // Signed and unsigned enumerators of 32 and 64 bits, some of them in anonymous enumerations.
    let mut b = Builder::new();
    b.enumeration("", false, &[("ZERO", 0), ("TRACE_EVENT_FL_TRACEPOINT", 16), ("ALL", u32::MAX)]);
    b.enumeration("signed", true, &[("MINUS", u32::MAX), ("ALL", 1)]);
    b.composite(TypeKind::Enum64, "wide", 8, &[("WIDE", 1, 2), ("LOWEST", 0, 1 << 31)]);
    let btf = b.finish();
    let names = ["TRACE_EVENT_FL_TRACEPOINT", "MINUS", "ALL", "WIDE", "LOWEST", "NONE", "ZER"];
    let values = [Some(16), Some(-1), Some(u32::MAX.into()), Some(2 << 32 | 1), Some(i64::MIN), None, None];
    assert_eq!(btf.enumerators(&names), values);
    assert_eq!(btf.enumerator("MINUS"), Some(-1));
    assert_eq!(btf.resolve().consts.get(Const::TraceFlagTracepoint), Some(16));
    // Functions typedefs and tracepoints are found.
    let mut b = Builder::new();
    let proto = b.0.push(Head { name: b"", kind: TypeKind::FuncProto, flag: false, word: 0 }, 0, &[]);
    b.head(TypeKind::Typedef, "both", proto, &[]);
    let first = b.head(TypeKind::Func, "both", proto, &[]);
    b.head(TypeKind::Func, "both", proto, &[]);
    b.head(TypeKind::DeclTag, "tag", first, &[u32::MAX]);
    let last = b.head(TypeKind::Func, "f", proto, &[]);
    b.head(TypeKind::Typedef, "btf_trace_x", proto, &[]);
    let btf = b.finish();
    assert_eq!(btf.funcs(&["f", "both", "none", "", "f"]), [Some(last), Some(first), None, None, Some(last)]);
    assert_eq!(["f", "bot", "btf_trace_x"].map(|name| btf.func(name).is_some()), [true, false, false]);
    assert_eq!(["btf_trace_x", "both", "f"].map(|name| btf.typedef(name).is_some()), [true, true, false]);
    // The typedef is not a pointer to a function.
    assert_eq!(btf.tracepoint_args("x"), None);
    // The exit tracepoint is known by its arguments.
    let arity = |args| {
        let mut b = Builder::new();
        b.tracepoint("sched_process_exit", args);
        let btf = b.finish();
        (btf.tracepoint_args("sched_process_exit"), btf.resolve().consts.get(Const::ExitHasGroupDead))
    };
    assert_eq!(arity(1), (Some(1), Some(0)));
    assert_eq!(arity(2), (Some(2), Some(1)));
    let btf = Builder::new().finish();
    assert_eq!(btf.tracepoint_args("sched_process_exit"), None);
    assert!(btf.is_empty() && btf.len() == 1);
}

#[test]
fn types_that_refer_to_themselves_or_to_nothing_end() {
    let mut b = Builder::new();
    let typedef = b.head(TypeKind::Typedef, "t", 1, &[]);
    let array = b.array(2, 4);
    let dangling = b.head(TypeKind::Const, "", 77, &[]);
    b.composite(TypeKind::Struct, "s", 8, &[("t", typedef, 0), ("a", array, 0), ("d", dangling, 0), ("v", 0, 0)]);
    b.composite(TypeKind::Struct, "far", 8, &[("", 7, u32::MAX)]);
    let int = b.int(4);
    b.composite(TypeKind::Struct, "", 8, &[("x", int, 8)]);
    let btf = b.finish();
    check_path(&btf, "s", &["t.x"], Err(Absence::Damaged(Damaged)));
    check_path(&btf, "s", &["d.x"], Err(Absence::Damaged(Damaged)));
    check_path(&btf, "s", &["a"], Ok((0, 0, None, None)));
    check_path(&btf, "s", &["v.x"], Err(Absence::NoMember));
    check_path(&btf, "far", &["x"], Err(Absence::Damaged(Damaged)));
    // Members that contain themselves.
    let mut b = Builder::new();
    // The structure is type 1. It contains itself twice, as an anonymous member.
    b.composite(TypeKind::Struct, "s", 8, &[("", 1, 0), ("", 1, 0), ("x", 1, 0)]);
    check_path(&b.finish(), "s", &["y"], Err(Absence::Damaged(Damaged)));

    let mut b = Builder::new();
    let ids: Vec<u32> = (1..=15).collect();
    for id in &ids {
        // Each structure contains the next one twice, so 2^15 paths lead to the last one.
        b.composite(TypeKind::Struct, &format!("s{id}"), 8, &[("", id + 1, 0), ("", id + 1, 0)]);
    }
    b.int(4);
    check_path(&b.finish(), "s1", &["y"], Err(Absence::Damaged(Damaged)));
}

#[test]
fn other_files_are_refused_with_a_reason() {
    check_refused(b"", "not a BTF file");
    check_refused(b"\x7fELF", "[7f, 45]");
    check_refused(&changed(0, 0xeb), "[eb, eb]");
    check_refused(&[0xeb, 0x9f, 0, 1], "big-endian");
    check_refused(&REAL[..20], "header ends at byte 24, but the file has 20 bytes");
    check_refused(&changed(2, 2), "version 2");
    check_refused(&changed(4, 23), "header length 23 is too small");
    check_refused(&changed(7, 0xff), "type section");
    check_refused(&changed(15, 0xff), "type section");
    check_refused(&changed(19, 0xff), "string section");
    check_refused(&REAL[..REAL.len() - 1], "string section");
    check_refused(&changed(REAL.len() - 1, b'x'), "NUL byte");
    check_refused(&changed(24 + 3, 1), "the name of type 1 is outside");
    check_refused(&changed(24 + 7, 20), "type 1 has the unknown kind 20");
    check_refused(&changed(24 + 7, 0), "type 1 has the unknown kind 0");
    check_refused(&changed(24 + 7, 0x64), "type 1 has the unknown kind 100");
    // A name at the end of the strings is outside.
    let mut b = Builder::new();
    b.int(4);
    let mut data = b.0.finish();
    let strings = b"\0int\0".len() as u8;
    data[HEADER] = strings - 1;
    assert!(Btf::parse(data.clone()).is_ok());
    data[HEADER] = strings;
    check_refused(&data, "the name of type 1 is outside");
    // No strings at all.
    let mut data = Writer::new().finish();
    assert!(Btf::parse(data.clone()).is_ok());
    data[20] = 0;
    check_refused(&data, "NUL byte");
    // A file that is not there, or endless.
    let error = Btf::from_file("/nonexistent/vmlinux").err();
    assert!(matches!(error, Some(BtfError::Read(error)) if error.kind() == std::io::ErrorKind::NotFound));
    assert!(matches!(Btf::from_file("/dev/zero"), Err(BtfError::TooLarge)));
}

/// All results except the ids, which change when types are removed.
fn without_ids(mut resolved: Resolved) -> Resolved {
    for decision in &mut resolved.decisions {
        decision.structure = decision.structure.map(|_| 0);
        if let Ok(place) = &mut decision.place {
            (place.type_id, place.steps) = (0, Vec::new());
        }
    }
    resolved
}

fn attach_names() -> AttachNames {
    AttachNames {
        tracepoints: vec!["sched_process_exit", "sched_process_fork", "io_uring_complete"],
        functions: vec!["do_sys_openat2"],
    }
}

fn check_minimal_is_enough(btf: &Btf) {
    let resolved = btf.resolve();
    let minimal = Btf::parse(btf.minimal(&resolved, &attach_names())).expect("made well");
    assert_eq!(without_ids(minimal.resolve()), without_ids(resolved));
}

#[test]
fn the_minimal_form_resolves_alike() {
    check_minimal_is_enough(&Btf::parse(REAL.to_vec()).expect("committed"));
    // Damaged.
    let (mut b, int) = Builder::with_int();
    let tag = b.head(TypeKind::DeclTag, "tag", int, &[u32::MAX]);
    b.composite(TypeKind::Struct, "task_struct", 8, &[("pid", tag, 0), ("tgid", int, 32)]);
    check_minimal_is_enough(&b.finish());
    // Bitfields, wide enumerators and absences.
    let (mut b, int) = Builder::with_int();
    let byte = b.int(1);
    let name = b.array(byte, 36);
    let flags = b.flagged(TypeKind::Union, "", 4, &[("other", int, 0), ("tgid", int, 5 << 24 | 3)], true);
    b.composite(TypeKind::Struct, "task_struct", 64, &[("other", int, 0), ("", flags, 256)]);
    b.composite(TypeKind::Struct, "dentry", 64, &[("d_iname", name, 128)]);
    b.composite(TypeKind::Struct, "cred", 8, &[("nothing", int, 0)]);
    b.composite(TypeKind::Enum64, "", 8, &[("OTHER", 0, 1), ("BPF_LINK_TYPE_PERF_EVENT", 7, 0)]);
    b.tracepoint("sched_process_exit", 2);
    let btf = b.finish();
    let resolved = btf.resolve();
    assert_eq!(resolved.decisions[Field::CredUid as usize].place, Err(Absence::NoMember));
    assert_eq!(resolved.decisions[Field::LinkId as usize].place, Err(Absence::NoStructure));
    let consts = resolved.consts;
    let found = [Const::InlineNameLen, Const::LinkTypePerf, Const::ExitHasGroupDead].map(|name| consts.get(name));
    assert_eq!(found, [Some(36), Some(7), Some(1)]);
    check_minimal_is_enough(&btf);
}

/// A word that is likely to cause errors: an id, a small number, a sign bit.
fn word_of_mischief() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..200, any::<u32>(), Just(u32::MAX), (0u32..0x80, 0u32..100).prop_map(|(k, n)| k << 24 | n)]
}

/// Checks that all operations end soon and without a panic, for any bytes.
fn check_survives(data: Vec<u8>) {
    let start = Instant::now();
    if let Ok(btf) = Btf::parse(data) {
        let resolved = btf.resolve();
        assert!(btf.minimal(&resolved, &attach_names()).len() <= 2 * REAL.len() + 4096 * FIELDS.len());
        btf.tracepoint_args("sched_process_exit");
        btf.funcs(&["bpf_link_prime", "x"]);
        (0..btf.len() as u32 + 2).for_each(|id| _ = btf.size_of(id));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

proptest! {
    #[test]
    fn changed_words_never_panic(changes in prop::collection::vec((0..REAL.len() / 4, word_of_mischief()), 1..20)) {
        let mut data = REAL.to_vec();
        for (at, word) in changes {
            data[4 * at..4 * at + 4].copy_from_slice(&word.to_le_bytes());
        }
        check_survives(data);
    }

    #[test]
    fn changed_bytes_and_cut_ends_never_panic(
        changes in prop::collection::vec((0..REAL.len(), any::<u8>()), 1..40),
        len in 0..REAL.len(),
    ) {
        let mut data = REAL.to_vec();
        changes.into_iter().for_each(|(at, byte)| data[at] = byte);
        check_survives(data);
        check_survives(REAL[..len].to_vec());
    }

    #[test]
    fn arbitrary_types_never_panic(types in prop::collection::vec(word_of_mischief(), 0..400)) {
        let len = 4 * types.len() as u32;
        let mut data = [&MAGIC[..], &[1, 0]].concat();
        for word in [HEADER as u32, 0, len, len, 3].into_iter().chain(types) {
            data.extend_from_slice(&word.to_le_bytes());
        }
        data.extend_from_slice(b"\0x\0");
        check_survives(data);
    }
}
