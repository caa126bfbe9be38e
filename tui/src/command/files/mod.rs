//! `tracetui files`: the files that a recorded run used, and the packages that they belong to.

mod packages;
mod root;

use super::messages::{charset, say};
use super::print::recordings;
use super::signals::{self, INTERRUPTED, Second, Signals};
use crate::cli::{self, FilesFormat};
use anyhow::{Context, Result, bail};
use foldhash::HashMap;
use packages::Packages;
use root::Root;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use tracetui_events::event::EventContext;
use tracetui_events::event::describe;
use tracetui_events::event::file_identity;
use tracetui_events::event::open::File;
use tracetui_events::filter::FilterOptions;
use tracetui_events::limits;
use tracetui_events::pipeline::Disposition;
use tracetui_events::playback::Step;
use tracetui_events::text::{Charset, counted, escaped, grouped, json, right, time, width};
use tracetui_host::machine::Uname;
use tracetui_host::procfs;
use tracetui_shared::id::NsInum;
use tracetui_shared::record::identity::Identity;
use tracetui_shared::record::mark;

pub fn run(args: &cli::Files) -> Result<ExitCode> {
    let mut filters = FilterOptions::from(&args.filters);
    if filters.kind.is_empty() {
        filters.kind = vec!["exec:ok,open:ok".into()];
    }
    let mut playback = recordings::open_span(&args.recordings, &filters, &args.span)?;
    let _signals = Signals::install(Second::Ends(INTERRUPTED.into()), &[]).context("cannot install signal handlers")?;
    let mut used = Used::default();
    let take = |used: &mut Used, context: &EventContext<'_>| match used.note_file(context) {
        true => Disposition::Delivered,
        false => Disposition::Filtered,
    };
    while playback.step(&mut |played| take(&mut used, played.context))? == Step::More {
        if signals::asked_to_end() {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        if used.bytes > limits::MEMORY_DEFAULT {
            bail!("too many files to list; select fewer: --comm GLOB, --tree PID or --filter 'path=/DIR/**'");
        }
    }
    if !playback.is_of_one_boot() {
        bail!("the recordings are of different machines or boots: list the files of each");
    }
    let here = Uname::read().node;
    let is_here = playback.recordings().iter().all(|recording| recording.start.host.name == here);
    let root = args.root.as_deref().unwrap_or("/".as_ref());
    let listed = used.listed(args, root)?;
    if signals::asked_to_end() {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let (root, own) = (root.display(), procfs::namespace("/proc/self", "mnt"));
    match &listed.packages {
        Packages { manager: "", .. } => {
            say(format_args!("no packages: {root} has no database of dpkg, and none of rpm that can be read"))
        }
        _ if !is_here && args.root.is_none() => {
            say(
                "the packages are those of this machine, which did not make the recording; --root DIR names another file system",
            );
        }
        _ if args.root.is_none() && !listed.files.is_empty() && own != Some(listed.main) => {
            say(
                "most files are of another mount namespace, and the packages of this one; --root DIR names its file system",
            );
        }
        Packages { unlisted: 1.., .. } => {
            let packages = counted(listed.packages.unlisted, ["package has", "packages have"]);
            say(format_args!("{packages} no list of files in {root}"));
        }
        _ => {}
    }
    if listed.others > 0 && !listed.packages.manager.is_empty() {
        let files = counted(listed.others, ["file", "files"]);
        say(format_args!(
            "{files} of other mount namespaces without packages: select one by --filter mnt_ns=N, and --root DIR"
        ));
    }
    io::stdout().write_all(&match args.format {
        FilesFormat::Text => listed.text(args.packages),
        FilesFormat::Json => listed.json(args.packages),
        FilesFormat::Cyclonedx => listed.cyclonedx(args.packages),
    })?;
    Ok(recordings::conclude(&playback))
}

/// How a file was used.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    read: bool,
    written: bool,
    executed: bool,
    created: bool,
    /// Successful opens and execs.
    count: u64,
    /// What identified its contents at the last of them for which the recording has it.
    identity: Option<Identity>,
}

/// The files that were used, by mount namespace and path.
#[derive(Debug, Default)]
struct Used {
    files: BTreeMap<(NsInum, Box<[u8]>), Use>,
    bytes: u64,
    path: Vec<u8>,
}

impl Used {
    /// Notes the file of an event. Returns whether the event has one.
    fn note_file(&mut self, context: &EventContext<'_>) -> bool {
        let event = context.event;
        // A file outside the directory tree, such as a memfd, has no path.
        let (Some(used), Some(File::Opened(names))) = (event.body.file_use(), event.body.file()) else { return false };
        if names.marks & mark::PSEUDO != 0 {
            return false;
        }
        self.path.clear();
        names.write(&mut self.path);
        let key = (event.header.mnt_ns, self.path.as_slice().into());
        let known = self.files.entry(key).or_insert_with(|| {
            // The place in the tree, beside the path.
            self.bytes += (self.path.len() + 2 * size_of::<((NsInum, Box<[u8]>), Use)>()) as u64;
            Use::default()
        });
        known.read |= used.read;
        known.written |= used.written;
        known.executed |= used.executed;
        known.created |= used.created;
        known.count += 1;
        known.identity = event.body.identity().and_then(Result::ok).or(known.identity);
        true
    }

