//! `tracetui files` with the recording of a failed build, and the package database of a file system that is made for it.

use std::fs;
use std::process::Command;
use tracetui_events::synthetic::Scratch;

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/failed-build.ttr");

struct Root(Scratch);

impl Root {
    /// A file system in which gcc's compiler belongs to a package, and make to one with a hostile name.
    fn new(name: &str) -> Root {
        let root = Scratch::new(name);
        let dpkg = root.join("var/lib/dpkg");
        fs::create_dir_all(dpkg.join("info")).expect("a directory");
        fs::create_dir_all(root.join("etc")).expect("a directory");
        fs::write(root.join("etc/os-release"), "ID=debian\n").expect("written");
        let status = "Package: cpp\nStatus: install ok installed\nArchitecture: amd64\nVersion: 4:1-2\n\n\
            Package: a\x1b]0;b\x07\nStatus: install ok installed\nArchitecture: all\nVersion: 1\x1b[31m\n";
        fs::write(dpkg.join("status"), status).expect("written");
        fs::write(dpkg.join("info/cpp.list"), exe("/cc1") + "\n").expect("written");
        fs::write(dpkg.join("info/a\x1b]0;b\x07.list"), exe("/make") + "\n").expect("written");
        Root(root)
    }

    fn files(&self, args: &[&str]) -> String {
        printed(&[&["files", RECORDING, "--root", self.0.to_str().expect("UTF-8")], args].concat())
    }
}

/// The path of an executed file in the recording.
fn exe(end: &str) -> String {
    let lines = printed(&["print", RECORDING, "--kind", "exec:ok", "--format", "json"]);
    let execs = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let mut exes = execs.filter_map(|exec| Some(exec.get("exe")?.as_str()?.to_owned()));
    exes.find(|exe| exe.ends_with(end)).expect("it runs")
}

fn printed(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tracetui")).args(args).output().expect("it runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    text
}

/// Whether one of the paths, which end in `/`, is below `directory`.
fn paths_below(paths: &[String], directory: &str) -> bool {
    paths.iter().any(|path| path.len() > directory.len() && path.starts_with(directory))
}

#[test]
fn the_files_of_a_run_have_their_packages() {
    let root = Root::new("files");
    let (cc1, make) = (exe("/cc1"), exe("/make"));
    let lines = root.files(&["--format", "json"]);
    let files: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |path: &str| files.iter().find(|file| file["path"] == path).expect("used");
    let package = serde_json::json!({
        "name": "cpp", "version": "4:1-2", "arch": "amd64", "purl": "pkg:deb/debian/cpp@4:1-2?arch=amd64"
    });
    assert_eq!((&of(&cc1)["executed"], &of(&cc1)["package"]), (&true.into(), &package));
    let mut others = files.iter().filter(|file| ![&cc1[..], &make].contains(&file["path"].as_str().expect("text")));
    assert!(others.all(|file| file["package"].is_null()));
    // Each successful open and exec of a file with a name is counted once.
    let events = printed(&["print", RECORDING, "--kind", "exec:ok,open:ok", "--format", "json"]);
    let events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let path_of = |event: serde_json::Value| {
        let directory = event["flags"].as_str().is_some_and(|flags| flags.contains("O_DIRECTORY"));
        let path = if event["kind"] == "exec" { event["exe"].as_str() } else { event["abs_path"].as_str() };
        path.filter(|_| !directory).map(str::to_owned)
    };
    let mut paths: Vec<String> = events.filter_map(path_of).collect();
    let directories: Vec<String> = paths.iter().map(|path| format!("{path}/")).collect();
    paths.retain(|path| !paths_below(&directories, &format!("{path}/")));
    let count: u64 = files.iter().filter_map(|file| file["count"].as_u64()).sum();
    assert_eq!(count, paths.len() as u64);

    let written = root.files(&["--written"]);
    assert!(written.lines().count() > 1 && written.lines().skip(1).all(|line| line.as_bytes()[1] == b'w'), "{written}");
    let packages = root.files(&["--packages"]);
    let packages: Vec<Vec<&str>> = packages.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(packages[0], ["PACKAGE", "FILES", "READ", "WRITTEN"]);
    assert_eq!(packages.last().expect("a package")[..], ["cpp", "4:1-2", "1", "1", "0"]);
}

#[test]
fn a_bill_of_materials_has_what_was_read_and_not_created() {
    let root = Root::new("bill");
    let bill: serde_json::Value = serde_json::from_str(&root.files(&["--format", "cyclonedx"])).expect("JSON");
    let components = bill["components"].as_array().expect("a list");
    let refs: std::collections::HashSet<_> =
        components.iter().map(|one| one["bom-ref"].as_str().expect("text")).collect();
    assert_eq!((&bill["bomFormat"], refs.len()), (&"CycloneDX".into(), components.len()));
    assert_eq!(components[1]["purl"], "pkg:deb/debian/cpp@4:1-2?arch=amd64");
    let files = root.files(&["--format", "json"]);
    let files = files.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let created = files.filter(|file| file["created"] == true).map(|file| file["path"].clone()).collect::<Vec<_>>();
    assert!(!created.is_empty() && components.iter().all(|one| !created.contains(&one["name"])));
}

#[test]
fn a_database_that_cannot_be_read_is_said() {
    let root = Root::new("database");
    let dir = root.0.to_str().expect("UTF-8").to_owned();
    let (status, list) = (root.0.join("var/lib/dpkg/status"), root.0.join("var/lib/dpkg/info/cpp.list"));
    let said = |root: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_tracetui")).args(["files", RECORDING, "--root", root]).output();
        let output = output.expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let has = |root: &str, code, text: &str| {
        let (status, said) = said(root);
        assert!(status == Some(code) && said.contains(text), "{status:?} {said}");
    };
    has(&dir, 0, "account:");
    fs::remove_file(&list).expect("removed");
    has(&dir, 0, &format!("1 package has no list of files in {dir}"));
    // A link leads into the other file system, not to a file of this one.
    fs::remove_file(&status).expect("removed");
    std::os::unix::fs::symlink("/etc/passwd", &status).expect("a link");
    has(&dir, 0, &format!("no packages: {dir} has no database of dpkg"));
    fs::remove_file(&status).expect("removed");
    assert!(Command::new("mkfifo").arg(&status).status().expect("it runs").success());
    has(&dir, 1, "/var/lib/dpkg/status: not a regular file");
    has(&format!("{dir}/missing"), 1, "No such file or directory");
}
