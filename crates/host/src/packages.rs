//! The packages that installed files belong to: dpkg's by its files, rpm's by the program rpm.

use super::read_bounded;
use memchr::memmem::find;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The maximum size of a file of dpkg. The list of all packages has about 1 KB for each.
const FILE_MAX: u64 = 256 << 20;

/// Directories that became symbolic links to those in `/usr`. Packages still list files below them.
const MERGED: [&[u8]; 6] = [b"/bin/", b"/sbin/", b"/lib/", b"/lib32/", b"/lib64/", b"/libx32/"];

/// By the path of a requested file: the number of its package.
type Owners = FxHashMap<Vec<u8>, usize>;

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// The architecture as the package manager names it: `amd64`, `x86_64`, `all`.
    pub arch: String,
}

/// The packages of a file system.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    /// The type in package URLs, [purl](https://github.com/package-url/purl-spec): `deb` or `rpm`.
    pub manager: &'static str,
    /// `ID` of os-release(5), such as `debian`.
    pub system: String,
    pub packages: Vec<Package>,
    pub owners: Owners,
}

/// The packages of the files `wanted`, by the databases below `root`. Without a database that can be read, there are none.
///
/// # Errors
///
/// A database is there, but cannot be read.
pub fn of(root: &Path, wanted: &[&[u8]]) -> io::Result<Packages> {
    let mut found = Packages { system: system(root), ..Packages::default() };
    let mut open: FxHashSet<&[u8]> = wanted.iter().copied().collect();
    let is_merged = root.join("bin").is_symlink();
    let mut owns = |path: &[u8], package: usize, owners: &mut Owners| {
        let may_have_moved = || is_merged && MERGED.iter().any(|dir| path.starts_with(dir));
        let file = match open.take(path) {
            None if may_have_moved() => open.take(&[b"/usr", path].concat()[..]),
            file => file,
        };
        owners.extend(file.map(|file| (file.to_vec(), package)));
    };
    match read_bounded(root.join("var/lib/dpkg/status"), FILE_MAX) {
        Ok(status) => {
            found.manager = "deb";
            let info = root.join("var/lib/dpkg/info");
            let diverted = read_bounded(root.join("var/lib/dpkg/diversions"), FILE_MAX).unwrap_or_default();
            let diverted = diversions(&diverted);
            for package in installed(&status) {
                let list = [format!("{}:{}.list", package.name, package.arch), format!("{}.list", package.name)];
                let list =
                    list.iter().find_map(|name| read_bounded(info.join(name), FILE_MAX).ok()).unwrap_or_default();
                for path in list.split(|b| *b == b'\n') {
                    let path = match diverted.get(path) {
                        Some((to, by)) if *by != package.name => to,
                        _ => path,
                    };
                    owns(path, found.packages.len(), &mut found.owners);
                }
                found.packages.push(package);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => rpm(root, &mut found, &mut owns)?,
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// `ID` of os-release(5).
fn system(root: &Path) -> String {
    let files = ["etc/os-release", "usr/lib/os-release"];
    let text = files.iter().find_map(|file| read_bounded(root.join(file), 64 << 10).ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let id = text.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or_default();
    id.trim_matches(['"', '\'']).to_owned()
}

/// The installed packages in dpkg's list of all packages.
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
            is_installed = find(line, b" installed").is_some();
        }
    }
    packages
}

/// dpkg-divert(1): by a path, where the file of other packages is, and the package whose own file is at the path.
fn diversions(file: &[u8]) -> FxHashMap<&[u8], (&[u8], String)> {
    let lines: Vec<&[u8]> = file.split(|b| *b == b'\n').collect();
    let triples = lines.chunks_exact(3).filter_map(|lines| match lines {
        [path, to, by] => Some((*path, (*to, String::from_utf8_lossy(by).into_owned()))),
        _ => None,
    });
    triples.collect()
}

/// The packages of rpm, if there is an rpm: it has databases of several formats.
fn rpm(root: &Path, found: &mut Packages, owns: &mut dyn FnMut(&[u8], usize, &mut Owners)) -> io::Result<()> {
    const FORMAT: &str = r"[%{=NAME}\t%{=EVR}\t%{=ARCH}\t%{FILENAMES}\n]";
    if !["var/lib/rpm", "usr/lib/sysimage/rpm"].iter().any(|dir| root.join(dir).is_dir()) {
        return Ok(());
    }
    let mut rpm = Command::new("rpm");
    rpm.args([OsStr::new("--root"), root.as_os_str(), OsStr::new("-qa"), OsStr::new("--qf"), OsStr::new(FORMAT)]);
    let mut child = match rpm.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        child => child?,
    };
    found.manager = "rpm";
    let mut numbers = FxHashMap::<Package, usize>::default();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(|out| out.split(b'\n')) {
        let line = line?;
        let mut parts = line.splitn(4, |b| *b == b'\t');
        let mut text = || Some(String::from_utf8_lossy(parts.next()?).into_owned());
        let (Some(name), Some(version), Some(arch)) = (text(), text(), text()) else { continue };
        let package = Package { name, version, arch };
        let number = *numbers.entry(package.clone()).or_insert_with(|| {
            found.packages.push(package);
            found.packages.len() - 1
        });
        owns(parts.next().unwrap_or_default(), number, &mut found.owners);
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("rpm: {status}"))) }
}

