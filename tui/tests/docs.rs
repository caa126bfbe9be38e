//! The generated pages of docs/ match the tables. `UPDATE_DOCS=1 cargo test --test docs` regenerates them.

use std::fmt::Write as _;
use std::path::Path;
use tracetui::command::{config, keys};
use tracetui::event::describe::{COMMON, Field, Shape};
use tracetui::event::fields_of;
use tracetui_shared::kind::Kind;

fn check_fresh(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).expect("docs/ is writable");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, text, "docs/{name} is stale: UPDATE_DOCS=1 cargo test --test docs");
}

fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Text => "text",
        Shape::Number => "number",
        Shape::Duration => "duration",
        Shape::User => "user",
        Shape::Group => "group",
        Shape::Bool => "yes/no",
        Shape::List => "list",
        Shape::Object => "object",
    }
}

fn table(fields: &[Field], prefix: &str, out: &mut String) {
    for field in fields {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{prefix}{}` | {} | {} |", field.name, shape(field.shape), field.doc);
        table(field.sub, &format!("{prefix}{}.", field.name), out);
    }
}

#[test]
fn events_page_is_fresh() {
    let mut page = String::from(
        "# Events and their fields\n\nGenerated from the tables in `tui/src/event/`. In JSON, every key of a kind is always present, but `stack`\nonly in `bpf` events and where `--stack` asked for it. If a value is unknown, `<field>_why` gives the reason.\n\nA stack is a list of calls, the innermost first: `addr`, `symbol`, `offset`, `size` and `module` (`bpf` for a program). What is not\nknown of a call is null.\n\n`print --why` adds `why` to opens and execs: null if they did not fail, else `text`, `component` (the part of the path that refused), `cause`,\n`near` (the nearest name that exists), `place` (where it was looked up, if not at the process), and `checked_after_ns` (nanoseconds after\nthe event; null if nothing was looked up) or `proven` (true: the event proves it).\n",
    );
    let titles = tracetui::filter::TITLES.map(|(title, field)| format!("`{title}` is `{field}`")).join(", ");
    let causes: Vec<_> = tracetui::why::Cause::ALL.iter().map(|cause| cause.word()).collect();
    let _ = writeln!(page, "`cause` is one of {}.", causes.join(", "));
    let _ = writeln!(
        page,
        "\nFilters also accept the titles of columns: {titles}. `result` and `detail` compare the text of the column."
    );
    let head = "| field | in filters | description and kernel source |\n|---|---|---|\n";
    page.push_str("\n## Every event\n\n");
    page.push_str(head);
    table(COMMON, "", &mut page);
    for kind in Kind::ALL {
        let _ = write!(page, "\n## `{}`\n\n{head}", kind.name());
        table(fields_of(kind), "", &mut page);
    }
    check_fresh("EVENTS.md", &page);
}

#[test]
fn keys_page_is_fresh() {
    check_fresh("KEYS.md", &keys::markdown());
}

#[test]
fn configuration_page_is_fresh() {
    check_fresh("CONFIG.md", &config::markdown());
}

/// The part of a page between the comments that `scripts/kernel-matrix.sh` uses.
fn kernels(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let part = text.split_once("<!-- kernels -->").and_then(|(_, rest)| rest.split_once("<!-- /kernels -->"));
    part.unwrap_or_else(|| panic!("{page} has no table of kernels")).0.to_owned()
}

#[test]
fn every_page_carries_the_same_table_of_kernels() {
    let said = kernels("docs/KERNELS.md");
    let page = "docs/PROBES.md";
    assert_eq!(kernels(page), said, "{page}: scripts/kernel-matrix.sh writes it");
}
