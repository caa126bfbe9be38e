use super::*;
use proptest::prelude::*;
use tracetui_host::machine::Uname;
use tracetui_shared::kind::Slot;

fn attached(name: &str, kinds: &[Kind]) -> Probe {
    Probe {
        name: name.to_owned(),
        kinds: kinds.iter().map(|kind| *kind as u16).collect(),
        attached: true,
        how: "BTF tracepoint sched_process_exec".to_owned(),
        missing: "execs".to_owned(),
        ..Probe::default()
    }
}

fn program(kind: Kind) -> &'static str {
    Slot::of_kind(kind).map(Slot::program).find(|name| shows_most(name, kind)).expect("every kind has one")
}

fn refused(name: &str, kinds: &[Kind]) -> Probe {
    Probe {
        attached: false,
        how: "BTF tracepoint sys_exit".to_owned(),
        why: Some("the verifier refused it:\nR1 \x1b[31mtype\n".to_owned()),
        missing: "opens, attaches".to_owned(),
        remedy: Some("sudo tracetui".to_owned()),
        ..attached(name, kinds)
    }
}

const CALLS: Calls = Calls { untraced: 100, traced: 190 };

fn report(probes: &[Probe]) -> Report<'static> {
    report_on(Some(Lockdown::Integrity), Some(CapabilitySet::PERFMON | CapabilitySet::BPF), probes)
}

fn report_on(lockdown: Option<Lockdown>, capabilities: Option<CapabilitySet>, probes: &[Probe]) -> Report<'static> {
    let uname = Uname { release: "6.12.1-amd64".to_owned(), machine: "x86_64".to_owned(), ..Uname::default() };
    let machine = Machine { uname, lockdown, capabilities, kptr_restrict: Some(2), ..Machine::read() };
    Report {
        machine: Box::leak(Box::new(machine)),
        names_addresses: true,
        causes: Vec::new(),
        probes: probes.to_vec(),
        seen: None,
        calls: None,
        trial: None,
        paint: Paint::Off,
    }
}

