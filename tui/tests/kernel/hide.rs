//! A kernel module (hide.c) hides a program: what still reveals it.

use crate::bpf::{BPF_PROG_TYPE_RAW_TRACEPOINT, EXIT, MOV_R0, id_and_tag, load, raw_tracepoint_open};
use crate::sys;
use crate::traced::{alone, may_trace, not_checked, tracetui};
use serde_json::Value;
use std::fs::File;
use std::os::fd::AsRawFd as _;

/// The module, loaded.
struct Module;

impl Module {
    /// The file of the module for the running kernel, which scripts/kernel-matrix.sh lays beside the tests.
    fn file() -> Option<File> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
        let tests = std::env::current_exe().expect("a path");
        File::open(tests.with_file_name(format!("hide-{}.ko", release.trim()))).ok()
    }

    fn load(file: &File, parameters: &str) -> Module {
        let parameters = sys::c(parameters);
        let args = [file.as_raw_fd() as u64, parameters.as_ptr() as u64, 0, 0, 0];
        assert_eq!(sys::call(libc::SYS_finit_module, args), 0, "{parameters:?}");
        Module
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        assert_eq!(sys::call(libc::SYS_delete_module, [c"hide".as_ptr() as u64, 0, 0, 0, 0]), 0);
    }
}

/// What `tracetui bpf` finds hidden, each with what shows it and what lacks it.
fn hidden() -> Vec<(Option<i64>, String, String)> {
    let output = tracetui().args(["bpf", "--format", "json"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let word = |value: &Value| value.as_str().expect("a view").to_owned();
    let hidden = report["hidden"].as_array().expect("a list").iter();
    hidden.map(|one| (one["id"].as_i64(), word(&one["seen_by"]), word(&one["missing_in"]))).collect()
}

#[test]
fn a_program_that_a_kernel_module_hides_is_found() {
    let _alone = alone();
    if !may_trace() {
        return;
    }
    let Some(module) = Module::file() else { return not_checked("no module was compiled for this kernel") };
    let load = || sys::owned(load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tt_hidden", &[MOV_R0, EXIT]));
    let (open, linked) = (load(), load());
    let _link = sys::owned(raw_tracepoint_open(&linked, "sched_process_exit"));
    let [of_open, of_linked] = [&open, &linked].map(|program| id_and_tag(program)[0]);
    drop(linked);
    let check = |id, hides: &str, views: &[(Option<i64>, &str, &str)]| {
        let _hides = Module::load(&module, &format!("id={id} {hides}"));
        let found = hidden();
        let found: Vec<_> = found.iter().map(|(id, seen, missing)| (*id, seen.as_str(), missing.as_str())).collect();
        assert_eq!(found, views, "{hides}");
    };
    const ALL: &str = "table=1 symbol=1 iterator=1 number=1";
    let id = Some(of_open);
    check(of_open, "table=1", &[(id, "fdinfo", "next_id"), (None, "kallsyms", "next_id")]);
    check(of_open, "symbol=1", &[(id, "obj_info", "kallsyms")]);
    check(of_open, "iterator=1", &[(id, "next_id", "iter_prog")]);
    let without_number = [(id, "next_id", "iter_prog"), (Some(0), "fdinfo", "next_id"), (id, "next_id", "obj_info")];
    check(of_open, "number=1", &without_number);
    check(of_open, ALL, &[(Some(0), "fdinfo", "next_id")]);
    check(of_linked, "table=1 symbol=1 iterator=1", &[(Some(of_linked), "link", "next_id")]);
    // Nothing reveals it.
    check(of_linked, ALL, &[]);
    assert_eq!(hidden(), [], "the module is not loaded any more");
}