    /// The selected files, with their packages.
    fn listed(&self, args: &cli::Files, root: &Path) -> Result<Listed<'_>> {
        let mut uses = HashMap::<NsInum, u64>::default();
        self.files.iter().for_each(|((mnt_ns, _), used)| *uses.entry(*mnt_ns).or_default() += used.count);
        // Names in another namespace may be those of other files.
        let main =
            uses.into_iter().max_by_key(|(mnt_ns, uses)| (*uses, mnt_ns.0)).map_or(NsInum(0), |(mnt_ns, _)| mnt_ns);
        let selected = |used: &Use| match (args.read, args.written) {
            (false, false) => true,
            (read, written) => read && (used.read || used.executed) || written && used.written,
        };
        let files: Vec<_> = self.files.iter().filter(|(_, used)| selected(used)).collect();
        let wanted = files.iter().filter(|((mnt_ns, _), _)| *mnt_ns == main).map(|((_, path), _)| &path[..]);
        let failed = || format!("cannot read the packages of {}", root.display());
        let root = Root::new(root).with_context(failed)?;
        let packages = packages::of(&root, &wanted.collect::<Vec<_>>()).with_context(failed)?;
        let others = files.iter().filter(|((mnt_ns, _), _)| *mnt_ns != main).count() as u64;
        let is_directory = |key: &(NsInum, Box<[u8]>)| {
            let within = (key.0, [&key.1, &b"/"[..]].concat().into_boxed_slice());
            let has_files = self
                .files
                .range(&within..)
                .next()
                .is_some_and(|((mnt_ns, path), _)| *mnt_ns == key.0 && path.starts_with(&within.1));
            has_files || key.0 == main && packages.directories.contains(&key.1[..])
        };
        let sha256 = |mnt_ns: NsInum, path: &[u8], used: &Use| match &used.identity {
            Some(identity) if mnt_ns == main && !is_virtual(path) => root.sha256(path, identity),
            _ => Err("not_collected"),
        };
        let files = files.into_iter().filter(|(key, _)| !is_directory(key)).map(|((mnt_ns, path), used)| {
            let package = packages.owners.get(&path[..]).copied().filter(|_| *mnt_ns == main);
            let shows_sum = match args.format {
                FilesFormat::Text => false,
                FilesFormat::Json => true,
                // It has the packages instead of their files.
                FilesFormat::Cyclonedx => package.is_none(),
            };
            let sha256 = (args.sha256 && shows_sum).then(|| sha256(*mnt_ns, path, used));
            Listing { path, sha256, used: *used, mnt_ns: *mnt_ns, package }
        });
        Ok(Listed { files: files.collect(), packages, main, others })
    }
}

#[derive(Debug)]
struct Listing<'a> {
    path: &'a [u8],
    used: Use,
    mnt_ns: NsInum,
    /// The number of its package.
    package: Option<usize>,
    /// If requested, the checksum or the reason why there is none.
    sha256: Option<Result<String, &'static str>>,
}

#[derive(Debug)]
struct Listed<'a> {
    files: Vec<Listing<'a>>,
    packages: Packages,
    /// The mount namespace of most files.
    main: NsInum,
    /// How many of the files are in other mount namespaces than most.
    others: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    files: u64,
    read: u64,
    written: u64,
}

