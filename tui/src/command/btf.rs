//! `tracetui btf`: the kernel field offsets in a BTF file, each with its reason. Needs no privileges and no kernel.

use super::messages::name;
use crate::cli;
use anyhow::{Result, anyhow};
use std::io::{self, Write};
use std::process::ExitCode;
use tracetui_host::arch;
use tracetui_host::btf::Btf;
use tracetui_host::btf::resolve::{
    Absence, Decision, ENUMERATORS, EXIT_TRACEPOINT, FUNCTIONS, MAY_GOTO_MEMBER, PREEMPTIBLE_TRACEPOINTS_TYPE,
    Resolved, TASK_HELPER,
};
use tracetui_live::{attach_names, hooked_functions, typed_tracepoints, users_of};
use tracetui_shared::offsets::{ABSENT, Const, Field, TYPES};

pub fn run(args: &cli::BtfArgs) -> Result<ExitCode> {
    let btf = match cli::is_stream(&args.from) {
        true => Btf::from_reader(io::stdin().lock()),
        false => Btf::from_file(&args.from),
    };
    // Its text contains the whole cause.
    let btf = btf.map_err(|error| anyhow!("--from {}: {error}", name(&args.from)))?;
    io::stdout().write_all(report(&btf, &btf.resolve()).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// All decisions in aligned tables: fields, constants, tracepoints, functions and types.
pub fn report(btf: &Btf, resolved: &Resolved) -> String {
    let mut out = String::new();
    table(&mut out, fields(resolved));
    table(&mut out, constants(btf, resolved));
    table(&mut out, tracepoints(btf));
    table(&mut out, by_id(btf));
    let absent = resolved.decisions.iter().filter(|decision| decision.offset() == ABSENT).count();
    out.push_str(&format!("{} types, {} fields, {absent} absent\n", btf.len(), resolved.decisions.len()));
    out
}

type Row = Vec<String>;

fn row<const N: usize>(cells: [&str; N]) -> Row {
    cells.map(str::to_owned).to_vec()
}

/// One row for each field. Ids are those in this BTF.
fn fields(resolved: &Resolved) -> Vec<Row> {
    let titles = row(["FIELD", "MEMBER", "NAME", "STRUCT ID", "TYPE ID", "BYTE", "BIT", "SIZE", "USED BY"]);
    std::iter::once(titles).chain(resolved.decisions.iter().map(field)).collect()
}

fn field(decision: &Decision) -> Row {
    let spec = &decision.spec;
    let names = spec.members.len();
    let id = decision.structure.map_or("-".to_owned(), |id| id.to_string());
    let used_by = used_by(users_of(decision.field));
    let mut cells = match decision.usable() {
        Ok(place) => {
            let path = decision.path().unwrap_or_default();
            let width = place.width.map(|bits| format!(":{bits}")).unwrap_or_default();
            vec![
                format!("{}.{path}", spec.structure),
                format!("{} of {names}", place.alternate + 1),
                id,
                place.type_id.to_string(),
                place.byte_offset().to_string(),
                format!("{}{width}", place.bit_offset),
                place.size.map_or("-".to_owned(), |size| size.to_string()),
            ]
        }
        Err(absence) => {
            let why = match absence {
                Absence::NoStructure => "no such structure".to_owned(),
                Absence::NoMember => "no such member".to_owned(),
                Absence::Width { .. } => format!("{absence}, expected {}", spec.width),
                Absence::Damaged(_) => "damaged BTF entry".to_owned(),
            };
            let member = format!("{}.{}", spec.structure, spec.members.join("|"));
            vec![member, format!("absent: {why}"), id, "-".into(), "-".into(), "-".into(), "-".into()]
        }
    };
    cells.insert(0, spec.name.to_owned());
    cells.push(used_by);
    cells
}

/// The names of the programs, or a word for all of them.
fn used_by(programs: Vec<&'static str>) -> String {
    // Every program's header has this field.
    match programs.len() == users_of(Field::TaskTgid).len() {
        true => "all".to_owned(),
        false => programs.join(" "),
    }
}

/// The programs that use a constant. For most constants, these are the users of a related field.
fn user_of(constant: Const) -> Vec<&'static str> {
    match constant {
        Const::ExitHasGroupDead => {
            typed_tracepoints().filter(|(at, _)| *at == EXIT_TRACEPOINT).map(|(_, p)| p).collect()
        }
        Const::InlineNameLen => users_of(Field::DentryInline),
        Const::TraceFlagTracepoint => users_of(Field::TraceCallFlags),
        Const::TraceFlagKprobe => users_of(Field::TraceKprobeTp),
        Const::TraceFlagUprobe => users_of(Field::TraceUprobeTp),
        Const::LinkTypePerf | Const::LinkTypeRawTp => users_of(Field::LinkType),
        _ => Vec::new(),
    }
}

fn constants(btf: &Btf, resolved: &Resolved) -> Vec<Row> {
    let mut rows = vec![row(["CONSTANT", "VALUE", "USED BY"])];
    for (name, value) in resolved.consts.0 {
        let value = value.map_or("absent".to_owned(), |value| value.to_string());
        rows.push(vec![format!("{name:?}"), value, used_by(user_of(name))]);
    }
    for (name, value) in ENUMERATORS.iter().zip(btf.enumerators(&ENUMERATORS)) {
        let value = value.map_or("absent: no such enumerator".to_owned(), |value| value.to_string());
        let user = if *name == TASK_HELPER { "all" } else { "the constant above" };
        rows.push(vec![format!("enumerator {name}"), value, user.to_owned()]);
    }
    rows
}

fn tracepoints(btf: &Btf) -> Vec<Row> {
    let mut rows = vec![row(["TRACEPOINT", "ARGUMENTS", "USED BY"])];
    for name in attach_names().tracepoints {
        let arguments = btf.tracepoint_args(name).map_or("absent".to_owned(), |count| count.to_string());
        let users: Vec<_> = typed_tracepoints().filter(|(at, _)| *at == name).map(|(_, program)| program).collect();
        rows.push(vec![name.to_owned(), arguments, users.join(" ")]);
    }
    rows
}

/// Items that are passed to the kernel by id, and items that must exist.
fn by_id(btf: &Btf) -> Vec<Row> {
    let id = |found: Option<u32>| found.map_or("absent".to_owned(), |id| id.to_string());
    let mut rows = vec![row(["FOUND BY NAME", "ID", "USED FOR"])];
    for (name, found) in FUNCTIONS.iter().zip(btf.funcs(&FUNCTIONS)) {
        rows.push(vec![format!("function {name}"), id(found), "typed reads".into()]);
    }
    // If the BTF does not show its architecture, use the functions of all architectures.
    let hooked: Vec<_> = arch::ALL
        .into_iter()
        .filter(|arch| btf.arch().is_none_or(|of| of == *arch))
        .flat_map(hooked_functions)
        .collect();
    let names: Vec<_> =
        attach_names().functions.into_iter().filter(|name| hooked.iter().any(|(at, _)| at == name)).collect();
    for (name, found) in names.iter().zip(btf.funcs(&names)) {
        let mut users: Vec<_> = hooked.iter().filter(|(at, _)| at == name).map(|(_, program)| *program).collect();
        users.dedup();
        rows.push(vec![format!("function {name}"), id(found), users.join(" ")]);
    }
    for name in TYPES {
        rows.push(vec![format!("struct {name}"), id(btf.structure(name)), "typed reads".into()]);
    }
    let (structure, member) = MAY_GOTO_MEMBER;
    let found = btf.structure(structure).filter(|id| btf.has_member(*id, member));
    rows.push(vec![format!("{structure}.{member}"), id(found), "may_goto loops".into()]);
    let found = btf.typedef(PREEMPTIBLE_TRACEPOINTS_TYPE);
    let kind = format!("typedef {PREEMPTIBLE_TRACEPOINTS_TYPE}");
    rows.push(vec![kind, id(found), "preemptible tracepoint programs".into()]);
    rows
}

/// Writes rows with aligned columns, and an empty line. The rows have tracetui's own names and numbers, and no text from the file.
fn table(out: &mut String, rows: Vec<Row>) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns).map(width).collect();
    for row in &rows {
        let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn committed(kernel: &str) -> Btf {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/btf/{kernel}.btf"));
        Btf::from_file(path).expect("committed")
    }

    #[track_caller]
    fn check_line(report: &str, words: &[&str]) {
        let found = report.lines().any(|line| {
            let mut cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            words.iter().all(|word| cells.any(|cell| cell == *word))
        });
        assert!(found, "{words:?} in\n{report}");
    }

    #[test]
    fn decisions_are_lines_and_newer_kernels_have_what_older_ones_lack() {
        let btf = committed("5.10");
        let resolved = btf.resolve();
        let report = report(&btf, &resolved);
        for decision in &resolved.decisions {
            assert!(report.lines().any(|line| line.starts_with(&format!("{} ", decision.spec.name))), "{decision:?}");
        }
        let users = "sched_exec sys_exit uring_complete file_closed";
        check_line(&report, &["DentryInline", "dentry.d_iname", "2 of 2", users]);
        check_line(&report, &["PerfLinkFile", "bpf_perf_link.perf_file", "absent: no such structure"]);
        check_line(&report, &["sched_process_exit", "1", "sched_exit"]);
        check_line(&report, &["function bpf_rdonly_cast", "absent"]);
        check_line(&report, &["enumerator BPF_FUNC_get_current_task_btf", "absent: no such enumerator"]);
        let btf = committed("7.1");
        let mut resolved = btf.resolve();
        let place = resolved.decisions[Field::SignalFlags as usize].place.as_mut().expect("there");
        place.size = Some(8);
        let why = "absent: it has 8 bytes, expected 4";
        check_line(&self::report(&btf, &resolved), &["SignalFlags", "signal_struct.flags", why]);
        let btf = committed("7.1");
        for decision in btf.resolve().decisions {
            assert!(!users_of(decision.field).is_empty(), "{decision:?}");
        }
        // Newer kernels have what older ones lack.
        let btf = committed("7.1");
        let report = self::report(&btf, &btf.resolve());
        check_line(&report, &["sched_process_exit", "2", "sched_exit"]);
        check_line(&report, &["function __x64_sys_openat", "sys_exit"]);
        for there in [
            "function bpf_rdonly_cast",
            "function wake_up_new_task",
            "struct dentry",
            "bpf_verifier_state.may_goto_depth",
            "typedef class_srcu_fast_notrace_t",
        ] {
            assert!(!report.lines().any(|line| line.starts_with(there) && line.contains("absent")), "{report}");
        }
    }
}
