//! The packages that installed files belong to: dpkg's by its files, rpm's by the program rpm.

use super::root::{MOST, Root};
use foldhash::{HashMap, HashSet};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// The maximum number of installed packages. Two files are opened for each.
const PACKAGES: usize = 250_000;

const INFO: &str = "var/lib/dpkg/info";

/// Directories that became symbolic links to those in `/usr`. Packages still list files below them.
const MERGED: [&[u8]; 6] = [b"/bin/", b"/sbin/", b"/lib/", b"/lib32/", b"/lib64/", b"/libx32/"];

/// By the path of a requested file: the number of its package.
type Owners = HashMap<Vec<u8>, usize>;

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// The architecture as the package manager names it: `amd64`, `x86_64`, `all`.
    pub(super) arch: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Packages {
    /// The type in package URLs: `deb` or `rpm`.
    pub(super) manager: &'static str,
    /// `ID` of os-release(5), such as `debian`.
    system: String,
    pub(super) packages: Vec<Package>,
    pub(super) owners: Owners,
    /// The requested paths that are directories of packages.
    pub(super) directories: HashSet<Vec<u8>>,
    /// How many installed packages have no list of files.
    pub(super) unlisted: u64,
}

/// The packages of the files `wanted`, by the databases below `root`. Without a database, [`Packages::manager`] is empty.
/// Fails if a database is there but cannot be read.
pub(super) fn of(root: &Root<'_>, wanted: &[&[u8]]) -> io::Result<Packages> {
    let mut found = Packages { system: system(root)?, ..Packages::default() };
    let mut open: HashSet<&[u8]> = wanted.iter().copied().collect();
    let is_merged = root.path.join("bin").is_symlink();
    let mut take = |path: &[u8]| {
        let may_have_moved = || is_merged && MERGED.iter().any(|dir| path.starts_with(dir));
        match open.take(path) {
            None if may_have_moved() => open.take(&[b"/usr", path].concat()[..]),
            file => file,
        }
    };
    let Some(status) = root.read("var/lib/dpkg/status")? else {
        rpm(root.path, &mut found, &mut take)?;
        return Ok(found);
    };
    found.manager = "deb";
    let diverted = root.read("var/lib/dpkg/diversions")?.unwrap_or_default();
    let diverted = diversions(&diverted);
    let installed = installed(&status);
    if installed.len() > PACKAGES {
        return Err(io::Error::other(format!("/var/lib/dpkg/status: more than {PACKAGES} packages")));
    }
    for package in installed {
        let names = [format!("{}:{}.list", package.name, package.arch), format!("{}.list", package.name)];
        let mut lists =
            names.iter().filter(|name| !name.contains('/')).map(|name| root.read(Path::new(INFO).join(name)));
        let list = lists.find_map(Result::transpose).transpose()?;
        found.unlisted += u64::from(list.is_none());
        let mut lines = list.as_deref().unwrap_or_default().split(|b| *b == b'\n').peekable();
        while let Some(path) = lines.next() {
            // A directory is followed by what is in it.
            if lines.peek().and_then(|next| next.strip_prefix(path)).is_some_and(|rest| rest.starts_with(b"/")) {
                found.directories.extend(take(path).map(<[u8]>::to_vec));
                continue;
            }
            let path = match diverted.get(path) {
                Some((to, by)) if *by != package.name => to,
                _ => path,
            };
            found.owners.extend(take(path).map(|file| (file.to_vec(), found.packages.len())));
        }
        found.packages.push(package);
    }
    Ok(found)
}

fn system(root: &Root<'_>) -> io::Result<String> {
    let mut files = ["etc/os-release", "usr/lib/os-release"].into_iter().map(|file| root.read(file));
    let text = files.find_map(Result::transpose).transpose()?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let id = text.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or("linux");
    Ok(id.trim_matches(['"', '\'']).to_owned())
}

fn installed(status: &[u8]) -> Vec<Package> {
    let mut packages = Vec::new();
    let (mut package, mut is_installed) = (Package::default(), false);
    for line in status.split(|b| *b == b'\n').chain([&b""[..]]) {
        let value =
            |name: &str| line.strip_prefix(name.as_bytes()).map(|text| String::from_utf8_lossy(text).into_owned());
        if line.is_empty() {
            let package = std::mem::take(&mut package);
            packages.extend(Some(package).filter(|_| std::mem::take(&mut is_installed)));
        } else if let Some(name) = value("Package: ") {
            package.name = name;
        } else if let Some(version) = value("Version: ") {
            package.version = version;
        } else if let Some(arch) = value("Architecture: ") {
            package.arch = arch;
        } else if line.starts_with(b"Status: ") {
            // dpkg(1): in each other state, some of its files may be there.
            is_installed = [&b" not-installed"[..], b" config-files"].iter().all(|state| !line.ends_with(state));
        }
    }
    packages
}

/// dpkg-divert(1): by a path, where the file of other packages is, and the package whose own file is at the path.
fn diversions(file: &[u8]) -> HashMap<&[u8], (&[u8], String)> {
    let lines: Vec<&[u8]> = file.trim_ascii_end().split(|b| *b == b'\n').collect();
    let triples = lines.chunks_exact(3).filter_map(|lines| match lines {
        [path, to, by] => Some((*path, (*to, String::from_utf8_lossy(by).into_owned()))),
        _ => None,
    });
    triples.collect()
}