impl Listed<'_> {
    /// The packages by name, and the files without one first.
    fn sums(&self) -> Vec<(Option<usize>, Sum)> {
        let mut sums = BTreeMap::<_, Sum>::new();
        for file in &self.files {
            let package = file.package.and_then(|number| self.packages.packages.get(number));
            let sum = sums.entry((package, file.package)).or_default();
            sum.files += 1;
            sum.read += u64::from(file.used.read || file.used.executed);
            sum.written += u64::from(file.used.written);
        }
        sums.into_iter().map(|((_, number), sum)| (number, sum)).collect()
    }

    fn package(&self, number: Option<usize>) -> String {
        let package = number.and_then(|number| self.packages.packages.get(number));
        package.map_or_else(
            || "-".to_owned(),
            |package| {
                escaped(format!("{} {}", package.name, package.version).as_bytes(), charset().mode()).into_owned()
            },
        )
    }

    fn text(&self, packages: bool) -> Vec<u8> {
        let names: Vec<String> = match packages {
            true => self.sums().iter().map(|(number, _)| self.package(*number)).collect(),
            false => self.files.iter().map(|file| self.package(file.package)).collect(),
        };
        let cells = names.iter().map(|name| width(name)).max().unwrap_or(0).max("PACKAGE".len());
        let pad = |name: &str| format!("{name}{}", " ".repeat(cells - width(name)));
        let mut out = String::new();
        if packages {
            out += &format!("{} {:>8} {:>8} {:>8}\n", pad("PACKAGE"), "FILES", "READ", "WRITTEN");
            for (name, (_, sum)) in names.iter().zip(self.sums()) {
                let [files, read, written] =
                    [sum.files, sum.read, sum.written].map(|count| right(&grouped(count), 8, charset()));
                out += &format!("{} {files} {read} {written}\n", pad(name));
            }
            return out.into_bytes();
        }
        out += &format!("USE  {:>8} {} FILE\n", "COUNT", pad("PACKAGE"));
        for (name, file) in names.iter().zip(&self.files) {
            let letter = |is: bool, letter| if is { letter } else { '-' };
            let Use { read, written, executed, created, count, .. } = file.used;
            let path = escaped(file.path, charset().reversible());
            let [r, w, x] = [letter(read, 'r'), letter(written, 'w'), letter(executed, 'x')];
            let c = letter(created, 'c');
            out += &format!("{r}{w}{x}{c} {:>8} {} {path}\n", grouped(count), pad(name));
        }
        out.into_bytes()
    }

    fn package_json(&self, number: Option<usize>) -> Option<Value> {
        let package = self.packages.packages.get(number?)?;
        let purl = self.packages.url(package);
        Some(json!({ "name": package.name, "version": package.version, "arch": package.arch, "purl": purl }))
    }

    fn file_json(&self, file: &Listing<'_>) -> Value {
        let Use { read, written, executed, created, count, identity } = file.used;
        let mut line = json!({ "path": String::from_utf8_lossy(file.path) });
        if std::str::from_utf8(file.path).is_err() {
            // All bytes.
            line["path_hex"] = json::hex_text(file.path).into();
        }
        for (key, used) in [("read", read), ("written", written), ("executed", executed), ("created", created)] {
            line[key] = used.into();
        }
        (line["count"], line["file"]) = (count.into(), identity.as_ref().map_or(Value::Null, identity_json));
        if let Some(sum) = &file.sha256 {
            line["sha256"] = json!(sum.as_ref().ok());
            sum.as_ref().err().into_iter().for_each(|why| line["sha256_why"] = json!(why));
        }
        (line["mnt_ns"], line["package"]) = (file.mnt_ns.0.into(), json!(self.package_json(file.package)));
        line
    }

    fn json(&self, packages: bool) -> Vec<u8> {
        let lines: Vec<String> = match packages {
            true => {
                let line = |(number, Sum { files, read, written }): (Option<usize>, Sum)| {
                    let package = self.package_json(number);
                    json::ascii(&json!({ "package": package, "files": files, "read": read, "written": written }))
                };
                self.sums().into_iter().map(line).collect()
            }
            false => self.files.iter().map(|file| json::ascii(&self.file_json(file))).collect(),
        };
        lines.into_iter().flat_map(|line| (line + "\n").into_bytes()).collect()
    }

    /// [CycloneDX](https://cyclonedx.org/docs/1.5/json/): the packages, and the files without one that were read or executed and not
    /// created, except those below `/dev`, `/proc` and `/sys`.
    fn cyclonedx(&self, packages: bool) -> Vec<u8> {
        let library = |(number, sum): (Option<usize>, Sum)| {
            let mut library = self.package_json(number)?;
            let counts = [("files", sum.files), ("read", sum.read), ("written", sum.written)];
            let property = |(name, count)| json!({ "name": format!("tracetui:{name}"), "value": format!("{count}") });
            library.as_object_mut()?.remove("arch");
            (library["type"], library["bom-ref"]) = ("library".into(), library["purl"].clone());
            library["properties"] = counts.map(property).into();
            Some(library)
        };
        let mut components: Vec<Value> = self.sums().into_iter().filter_map(library).collect();
        let unowned = |file: &&Listing<'_>| {
            let Use { read, executed, created, .. } = file.used;
            !packages && file.package.is_none() && (read || executed) && !created && !is_virtual(file.path)
        };
        components.extend(self.files.iter().filter(unowned).map(|file| {
            // Different bytes are different names.
            let path = escaped(file.path, Charset::Utf8.reversible());
            let hashes: Vec<_> =
                file.sha256.iter().flatten().map(|sum| json!({ "alg": "SHA-256", "content": sum })).collect();
            json!({ "type": "file", "bom-ref": format!("{}:{path}", file.mnt_ns.0), "name": path, "hashes": hashes })
        }));
        let tool = json!({ "type": "application", "name": "tracetui", "version": env!("CARGO_PKG_VERSION") });
        let bill = json!({
            "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
            "metadata": { "tools": { "components": [tool] } }, "components": components,
        });
        (json::ascii(&bill) + "\n").into_bytes()
    }
}

/// The fields that `print` calls `file`.
fn identity_json(file: &Identity) -> Value {
    let ctime = time::utc(file_identity::changed_ns(file).into());
    json!({ "dev": describe::device(file.device), "ino": file.ino, "size": file.size, "ctime": ctime })
}

/// Whether a path is below a directory whose files have no lasting contents.
fn is_virtual(path: &[u8]) -> bool {
    [&b"/dev/"[..], b"/proc/", b"/sys/"].iter().any(|dir| path.starts_with(dir))
}
