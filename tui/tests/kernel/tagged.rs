//! Tags in addresses and in memory. The kernel accepts addresses with a tag in their upper byte from processes that
//! enabled this (`PR_TAGGED_ADDR_ENABLE`). With MTE (Memory Tagging Extension), memory can be read only through
//! addresses with the matching tag.

use crate::bpf::Attr;
use crate::prelude::*;
use std::cell::Cell;

/// The objects that have tags.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tags {
    /// Only addresses: the processor ignores their upper byte.
    Addresses,
    /// Also memory: the processor compares the tags.
    Memory,
}

impl Tags {
    /// Whether the machine supports these tags. If not, a message is printed.
    fn are_there(self) -> bool {
        const HWCAP2_MTE: u64 = 1 << 18;
        // SAFETY: getauxval(3) takes an integer.
        let there = self == Tags::Addresses || unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_MTE != 0;
        if !there {
            not_checked("no MTE (QEMU: -M virt,mte=on)");
        }
        there
    }

    /// Whether the probes can read all of the memory. `bpf_probe_read_user` accepts no tagged addresses, and without
    /// the tag of an address only untagged memory can be read. Other memory is read by calls of
    /// `bpf_probe_read_user_str`, string by string, in a loop that the verifier accepts from 6.9 on.
    fn are_read(self) -> bool {
        self == Tags::Addresses || release() >= (6, 9)
    }

    /// Makes the kernel accept tagged addresses from this process, and compare the tags with those of the memory.
    fn allow(self) {
        const PR_SET_TAGGED_ADDR_CTRL: i32 = 55;
        const PR_TAGGED_ADDR_ENABLE: u64 = 1;
        const PR_MTE_TCF_SYNC: u64 = 1 << 1;
        let modes = PR_TAGGED_ADDR_ENABLE | if self == Tags::Memory { PR_MTE_TCF_SYNC } else { 0 };
        // SAFETY: prctl(2) takes integers here.
        let set = unsafe { libc::prctl(PR_SET_TAGGED_ADDR_CTRL, modes, 0_u64, 0_u64, 0_u64) };
        assert_eq!(set, 0, "PR_SET_TAGGED_ADDR_CTRL: {}", std::io::Error::last_os_error());
    }
}

/// The number of bytes that share a tag.
const GRANULE: usize = 16;

/// The memory of a process with tags enabled, for objects with individual tags.
struct Tagged {
    tags: Tags,
    memory: Pages,
    used: Cell<usize>,
    objects: Cell<u64>,
}

impl Tagged {
    fn new(tags: Tags) -> Tagged {
        const PROT_MTE: i32 = 0x20;
        const PAGES: usize = 32;
        tags.allow();
        let prot = if tags == Tags::Memory { PROT_MTE } else { 0 };
        Tagged { tags, memory: Pages::map(0, PAGES * page(), prot, 0), used: Cell::new(0), objects: Cell::new(0) }
    }

    /// Stores an object. Returns its tagged address. Memory with another tag follows the object. An object occupies
    /// whole pages, because QEMU 7.2 does not distinguish tags within one page.
    fn put(&self, bytes: &[u8]) -> u64 {
        let size = bytes.len().next_multiple_of(page());
        let end = self.used.get() + size;
        self.used.set(end);
        let number = self.objects.replace(self.objects.get() + 1);
        let at = self.memory.put(end - bytes.len(), bytes) as u64;
        match self.tags {
            // All values of the byte are allowed.
            Tags::Addresses => at | (0xa5 + number % 16) << 56,
            // The tag has four bits. Neighbours have different tags, and none has 0, which is the tag of untagged
            // memory.
            Tags::Memory => {
                let tag = (1 + number % 15) << 56;
                let start = at + bytes.len() as u64 - size as u64;
                (0..size).step_by(GRANULE).for_each(|offset| set_tag((start + offset as u64) | tag));
                at | tag
            }
        }
    }

    fn text(&self, text: &str) -> u64 {
        self.put(&c(text).into_bytes_with_nul())
    }

    fn numbers(&self, numbers: &[u64]) -> u64 {
        self.put(&numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>())
    }

    /// Stores C strings and the null-terminated list of their addresses. Returns the tagged address of the list.
    fn list(&self, texts: &[&str]) -> u64 {
        let mut pointers: Vec<u64> = texts.iter().map(|text| self.text(text)).collect();
        pointers.push(0);
        self.numbers(&pointers)
    }
}

/// Gives the 16 bytes at an address the tag in that address.
fn set_tag(address: u64) {
    // SAFETY: the instruction changes a tag of the caller's own mapping, which is accessed only by the addresses that
    // `put` returns. The processor has the instruction, because `Tags::are_there` was checked.
    unsafe {
        std::arch::asm!(".arch_extension memtag", "stg {at}, [{at}]", ".arch_extension nomemtag", at = in(reg) address,
            options(nostack));
    }
}

fn trace(kinds: &str, tags: Tags, act: impl FnOnce(&Tagged) -> Vec<i64>) -> Option<(Run, i32, Vec<i64>)> {
    tags.are_there().then_some(())?;
    traced::trace(kinds, || act(&Tagged::new(tags)))
}

