//! The generated pages of docs/ match the tables. `UPDATE_DOCS=1 cargo test --test docs` regenerates them.

mod schema;

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use tracetui::command::{config, keys};
use tracetui_events::event::describe::{COMMON, Field, Shape};
use tracetui_events::event::fields_of;
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
        Shape::Text => "",
        Shape::Number => " (number)",
        Shape::Duration => " (duration)",
        Shape::User => " (user)",
        Shape::Group => " (group)",
        Shape::Address => " (address)",
        Shape::Bool => " (yes/no)",
        Shape::List => " (list)",
        Shape::Object => " (object)",
    }
}

/// Appends a list of fields. Of fields that an earlier list has, named by its title in `seen`, the names follow.
fn list(fields: &'static [Field], title: &'static str, seen: &mut HashMap<[&str; 2], &'static str>, page: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## {title}\n\n");
    let mut known = BTreeMap::<_, Vec<_>>::new();
    for field in fields {
        match seen.entry([field.name, field.doc]) {
            Entry::Occupied(earlier) => known.entry(*earlier.get()).or_default().push(format!("`{}`", field.name)),
            Entry::Vacant(first) => {
                first.insert(title);
                entry(field, "", page);
            }
        }
    }
    for (title, names) in known {
        let _ = writeln!(page, "\nAs in {title}: {}.", names.join(", "));
    }
}

/// Appends the entry of a field and, unless it is the same as another, those of its fields.
fn entry(field: &Field, prefix: &str, page: &mut String) {
    let _ = writeln!(page, "- `{prefix}{}`{}: {}", field.name, shape(field.shape), field.doc);
    for sub in field.sub.iter().filter(|_| !field.doc.starts_with("The same as ")) {
        entry(sub, &format!("{prefix}{}.", field.name), page);
    }
}

#[test]
fn events_page_is_fresh() {
    let mut page = String::from(
        "# Events and their fields\n\nGenerated from `crates/events/src/event/`, as is the JSON Schema [events.schema.json](events.schema.json). In JSON, every key of a kind\nis always present, except `stack`, which needs `--stack` or the kind `bpf`. If a value is unknown, `<field>_why` gives the reason. A stack\nis a list of calls, innermost first: `addr`, `symbol`, `offset`, `size` and `module` (`bpf` for a program), null if unknown.\n\n`print --why` adds `why` to opens, execs, `file`, `lookup`, `unix` and `tcp` ([why it failed](FAILURES.md#why-it-failed)): null if they did not\nfail, else `text`, `component` (the part of the path that refused, or the remote address and port), `cause`, `near` (the nearest existing name, or the address\nand port of a listening process), `place` (where it was looked up, if not at the process), and `checked_after_ns` (nanoseconds after the\nevent; null without a lookup) or `proven` (true: the event proves it).\n",
    );
    let titles = tracetui_events::filter::TITLES.map(|(title, field)| format!("`{title}` is `{field}`")).join(", ");
    let causes: Vec<_> = tracetui_events::why::Cause::ALL.iter().map(|cause| cause.word()).collect();
    let _ = writeln!(page, "`cause` is one of {}.", causes.join(", "));
    let _ = writeln!(
        page,
        "\nDescriptions name the kernel source, and the type in filters if it is not text. Filters also accept the titles of columns: {titles}. `result` and `detail` compare the text of the column."
    );
    let mut seen = HashMap::new();
    list(COMMON, "Every event", &mut seen, &mut page);
    for kind in Kind::ALL {
        list(fields_of(kind), kind.name(), &mut seen, &mut page);
    }
    check_fresh("EVENTS.md", &page);
}

/// A schema of an object with these fields. Reasons and bytes that are not UTF-8 have fields of their own.
fn object_schema(fields: &[Field], optional: &[&str], more: &[(&str, Value)]) -> Value {
    let named = fields.iter().map(|field| (field.name.to_owned(), field_schema(field)));
    let more = more.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    let required: Vec<_> = fields.iter().map(|field| field.name).filter(|name| !optional.contains(name)).collect();
    json!({
        "type": "object",
        "properties": named.chain(more).collect::<Map<_, _>>(),
        "patternProperties": {"_why$": {"type": ["string", "null"]}, "_hex$": {"type": ["string", "array"]}},
        "required": required,
        "unevaluatedProperties": false,
    })
}

fn field_schema(field: &Field) -> Value {
    let mut schema = match (field.name, field.shape) {
        ("stack", _) => json!({"type": ["array", "null"], "items": {"type": "object"}}),
        (_, Shape::Text | Shape::Address) => json!({"type": ["string", "null"]}),
        (_, Shape::Number | Shape::Duration | Shape::User | Shape::Group) => json!({"type": ["integer", "null"]}),
        (_, Shape::Bool) => json!({"type": ["boolean", "null"]}),
        (_, Shape::List) => json!({"type": ["array", "null"], "items": {"type": ["string", "null"]}}),
        (_, Shape::Object) => {
            let mut object = object_schema(field.sub, &[], &[]);
            object["type"] = json!(["object", "null"]);
            object
        }
    };
    schema["description"] = field.doc.into();
    schema
}