#[test]
fn a_line_a_probe_with_its_reasons_below() {
    let cause = Cause {
        severity: Severity::Fatal,
        what: "missing CAP_BPF: cannot load BPF programs".to_owned(),
        missing: Some("CAP_BPF".to_owned()),
        remedy: "run as root: sudo tracetui".to_owned(),
    };
    let probes = [attached("sched_exec", &[Kind::Exec]), refused("sys_exit", &[Kind::Open, Kind::Bpf])];
    let text = Report { causes: vec![cause], ..report(&probes) }.text();
    let expected = "\
kernel        6.12.1-amd64 x86_64
lockdown      integrity
capabilities  CAP_PERFMON CAP_BPF
addresses     hidden even from root (kernel.kptr_restrict=2); stacks have function names from the kernel

cannot trace: missing CAP_BPF: cannot load BPF programs
    remedy:  run as root: sudo tracetui

sched_exec  exec      attached      BTF tracepoint sched_process_exec
sys_exit    open bpf  not attached  BTF tracepoint sys_exit
            why:     the verifier refused it:
                     R1 \\x1b[31mtype
            missing: opens, attaches
            remedy:  sudo tracetui

no working probe for: ";
    let others = Kind::PROBED.into_iter().filter(|kind| *kind != Kind::Exec).map(Kind::name).collect::<Vec<_>>();
    assert_eq!(text, format!("{expected}{}\n", others.join(" ")));
}

#[test]
fn what_a_trace_gives_up_is_said() {
    let main = Threads {
        names: "main",
        held: CapabilitySet::SYS_NICE,
        root_files: false,
        denied: vec!["execute a program", "open a socket", "read /etc/shadow"],
        able: vec![],
        allowed: vec!["trace a process"],
    };
    let pins = Threads {
        names: "pins",
        held: CapabilitySet::empty(),
        root_files: true,
        denied: vec!["execute a program", "trace a process", "open a socket"],
        able: vec!["read /etc/shadow"],
        allowed: vec![],
    };
    let trial = Trial { user: 65_529, calls: true, writes: false, threads: vec![main, pins] };
    let report = Report { trial: Some(trial), ..report(&[]) };
    let text = report.text();
    for line in [
        "while tracing: user 65529; system calls limited (seccomp); \
             writes limited only by modes: the kernel has no Landlock (5.13+), or it is turned off",
        "    held:    CAP_SYS_NICE (main)",
        "    held:    no capabilities, root's ids for files (pins)",
        "    denied:  execute a program, open a socket",
        "    able:    read /etc/shadow (pins)",
        "    not denied: trace a process (main)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    let confinement = &json["confinement"];
    assert_eq!((confinement["user"].as_u64(), confinement["landlock"].as_bool()), (Some(65_529), Some(false)));
    assert_eq!(confinement["held"][0]["capabilities"][0], "CAP_SYS_NICE");
    assert_eq!(confinement["denied"], serde_json::json!(["execute a program", "open a socket"]));
    let expected = serde_json::json!(
        {"threads": "pins", "capabilities": [], "root_files": true, "able": ["read /etc/shadow"], "allowed": []}
    );
    assert_eq!(confinement["held"][1], expected);
}

#[test]
fn the_object_has_the_keys_of_the_contract() {
    let probes = [attached("sched_exec", &[Kind::Exec]), refused("sys_exit", &[Kind::Open, Kind::Bpf])];
    let cause = Cause {
        severity: Severity::Partial,
        what: "missing CAP_SYS_PTRACE: a \"reason\"".to_owned(),
        missing: Some("CAP_SYS_PTRACE".to_owned()),
        remedy: "sudo tracetui".to_owned(),
    };
    let json = Report { causes: vec![cause], calls: Some(CALLS), ..report(&probes) }.json();
    let expected = concat!(
        r#"{"kernel":"6.12.1-amd64","arch":"x86_64","lockdown":"integrity","capabilities":["CAP_PERFMON","CAP_BPF"],"#,
        r#""kptr_restrict":2,"confinement":null,"causes":[{"fatal":false,"what":"missing CAP_SYS_PTRACE: a \"reason\"","missing":"CAP_SYS_PTRACE","#,
        r#""remedy":"sudo tracetui"}],"call_ns":{"untraced":100,"traced":190},"#,
        r#""probes":[{"name":"sched_exec","kind":"exec","attached":true,"how":"BTF tracepoint sched_process_exec","#,
        r#""why":null,"missing":null,"remedy":null},"#,
        r#"{"name":"sys_exit","kind":"open,bpf","attached":false,"how":"BTF tracepoint sys_exit","#,
        r#""why":"the verifier refused it:\u000aR1 \u001b[31mtype\u000a","missing":"opens, attaches","#,
        r#""remedy":"sudo tracetui"}]}"#,
    );
    assert_eq!(json, expected);
    let unknown = report_on(None, None, &[]).json();
    let nulls = r#""lockdown":null,"capabilities":null,"kptr_restrict":2,"confinement":null"#;
    let rest = r#","causes":[],"call_ns":null,"probes":[]"#;
    assert!(unknown.contains(&format!("{nulls}{rest}")), "{unknown}");
}

#[test]
fn it_succeeds_if_every_kind_has_a_working_probe_and_says_capabilities() {
    let serving = |kinds: &[Kind]| {
        let spare = refused("sys_exit_more", &[Kind::Exec]);
        kinds.iter().map(|kind| attached(program(*kind), &[*kind])).chain([spare]).collect::<Vec<_>>()
    };
    assert_eq!(report(&serving(&Kind::PROBED)).exit_status(), 0);
    assert_eq!(report(&serving(&[Kind::Exec, Kind::Exit, Kind::Open, Kind::Bpf])).exit_status(), 1);
    assert_eq!(report(&[]).exit_status(), 1);
    // A probe that shows nothing does not work.
    let programs = Kind::PROBED.map(program);
    let probes = Kind::PROBED.map(|kind| attached(program(kind), &[kind]));
    let of = |seen: &[&'static str]| Report { seen: Some(seen.to_vec()), ..report(&probes) };
    assert_eq!(of(&programs).exit_status(), 0);
    let but_execs = of(&programs[1..]);
    assert_eq!(but_execs.kinds_without_probe(), [Kind::Exec]);
    let text = but_execs.text();
    let line = text.lines().find(|line| line.starts_with("sched_exec"));
    assert_eq!(line, Some("sched_exec  exec    not seen      BTF tracepoint sched_process_exec"));
    assert!(but_execs.json().contains(r#""remedy":null,"seen":false}"#));
    // Capabilities and costs are abbreviated.
    let all = CapabilitySet::all();
    assert_eq!(capabilities(Some(all)), "all");
    let but = !CapabilitySet::SYS_RESOURCE;
    assert_eq!(capabilities(Some(but)), "all except CAP_SYS_RESOURCE");
    assert_eq!(capabilities(Some(CapabilitySet::empty())), "none");
    assert_eq!(capabilities(None), "unknown");
    let text = Report { calls: Some(CALLS), ..report(&[]) }.text();
    let cost = "other system calls take 90 ns more while all kinds are traced (100 to 190 ns)\n";
    assert!(text.contains(cost), "{text}");
}

proptest! {
    #[test]
    fn any_words_make_json_and_harmless_text(name: String, why: String, kind: u16) {
        let probe = Probe { kinds: vec![kind], why: Some(why.clone()), ..refused(&name, &[]) };
        let probes = [probe];
        let report = report(&probes);
        let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
        prop_assert_eq!(json["probes"][0]["name"].as_str(), Some(name.as_str()));
        prop_assert_eq!(json["probes"][0]["why"].as_str(), Some(why.as_str()));
        prop_assert!(!report.text().chars().any(|c| c.is_control() && c != '\n'));
    }
}
