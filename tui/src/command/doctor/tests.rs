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
    let trial = Some((Enforced { calls: true, writes: false }, 65_529));
    let report = Report { trial, ..report(&[]) };
    let line = "while tracing: user 65529; system calls limited (seccomp); \
                writes limited only by modes: the kernel has no Landlock (5.13+), or it is turned off";
    assert!(report.text().lines().any(|found| found == line), "{}", report.text());
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    assert_eq!(json["confinement"], serde_json::json!({"user": 65_529, "seccomp": true, "landlock": false}));
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
    let json = Report { causes: vec![cause], ..report(&probes) }.json();
    let expected = concat!(
        r#"{"kernel":"6.12.1-amd64","arch":"x86_64","lockdown":"integrity","capabilities":["CAP_PERFMON","CAP_BPF"],"#,
        r#""kptr_restrict":2,"confinement":null,"causes":[{"fatal":false,"what":"missing CAP_SYS_PTRACE: a \"reason\"","missing":"CAP_SYS_PTRACE","#,
        r#""remedy":"sudo tracetui"}],"probes":[{"name":"sched_exec","kind":"exec","attached":true,"how":"BTF tracepoint sched_process_exec","#,
        r#""why":null,"missing":null,"remedy":null},"#,
        r#"{"name":"sys_exit","kind":"open,bpf","attached":false,"how":"BTF tracepoint sys_exit","#,
        r#""why":"the verifier refused it:\u000aR1 \u001b[31mtype\u000a","missing":"opens, attaches","#,
        r#""remedy":"sudo tracetui"}]}"#,
    );
    assert_eq!(json, expected);
    let unknown = report_on(None, None, &[]).json();
    let nulls = r#""lockdown":null,"capabilities":null,"kptr_restrict":2,"confinement":null"#;
    let rest = r#","causes":[],"probes":[]"#;
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
    let of =
        |failed: &str| Report { seen: Some(programs.map(|name| (name, name != failed)).to_vec()), ..report(&probes) };
    assert_eq!(of("").exit_status(), 0);
    let but_execs = of(programs[0]);
    assert_eq!(but_execs.kinds_without_probe(), [Kind::Exec]);
    let text = but_execs.text();
    let line = text.lines().find(|line| line.starts_with("sched_exec"));
    assert_eq!(line, Some("sched_exec  exec    not seen      BTF tracepoint sched_process_exec"));
    assert!(but_execs.json().contains(r#""remedy":null,"seen":false}"#));
    // Capabilities are abbreviated.
    let all = CapabilitySet::all();
    assert_eq!(capabilities(Some(all)), "all");
    let but = !CapabilitySet::SYS_RESOURCE;
    assert_eq!(capabilities(Some(but)), "all except CAP_SYS_RESOURCE");
    assert_eq!(capabilities(Some(CapabilitySet::empty())), "none");
    assert_eq!(capabilities(None), "unknown");
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