/// The packages of rpm. rpm itself reads them, because its databases have several formats.
fn rpm<'a>(root: &Path, found: &mut Packages, take: &mut dyn FnMut(&[u8]) -> Option<&'a [u8]>) -> io::Result<()> {
    const FORMAT: &str = r"[%{=NAME}\t%{=EVR}\t%{=ARCH}\t%{FILEMODES:perms}\t%{FILENAMES}\n]";
    let mut dirs = ["/var/lib/rpm", "/usr/lib/sysimage/rpm"].into_iter();
    // The rpm of another distribution has its database elsewhere. It does not take a relative root.
    let Some(database) = dirs.find(|dir| root.join(&dir[1..]).is_dir()) else { return Ok(()) };
    let root = std::path::absolute(root)?;
    let mut rpm = Command::new("rpm");
    rpm.arg("--root").arg(&root).args(["--dbpath", database, "-qa", "--qf", FORMAT]);
    let mut child = match rpm.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        child => child?,
    };
    found.manager = "rpm";
    let mut numbers = HashMap::<Package, usize>::default();
    for line in
        child.stdout.take().map(|out| BufReader::new(out.take(MOST))).into_iter().flat_map(|out| out.split(b'\n'))
    {
        let line = line?;
        let mut parts = line.splitn(5, |b| *b == b'\t');
        let mut text = || Some(String::from_utf8_lossy(parts.next()?).into_owned());
        let (Some(name), Some(version), Some(arch)) = (text(), text(), text()) else { continue };
        let package = Package { name, version, arch };
        let number = *numbers.entry(package.clone()).or_insert_with(|| {
            found.packages.push(package);
            found.packages.len() - 1
        });
        let is_directory = parts.next().is_some_and(|mode| mode.starts_with(b"d"));
        match take(parts.next().unwrap_or_default()).map(<[u8]>::to_vec) {
            Some(path) if is_directory => _ = found.directories.insert(path),
            file => found.owners.extend(file.map(|file| (file, number))),
        }
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("rpm: {status}"))) }
}

impl Packages {
    /// The [package URL](https://github.com/package-url/purl-spec): `pkg:deb/debian/libc6@2.36-9?arch=amd64`.
    pub(super) fn url(&self, package: &Package) -> String {
        let byte = |byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        let encoded = |text: &str| text.bytes().map(byte).collect::<String>();
        let (version, epoch) = match package.version.split_once(':') {
            Some((epoch, version)) if self.manager == "rpm" => (version, format!("&epoch={}", encoded(epoch))),
            _ => (&package.version[..], String::new()),
        };
        let [system, name, version, arch] = [&self.system, &package.name, version, &package.arch].map(encoded);
        format!("pkg:{}/{system}/{name}@{version}?arch={arch}{epoch}", self.manager)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tracetui_events::synthetic::Scratch;

    #[test]
    fn dpkg_owns_what_its_lists_say() {
        let root = Scratch::new("packages");
        let info = root.join("var/lib/dpkg/info");
        fs::create_dir_all(&info).expect("a directory");
        fs::create_dir_all(root.join("usr/bin")).expect("a directory");
        fs::create_dir_all(root.join("etc")).expect("a directory");
        fs::write(root.join("etc/os-release"), "NAME=\"Debian\"\nID=debian\n").expect("written");
        std::os::unix::fs::symlink("usr/bin", root.join("bin")).expect("a link");
        let status = "Package: dash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 0.5+1\n\n\
            Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.36\n\n\
            Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n";
        fs::write(root.join("var/lib/dpkg/status"), status).expect("written");
        fs::write(root.join("var/lib/dpkg/diversions"), "/bin/sh\n/bin/sh.distrib\ndash\n").expect("written");
        fs::write(info.join("dash.list"), "/.\n/usr/bin\n/usr/bin/dash\n/bin/sh\n").expect("written");
        fs::write(info.join("libc6:amd64.list"), "/lib/libc.so.6\n/usr/share/x\n/bin/sh\n").expect("written");
        fs::write(info.join("gone.list"), "/usr/bin/gone\n").expect("written");
        let wanted: [&[u8]; 7] = [
            b"/usr/bin",
            b"/usr/bin/dash",
            b"/usr/bin/sh",
            b"/usr/lib/libc.so.6",
            b"/usr/bin/gone",
            b"/srv/x",
            b"/usr/bin/sh.distrib",
        ];
        let found = of(&Root::new(&root).expect("a directory"), &wanted).expect("readable");
        let owner = |path: &[u8]| found.owners.get(path).map(|number| found.packages[*number].name.as_str());
        assert_eq!(wanted.map(owner), [None, Some("dash"), Some("dash"), Some("libc6"), None, None, Some("libc6")]);
        assert_eq!((found.directories.iter().collect::<Vec<_>>(), found.unlisted), (vec![&b"/usr/bin".to_vec()], 0));
        assert_eq!(diversions(b"/bin/sh\n/bin/sh.distrib\n").len(), 0);
        assert_eq!(found.url(&found.packages[1]), "pkg:deb/debian/libc6@1:2.36?arch=amd64");
        assert_eq!(found.url(&found.packages[0]), "pkg:deb/debian/dash@0.5%2B1?arch=amd64");
        let found = Packages { manager: "rpm", ..found };
        assert_eq!(found.url(&found.packages[1]), "pkg:rpm/debian/libc6@2.36?arch=amd64&epoch=1");
    }
}
