//! Kernel stacks, with the names that were right at that time.

use crate::prelude::*;
use crate::recording::{events, traced};

fn names(event: &Value) -> Vec<String> {
    let calls = event["stack"].as_array().into_iter().flatten();
    calls.filter_map(|call| call["symbol"].as_str().map(str::to_owned)).collect()
}

/// Whether this kernel shows the addresses of its symbols.
fn has_symbols() -> bool {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    symbols.lines().any(|line| !line.starts_with("0000000000000000"))
}

const ALL: [&str; 4] = ["--kind", "exec,exit,fork,open,bpf", "--stack", "exec,exit,fork,open"];

/// The stacks of each kind lead from the event to the entry of the kernel. A replay and a part of the recording show the same.
#[test]
fn stacks_have_names_live_and_in_recordings() {
    let dir = Dir::alone();
    if !has_symbols() {
        return not_checked("stacks: this kernel shows no symbols");
    }
    let (file, part) = (dir.at("stacks.ttr"), dir.at("part.ttr"));
    let (file, part) = (file.as_str(), part.as_str());
    let args =
        [&["print", "--format", "json", "-w", file], &ALL[..], &["--", "sh", "-c", "cat /no/such; true"]].concat();
    let Some(live) = traced(&args, |_| {}) else { return };
    let all = events(&live.stdout);
    for (kind, functions) in [
        ("exec", &["bprm_execve", "exec_binprm", "do_execveat_common", "load_elf_binary"][..]),
        ("exit", &["do_exit"]),
        ("fork", &["kernel_clone", "_do_fork", "__do_sys_clone"]),
        ("open", &["do_syscall_64", "syscall_exit", "el0_svc", "invoke_syscall", "__invoke_syscall"]),
    ] {
        let mut stacks =
            all.iter().filter(|event| event["kind"] == kind && (kind != "exec" || event["ret"] == 0)).map(names);
        let has =
            |stack: &Vec<String>| stack.iter().any(|name| functions.iter().any(|function| name.starts_with(function)));
        let Some(stack) = stacks.next() else { panic!("{kind}: no event, of {}", all.len()) };
        assert!(has(&stack) || stacks.any(|stack| has(&stack)), "{kind}: {stack:?}");
    }
    let replayed = read(&["print", file, "--format", "json"]);
    assert!(replayed.stdout == live.stdout, "{}", text(&replayed.stderr));
    let done = read(&["cut", file, "-o", part, "--kind", "exit"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let of_whole = read(&["print", file, "--format", "json", "--kind", "exit"]);
    let of_part = read(&["print", part, "--format", "json"]);
    assert!(of_part.stdout == of_whole.stdout && !of_part.stdout.is_empty(), "{}", text(&of_part.stderr));
    let found = read(&["print", file, "--format", "json", "--filter", "stack=do_exit"]);
    assert!(events(&found.stdout).iter().any(|event| event["kind"] == "exit"));
}

/// Only bpf events have a stack unless others are named. An event that the kernel made has none.
#[test]
fn stacks_are_only_of_what_was_asked_for() {
    alone();
    let load = tracetui().get_program().to_owned().into_string().expect("UTF-8");
    let load = load.as_str();
    for (stack, expected) in [(&[][..], true), (&["--stack", "none"], false)] {
        let args = ["print", "--format", "json", "--kind", "exec,bpf"];
        // Its probes are what is loaded.
        let args = [&args, stack, &["--", load, "print", "--kind", "exec", "-n", "1", "--", "/bin/true"]].concat();
        let Some(live) = traced(&args, |_| {}) else { return };
        let all = events(&live.stdout);
        let bpf =
            |by: &str| all.iter().filter(|e| e["kind"] == "bpf" && e["seen_by"] == by).cloned().collect::<Vec<_>>();
        let (calls, stream) = (bpf("call"), bpf("stream"));
        assert!(!calls.is_empty(), "{}", text(&live.stderr));
        assert!(calls.iter().all(|event| event["stack"].is_array() == expected), "{calls:?}");
        assert!(stream.iter().all(|event| event["stack"].is_null() && event["stack_why"] == "not_collected"));
        assert!(all.iter().filter(|event| event["kind"] == "exec").all(|event| event.get("stack").is_none()));
    }
}

/// Without CAP_SYSLOG /proc/kallsyms has no addresses. The kernel itself names them then, and never from zero.
#[test]
fn the_kernel_names_what_it_does_not_list() {
    let dir = Dir::alone();
    if release() < (5, 13) {
        return not_checked("names from the kernel: before 5.13 it cannot be asked");
    }
    let file = dir.at("hidden.ttr");
    let file = file.as_str();
    let args =
        ["print", "--format", "json", "--kind", "exec,exit", "--stack", "exec,exit", "-w", file, "--", "/bin/true"];
    const CAP_SYSLOG: u64 = 34;
    let drops = [libc::PR_CAPBSET_DROP as u64, CAP_SYSLOG];
    let change = |command: &mut Command| sys::before_exec(command, move || sys::done(call(libc::SYS_prctl, &drops)));
    let Some(live) = traced(&args, change) else { return };
    let all = events(&live.stdout);
    let exit = all.iter().find(|event| event["kind"] == "exit").expect("an exit");
    assert!(names(exit).iter().any(|name| name == "do_exit"), "{exit}");
    let calls = exit["stack"].as_array().into_iter().flatten();
    let sound = |call: &Value| match (call["offset"].as_u64(), call["size"].as_u64()) {
        (Some(offset), Some(size)) => offset <= size && size < 1 << 20,
        _ => call["symbol"].is_null(),
    };
    assert!(calls.clone().count() > 2 && calls.clone().all(sound), "{exit}");
    assert!(read(&["print", file, "--format", "json"]).stdout == live.stdout);
}
