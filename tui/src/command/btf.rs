//! `tracetui btf`: the kernel field offsets in a BTF file, each with its reason. Needs no privileges and no kernel.

use super::messages::name;
use crate::cli;
use anyhow::{Result, anyhow};
use std::io::{self, Write};
use std::process::ExitCode;
use tracetui_host::btf::Btf;
use tracetui_host::btf::resolve::{
    Absence, Decision, ENUMERATORS, FUNCTIONS, MAY_GOTO_MEMBER, PREEMPTIBLE_TRACEPOINTS_TYPE, Resolved,
};
use tracetui_live::{attach_names, hooked_functions};
use tracetui_shared::offsets::{ABSENT, TYPES};

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

/// All decisions in aligned tables: fields, and what else is looked up by name.
pub fn report(btf: &Btf, resolved: &Resolved) -> String {
    let mut out = String::new();
    let titles = ["FIELD", "MEMBER", "NAME", "STRUCT ID", "TYPE ID", "BYTE", "BIT", "SIZE"];
    let fields = resolved.decisions.iter().map(field);
    table(&mut out, std::iter::once(titles.map(str::to_owned).to_vec()).chain(fields).collect());
    table(&mut out, others(btf, resolved));
    let absent = resolved.decisions.iter().filter(|decision| decision.offset() == ABSENT).count();
    out.push_str(&format!("{} types, {} fields, {absent} absent\n", btf.len(), resolved.decisions.len()));
    out
}

type Row = Vec<String>;

/// The row of a field. Ids are those in this BTF.
fn field(decision: &Decision) -> Row {
    let spec = &decision.spec;
    let names = spec.members.len();
    let id = decision.structure.map_or("-".to_owned(), |id| id.to_string());
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
            vec![format!("{}.{}", spec.structure, spec.members.join("|")), format!("absent: {why}"), id]
        }
    };
    cells.insert(0, spec.name.to_owned());
    cells
}

/// Constants and enumerators with their values, tracepoints with their number of arguments, and what has an id.
fn others(btf: &Btf, resolved: &Resolved) -> Vec<Row> {
    let mut rows = vec![vec!["FOUND BY NAME".to_owned(), "VALUE".to_owned()]];
    let mut add = |what: &str, name: &str, value: Option<i64>| {
        let value = value.map_or("absent".to_owned(), |value| value.to_string());
        rows.push(vec![format!("{what} {name}"), value]);
    };
    resolved.consts.0.iter().for_each(|(name, value)| add("constant", &format!("{name:?}"), value.map(i64::from)));
    ENUMERATORS.iter().zip(btf.enumerators(&ENUMERATORS)).for_each(|(name, value)| add("enumerator", name, value));
    for name in attach_names().tracepoints {
        add("tracepoint", name, btf.tracepoint_args(name).map(|count| count as i64));
    }
    // If the BTF does not show its architecture, use the functions of all architectures.
    let hooked = btf.arch().map_or_else(|| attach_names().functions, hooked_functions);
    let functions = [&FUNCTIONS[..], &hooked].concat();
    functions.iter().zip(btf.funcs(&functions)).for_each(|(name, id)| add("function", name, id.map(i64::from)));
    TYPES.iter().for_each(|name| add("struct", name, btf.structure(name).map(i64::from)));
    let (structure, member) = MAY_GOTO_MEMBER;
    let found = btf.structure(structure).filter(|id| btf.has_member(*id, member));
    add("member", &format!("{structure}.{member}"), found.map(i64::from));
    add("typedef", PREEMPTIBLE_TRACEPOINTS_TYPE, btf.typedef(PREEMPTIBLE_TRACEPOINTS_TYPE).map(i64::from));
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
    use tracetui_shared::offsets::Field;

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
        check_line(&report, &["DentryInline", "dentry.d_iname", "2 of 2"]);
        check_line(&report, &["PerfLinkFile", "bpf_perf_link.perf_file", "absent: no such structure"]);
        check_line(&report, &["tracepoint sched_process_exit", "1"]);
        check_line(&report, &["function bpf_rdonly_cast", "absent"]);
        check_line(&report, &["enumerator BPF_FUNC_get_current_task_btf", "absent"]);
        let btf = committed("7.1");
        let mut resolved = btf.resolve();
        let place = resolved.decisions[Field::SignalFlags as usize].place.as_mut().expect("there");
        place.size = Some(8);
        let why = "absent: it has 8 bytes, expected 4";
        check_line(&self::report(&btf, &resolved), &["SignalFlags", "signal_struct.flags", why]);
        // Newer kernels have what older ones lack.
        let btf = committed("7.1");
        let report = self::report(&btf, &btf.resolve());
        check_line(&report, &["tracepoint sched_process_exit", "2"]);
        check_line(&report, &["function __x64_sys_openat"]);
        for there in [
            "function bpf_rdonly_cast",
            "function wake_up_new_task",
            "struct dentry",
            "member bpf_verifier_state.may_goto_depth",
            "typedef class_srcu_fast_notrace_t",
        ] {
            assert!(!report.lines().any(|line| line.starts_with(there) && line.contains("absent")), "{report}");
        }
    }
}