/// The JSON Schema of a line of `print --format json`.
fn events_schema() -> Value {
    let of_kind = |kind: &Kind| {
        // They are there where they were asked for.
        let optional = [&["stack", "env", "fds"][..], if *kind == Kind::Open { &["file"] } else { &[] }].concat();
        let mut schema = object_schema(fields_of(*kind), &optional, &[]);
        schema["$ref"] = "#/$defs/event".into();
        schema["properties"]["kind"] = json!({"const": kind.name()});
        schema
    };
    let text = json!({"type": "string"});
    // The first is of `print --why`, the others are of several recordings.
    let more = [("why", json!({"type": ["object", "null"]})), ("host", text.clone()), ("boot_id", text)];
    let mut event = object_schema(COMMON, &[], &more);
    event.as_object_mut().expect("an object").remove("unevaluatedProperties");
    let kinds = Kind::ALL
        .iter()
        .map(|kind| (kind.name().to_owned(), of_kind(kind)))
        .chain([("event".to_owned(), event)])
        .collect::<Map<_, _>>();
    let refs: Vec<_> = Kind::ALL.iter().map(|kind| json!({"$ref": format!("#/$defs/{}", kind.name())})).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of tracetui, as print --format json writes it",
        "version": env!("CARGO_PKG_VERSION"),
        "oneOf": refs,
        "$defs": kinds,
    })
}

#[test]
fn every_line_of_a_recording_has_the_schema() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recordings");
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/failed-build.ttr");
    let printed = Command::new(env!("CARGO_BIN_EXE_tracetui")).args(["print", recording, "--format", "json"]).output();
    let mut lines = String::from_utf8(printed.expect("it runs").stdout).expect("UTF-8");
    lines.push_str(&std::fs::read_to_string(format!("{data}/v1.json")).expect("there"));
    assert!(lines.lines().count() > 500);
    for line in lines.lines() {
        schema::check(&serde_json::from_str(line).expect("JSON"));
    }
}

fn wire_type(of: &str) -> String {
    let inner = |outer| of.strip_prefix(outer).and_then(|rest| rest.strip_suffix('>'));
    match of {
        "BootNanos" => "time".into(),
        "Vec<u8>" => "bytes".into(),
        "String" => "text".into(),
        "Tgid" | "Tid" | "Uid" | "Gid" | "ProgId" | "LinkId" | "NsInum" => "u32".into(),
        "CgroupId" | "KernelAddr" => "u64".into(),
        "Via" | "View" | "HeldBy" => "u8".into(),
        "Hook" => "(u8, u32)".into(),
        _ => match (inner("Vec<"), inner("Option<")) {
            (Some(element), _) => format!("{}[]", wire_type(element)),
            (_, Some(value)) => format!("{}?", wire_type(value)),
            _ => of.into(),
        },
    }
}

fn unlinked(doc: &str) -> String {
    let mut out = String::new();
    let mut rest = doc;
    while let Some((before, (path, after))) =
        rest.split_once("[`").and_then(|(before, link)| Some((before, link.split_once("`]")?)))
    {
        let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        let _ = write!(out, "{before}`{}`", path.rsplit("::").next().unwrap_or(path));
        rest = target.map_or(after, |(_, after)| after);
    }
    out + rest
}

/// Appends the structs that `wire_struct!` declares in a source file of frames, each with its fields.
fn frame_structs(source: &str, page: &mut String) {
    let kind = |name: &str| {
        source.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = ")?.strip_suffix(';'))
    };
    let after = source.split_once("wire_struct! {\n").expect("structs").1;
    let (mut doc, mut fields) = (String::new(), Vec::new());
    for line in after.split("\n}\n").next().unwrap_or_default().lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            doc += if doc.is_empty() { "" } else { "\n" };
            doc += &unlinked(text);
        } else if let Some(name) = line.strip_suffix(" {") {
            let number = kind(name).map(|kind| format!(" ({kind})")).unwrap_or_default();
            let _ = write!(page, "\n**{name}**{number}: {}\n\n", std::mem::take(&mut doc));
        } else if let Some((name, of)) = line.strip_suffix(',').and_then(|field| field.split_once(": ")) {
            fields.push((name.to_owned(), wire_type(of)));
            doc.clear();
        } else if line == "}" {
            listed(&std::mem::take(&mut fields), page);
        }
    }
}

/// Appends the names and types of the fields, several in a line.
fn listed(fields: &[(String, String)], page: &mut String) {
    let mut line = String::new();
    for (at, (name, of)) in fields.iter().enumerate() {
        let comma = if at + 1 < fields.len() { "," } else { "" };
        if line.len() + name.len() + of.len() > 110 {
            let _ = writeln!(page, "   {}", std::mem::take(&mut line));
        }
        let _ = write!(line, " {name} {of}{comma}");
    }
    let _ = writeln!(page, "   {line}");
}

#[test]
fn generated_pages_are_fresh() {
    let mut schema = events_schema();
    schema.sort_all_objects();
    check_fresh("events.schema.json", &format!("{schema:#}\n"));
    check_fresh("KEYS.md", &keys::markdown());
    check_fresh("CONFIG.md", &config::markdown());
    let mut page = String::from(
        "# Frames made in user space\n\nGenerated from `wire_struct!` in `crates/events/src/frame/host.rs`, which describes each field. `state.rs` beside it has the frames of a\nstate, which other readers skip, and `bpf.rs` the numbers of mechanisms, hooks, views and holders. A payload contains the fields in this\norder, without padding, little-endian. Fields are only appended: a reader ignores unknown ones, and missing ones are 0 or empty.\n\n`bool` is a byte, `time` a u64 (CLOCK_BOOTTIME, nanoseconds). `bytes` and `text` (UTF-8) follow their length (u32), the elements of\n`T[]` their number (u32). `T?` is a byte, 1 if the value follows. A struct without a number is a part of others.\n",
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/events/src/frame/host.rs");
    frame_structs(&std::fs::read_to_string(path).expect("the source of the frames"), &mut page);
    check_fresh("FRAMES.md", &page);
}