/// Checks that a field has the passed value. If such memory cannot be read, the field may report a fault instead.
fn check(event: &Value, field: &str, tags: Tags, passed: impl Into<Value>) {
    let fault = event[format!("{field}_why")] == "fault"
        && (event[field].is_null() || event[field] == "" || event[field] == json!([]));
    assert!(event[field] == passed.into() || fault && !tags.are_read(), "{field} of {event}");
}

fn check_opens(tags: Tags) {
    let dir = Dir::alone();
    let (file, place) = (dir.file("by a tagged address"), dir.at(""));
    let missing = format!("/nowhere/{}", "long/".repeat(800));
    let how = [(libc::O_RDWR | libc::O_CLOEXEC) as u64, 0, libc::RESOLVE_NO_SYMLINKS];
    let creating = [(libc::O_RDWR | libc::O_CREAT) as u64, 0o640, libc::RESOLVE_BENEATH];
    let paths = [file.clone(), missing.clone()];
    let acted = trace("open", tags, move |memory| {
        let [file, missing, created] = [&paths[0], &paths[1], "created"].map(|path| memory.text(path));
        let place = File::open(place).expect("a directory");
        let place = place.as_raw_fd() as u64;
        vec![
            call(libc::SYS_openat, &[CWD, file, libc::O_RDONLY as u64]),
            call(libc::SYS_openat, &[CWD, missing, libc::O_RDONLY as u64]),
            call(libc::SYS_openat2, &[CWD, file, memory.numbers(&how), 24]),
            call(libc::SYS_openat2, &[place, created, memory.numbers(&creating), 24]),
        ]
    });
    let Some((run, pid, rets)) = acted else { return };
    let ours = |e: &Value| [&*file, &missing, "created"].iter().any(|path| e["path"] == *path);
    let events: Vec<Value> = run.kind_of("open", pid).into_iter().filter(ours).collect();
    assert_eq!(events.len(), 4, "each path is whole: {:#?}", run.kind_of("open", pid));
    let created = dir.at("created");
    for ((event, ret), abs_path) in events.iter().zip(rets).zip([&file, &missing, &file, &created]) {
        assert_eq!((&event["ret"], ret < 0), (&ret.into(), *abs_path == missing), "{event}");
        assert_eq!(event["abs_path"], **abs_path, "{event}");
    }
    for (event, flags, how) in [(&events[2], "O_RDWR|O_CLOEXEC", how), (&events[3], "O_RDWR|O_CREAT", creating)] {
        check(event, "flags", tags, flags);
        check(event, "resolve", tags, how[2]);
    }
    check(&events[3], "mode", tags, 0o640);
}

fn check_failed_execs(tags: Tags) {
    let dir = Dir::alone();
    dir.file("plain");
    let place = dir.at("");
    let long = "long".repeat(750);
    let args = ["one", "", "the third one", &long, "last"];
    let acted = trace("exec", tags, |memory| {
        let place = File::open(place).expect("a directory");
        let place = place.as_raw_fd();
        let (argv, none) = (memory.list(&args), memory.list(&[]));
        let [nowhere, plain] = ["/nowhere/tagged", "plain"].map(|path| memory.text(path));
        vec![
            call(libc::SYS_execve, &[nowhere, argv, none]),
            call(libc::SYS_execveat, &[place as u64, plain, argv, none]),
            place.into(),
        ]
    });
    let Some((run, pid, numbers)) = acted else { return };
    let events = run.kind_of("exec", pid);
    assert_eq!(events.len(), 2, "{events:#?}");
    let filenames = ["/nowhere/tagged".to_owned(), format!("/dev/fd/{}/plain", numbers[2])];
    for ((event, ret), filename) in events.iter().zip(numbers).zip(filenames) {
        assert_eq!(event["ret"], ret, "{event}");
        check(event, "filename", tags, filename);
        check(event, "argv", tags, json!(args));
        assert_eq!(event["cut"], event["argv"] != json!(args), "{event}");
    }
}