impl Packages {
    /// The package URL: `pkg:deb/debian/libc6@2.36-9?arch=amd64`.
    pub fn url(&self, package: &Package) -> String {
        let of = |text: &str| {
            let mut out = String::new();
            for byte in OsStr::new(text).as_bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => out.push(char::from(*byte)),
                    byte => out.push_str(&format!("%{byte:02X}")),
                }
            }
            out
        };
        let Packages { manager, system, .. } = self;
        let system = if system.is_empty() { String::new() } else { of(system) + "/" };
        format!("pkg:{manager}/{system}{}@{}?arch={}", of(&package.name), of(&package.version), of(&package.arch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn dpkg_owns_what_its_lists_say() {
        let root = std::env::temp_dir().join(format!("tracetui-packages-{}", std::process::id()));
        let info = root.join("var/lib/dpkg/info");
        fs::create_dir_all(&info).expect("a directory");
        fs::create_dir_all(root.join("usr/bin")).expect("a directory");
        fs::create_dir_all(root.join("etc")).expect("a directory");
        std::os::unix::fs::symlink("usr/bin", root.join("bin")).expect("a link");
        fs::write(root.join("etc/os-release"), "NAME=\"Debian\"\nID=debian\n").expect("written");
        let status = "Package: dash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 0.5+1\n\n\
            Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.36\n\n\
            Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n";
        fs::write(root.join("var/lib/dpkg/status"), status).expect("written");
        fs::write(root.join("var/lib/dpkg/diversions"), "/bin/sh\n/bin/sh.distrib\ndash\n").expect("written");
        fs::write(info.join("dash.list"), "/.\n/bin\n/bin/dash\n/bin/sh\n").expect("written");
        fs::write(info.join("libc6:amd64.list"), "/lib/libc.so.6\n/usr/share/x\n/bin/sh\n").expect("written");
        fs::write(info.join("gone.list"), "/usr/bin/gone\n").expect("written");
        let wanted: [&[u8]; 6] = [
            b"/usr/bin/dash",
            b"/usr/bin/sh",
            b"/usr/lib/libc.so.6",
            b"/usr/bin/gone",
            b"/srv/x",
            b"/usr/bin/sh.distrib",
        ];
        let found = of(&root, &wanted).expect("readable");
        fs::remove_dir_all(&root).expect("removed");
        let owner = |path: &[u8]| found.owners.get(path).map(|number| found.packages[*number].name.as_str());
        assert_eq!(wanted.map(owner), [Some("dash"), Some("dash"), Some("libc6"), None, None, Some("libc6")]);
        assert_eq!(found.url(&found.packages[1]), "pkg:deb/debian/libc6@1%3A2.36?arch=amd64");
        assert_eq!(found.url(&found.packages[0]), "pkg:deb/debian/dash@0.5%2B1?arch=amd64");
    }
}
