//! Which module of the crate uses which: each one only those before it in [`ORDER`]. In each crate, no files use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules in the order of the data flow. [`lib.rs`](../src/lib.rs) describes them.
const ORDER: &str = "fifo limits budget text frame symbols bpf terminal environment event enrich recording filter account \
                     pipeline synthetic playback store why search sink diff";

fn files(dir: &Path, to: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files(&path, to),
            false => to.push(path),
        }
    }
}

/// The code of a file, without comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("UTF-8");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_module_uses_only_those_before_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let place = |name: &str| ORDER.split(' ').position(|module| module == name);
    let mut wrong = Vec::new();
    for path in &paths {
        let below = path.strip_prefix(&root).expect("below src");
        let module = below.iter().next().and_then(|name| name.to_str()).expect("a name").trim_end_matches(".rs");
        if module == "lib" || below.iter().any(|part| part.to_str().is_some_and(|part| part.starts_with("test"))) {
            continue;
        }
        let at = place(module).unwrap_or_else(|| panic!("{module} is not in ORDER"));
        let code = code(path);
        for (found, _) in code.match_indices("crate::") {
            let used: String = code[found + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if place(&used).is_none_or(|used| used > at) {
                wrong.push(format!("{} uses {used}", below.display()));
            }
        }
    }
    wrong.dedup();
    assert!(paths.len() > 60 && wrong.is_empty(), "{wrong:#?}");
}

/// Others choose the keys of tables, and would make all of them collide.
#[test]
fn no_hash_is_without_a_random_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut paths, mut wrong) = (Vec::new(), Vec::new());
    ["crates", "tui/src", "shared"].iter().for_each(|dir| files(&root.join(dir), &mut paths));
    paths.retain(|path| path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests/layers.rs"));
    for path in &paths {
        let text = code(path);
        let fixed = ["rustc_hash", "FxHash", "fnv::", "Fnv", "FixedState", "BuildHasherDefault", "DefaultHasher"];
        let found = fixed.iter().filter(|word| text.contains(**word));
        wrong.extend(found.map(|word| format!("{}: {word}", path.display())));
    }
    assert!(paths.len() > 300 && wrong.is_empty(), "{wrong:#?}");
}

/// The paths in a list of imports, without braces: `a::{b, c::d}` are `a::b` and `a::c::d`.
fn paths(prefix: &str, list: &str, to: &mut Vec<String>) {
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in list.char_indices().chain([(list.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = list[start..at].trim();
                start = at + 1;
                match part.split_once('{') {
                    Some((before, rest)) => {
                        paths(&format!("{prefix}{before}"), rest.trim_end().trim_end_matches('}'), to);
                    }
                    None => to.push(format!("{prefix}{part}")),
                }
            }
            _ => {}
        }
    }
}

/// The files that each file of a crate imports from or names, as modules. Imports from the folders that a file is in do not count.
fn imports(root: &Path) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let (mut files_of, mut found) = (Vec::new(), BTreeMap::new());
    files(root, &mut files_of);
    for path in files_of.iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let below = path.strip_prefix(root).expect("below src").with_extension("");
        let mut module: Vec<_> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        module.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
        if !module.iter().any(|part| part.starts_with("test")) {
            let uses = found.entry(module).or_insert_with(Vec::new);
            let code = code(path);
            for list in code.split(';').filter_map(|line| line.rsplit_once("use ")) {
                paths("", list.1, uses);
            }
            for (at, _) in ["crate::", "super::"].iter().flat_map(|word| code.match_indices(*word)) {
                let is_name = |c: &char| c.is_alphanumeric() || matches!(c, '_' | ':');
                if !code[..at].ends_with(|c| is_name(&c)) {
                    uses.push(code[at..].chars().take_while(is_name).collect());
                }
            }
        }
    }
    let known: BTreeSet<_> = found.keys().cloned().collect();
    let resolved = |module: &[String], path: &String| {
        let mut parts = path.split("::").map(str::trim).peekable();
        let mut at = module.to_vec();
        match parts.peek()? {
            &"crate" => at.clear(),
            &"super" | &"self" => {}
            first if known.contains(&[module, &[(*first).to_owned()]].concat()) => {}
            _ => return None,
        }
        for part in parts {
            match part {
                "crate" | "self" => {}
                "super" => _ = at.pop(),
                part => at.push(part.to_owned()),
            }
        }
        while !known.contains(&at) {
            at.pop()?;
        }
        (!module.starts_with(&at)).then_some(at)
    };
    let resolve = |(module, uses): (Vec<String>, Vec<String>)| {
        let uses = uses.iter().filter_map(|path| resolved(&module, path)).collect();
        (module, uses)
    };
    found.into_iter().map(resolve).collect()
}

/// The modules that can be reached from one by imports.
fn reached(from: &Vec<String>, all: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> BTreeSet<Vec<String>> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(all.get(module).into_iter().flatten().filter(|used| reached.insert((*used).clone())));
    }
    reached
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = fs::read_dir(root.join("crates")).expect("a directory");
    let crates = crates.map(|entry| entry.expect("an entry").path().join("src"));
    let others = ["shared/src", "tui/src", "tui/benches/peers", "probes-ebpf/src"].map(|dir| root.join(dir));
    let (mut circles, mut count) = (BTreeSet::new(), 0);
    for dir in crates.chain(others) {
        let (name, all) = (dir.display(), imports(&dir));
        count += all.values().flatten().count();
        let reached: BTreeMap<_, _> = all.keys().map(|module| (module, reached(module, &all))).collect();
        for (module, of) in reached.iter().filter(|(module, of)| of.contains(**module)) {
            let circle = of.iter().filter(|other| reached[other].contains(*module));
            let circle: Vec<_> = circle.map(|other| other.join("::")).collect();
            circles.insert(format!("{name}: {}", circle.join(" ")));
        }
    }
    assert!(count > 500, "{count}");
    assert!(circles.is_empty(), "{circles:#?}");
}