fn check_bpf(tags: Tags) {
    const OBJECT: u32 = bpf::BPF_PROG_TYPE_RAW_TRACEPOINT;
    let acted = trace("bpf", tags, |memory| {
        let insns = [bpf::MOV_R0, bpf::EXIT];
        let (all, exit, licence) = (memory.numbers(&insns), memory.numbers(&insns[1..]), memory.text("GPL"));
        let bpf = |command: u64, attr: Attr| call(libc::SYS_bpf, &[command, memory.put(&attr.0), 128]);
        let load = |name, insns| bpf(bpf::BPF_PROG_LOAD, Attr::of_load(OBJECT, name, insns, licence));
        let loaded = sys::owned(load("tt_loaded", (2, all)));
        let refused = load("tt_refused", (1, exit));
        let prog = sys::raw(&loaded);
        let names = ["sched_process_exit", "no_such_tracepoint"].map(|name| memory.text(name));
        let opened = names.map(|name| bpf(bpf::BPF_RAW_TRACEPOINT_OPEN, Attr::of_raw_tracepoint(prog, name)));
        [&bpf::id_and_tag(&loaded)[..], &[prog.into(), refused], &opened].concat()
    });
    let Some((run, pid, numbers)) = acted else { return };
    let events = run.kind_of("bpf", pid);
    let rets: Vec<_> = events.iter().map(|e| e["ret"].as_i64().expect("a number")).collect();
    assert_eq!(rets, numbers[2..], "{events:#?}");
    let errors = [libc::EACCES, libc::ENOENT].map(|errno| -i64::from(errno));
    assert_eq!([rets[1], rets[3]], errors, "what the kernel read by the tagged addresses: {events:#?}");
    // For the successful calls, the fields come from the kernel's objects.
    for (event, op) in events.iter().step_by(2).zip(["load", "attach"]) {
        assert_eq!(event["op"], op, "{event}");
        bpf::check_prog(event, "tt_loaded", "raw_tracepoint", &numbers[..2]);
    }
    assert_eq!(events[2]["attach"]["target"], "sched_process_exit", "{}", events[2]);
    let (refused, nowhere) = (&events[1], &events[3]);
    assert_eq!((&refused["op"], &nowhere["op"]), (&"load".into(), &"attach".into()));
    check(&refused["prog"], "type", tags, "raw_tracepoint");
    if refused["prog"]["type_why"] == "fault" {
        // The attributes were not read, so none of their values is shown.
        assert_eq!(refused["prog"]["name"], Value::Null, "{refused}");
    } else {
        assert_eq!(refused["prog"]["name"], "tt_refused", "{refused}");
    }
    check(&nowhere["prog"], "type", tags, "raw_tracepoint");
    if nowhere["prog"]["type_why"] == "fault" {
        assert_eq!((&nowhere["prog"]["id"], &nowhere["attach"]["target"]), (&Value::Null, &Value::Null), "{nowhere}");
    } else {
        check_has(&nowhere, json!({"prog": {"id": numbers[0]}, "attach": {"target": "no_such_tracepoint"}}));
    }
}

#[test]
fn opens_by_tagged_addresses_are_whole() {
    check_opens(Tags::Addresses);
}

#[test]
fn failed_execs_by_tagged_addresses_are_whole() {
    check_failed_execs(Tags::Addresses);
}

#[test]
fn bpf_by_tagged_addresses_is_whole() {
    check_bpf(Tags::Addresses);
}

#[test]
fn opens_from_mte_memory_are_whole_or_said_to_be_unread() {
    check_opens(Tags::Memory);
}

#[test]
fn failed_execs_from_mte_memory_are_whole_or_said_to_be_unread() {
    check_failed_execs(Tags::Memory);
}

#[test]
fn bpf_from_mte_memory_is_whole_or_said_to_be_unread() {
    check_bpf(Tags::Memory);
}

/// Memory that the kernel cannot read because the tags differ is not shown either.
#[test]
fn what_mte_denies_to_the_kernel_is_a_fault() {
    let acted = trace("open,exec", Tags::Memory, |memory| {
        const OTHER: u64 = 1 << 56;
        let (path, how) = (memory.text("/nowhere/denied"), memory.numbers(&[libc::O_RDWR as u64, 0, 0]));
        // The string continues in memory with another tag.
        let open_ended = memory.put(b"/nowhere/denied/");
        memory.text("the next");
        let (argv, none) = (memory.numbers(&[path, path ^ OTHER, 0]), memory.list(&[]));
        vec![
            call(libc::SYS_openat, &[CWD, path ^ OTHER]),
            call(libc::SYS_openat, &[CWD, open_ended]),
            call(libc::SYS_openat2, &[CWD, path, how ^ OTHER, 24]),
            call(libc::SYS_execve, &[path ^ OTHER, none, none]),
        ]
        .into_iter()
        // The kernel does not read the arguments if the program does not exist.
        .chain([call(libc::SYS_execve, &[memory.text("/bin/true"), argv, none])])
        .collect()
    });
    let Some((run, pid, rets)) = acted else { return };
    assert_eq!(rets, [-i64::from(libc::EFAULT); 5]);
    let (opens, execs) = (run.kind_of("open", pid), run.kind_of("exec", pid));
    assert_eq!((opens.len(), execs.len()), (3, 2), "{opens:#?} {execs:#?}");
    let unread = |event: &Value, field: &str| {
        let why = &event[format!("{field}_why")];
        assert!(why == "fault" && (event[field].is_null() || event[field] == ""), "{field} of {event}");
    };
    opens[..2].iter().for_each(|event| unread(event, "path"));
    assert_eq!(opens[2]["path"], "/nowhere/denied", "{}", opens[2]);
    ["flags", "mode", "resolve"].into_iter().for_each(|field| unread(&opens[2], field));
    unread(&execs[0], "filename");
    let (argv, first) = (&execs[1]["argv"], json!(["/nowhere/denied"]));
    assert!(*argv == first || *argv == json!([]) && !Tags::Memory.are_read(), "{}", execs[1]);
    assert_eq!(execs[1]["cut"], true, "{}", execs[1]);
}
