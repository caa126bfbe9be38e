//! The file names of a recording in several files: `build.ttr` becomes `build.000001.ttr` and so on.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Digits of the number in a name.
const DIGITS: usize = 6;

/// The most digits of a number that is accepted as that of a recording.
pub const DIGITS_MOST: usize = 12;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileNames {
    pub directory: OsString,
    stem: OsString,
    extension: &'static str,
}

impl FileNames {
    /// Makes the names. The number goes before a final `.ttr`, otherwise at the end. `None` if the path does not end in a name.
    pub fn of(path: &Path) -> Option<FileNames> {
        let file = path.file_name()?;
        if path.as_os_str().as_bytes().ends_with(b"/") {
            return None;
        }
        let (stem, extension) = match file.as_bytes().strip_suffix(b".ttr") {
            Some(stem) if !stem.is_empty() => (OsStr::from_bytes(stem), ".ttr"),
            _ => (file, ""),
        };
        let directory = path.parent().map(Path::as_os_str).filter(|parent| !parent.is_empty());
        let directory = directory.unwrap_or(OsStr::new(".")).to_owned();
        Some(FileNames { directory, stem: stem.to_owned(), extension })
    }

    pub fn file(&self, number: u64) -> OsString {
        let number = format!(".{number:0DIGITS$}{}", self.extension);
        OsString::from_vec([self.stem.as_bytes(), number.as_bytes()].concat())
    }

    /// A file beside them with this extension: `build.prom`.
    pub fn beside(&self, extension: &str) -> OsString {
        OsString::from_vec([self.stem.as_bytes(), b".", extension.as_bytes()].concat())
    }

    /// The number in the name of one of the files.
    pub fn number(&self, file: &[u8]) -> Option<u64> {
        let number = file.strip_prefix(self.stem.as_bytes())?.strip_prefix(b".")?;
        let number = number.strip_suffix(self.extension.as_bytes())?;
        let digits = number.len() >= DIGITS && number.iter().all(u8::is_ascii_digit);
        // A number too large to be one of ours would leave no numbers.
        std::str::from_utf8(number).ok().filter(|_| digits && number.len() <= DIGITS_MOST)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(path: &str, directory: &str, first: &str) {
        let names = FileNames::of(Path::new(path)).expect("a name");
        assert_eq!((names.directory.to_str(), names.file(1).to_str()), (Some(directory), Some(first)));
        assert_eq!(names.number(first.as_bytes()), Some(1));
    }

    #[test]
    fn the_number_stands_before_the_extension() {
        check_name("build.ttr", ".", "build.000001.ttr");
        check_name("/var/log/a.b.ttr", "/var/log", "a.b.000001.ttr");
        check_name("dir/trace", "dir", "trace.000001");
        check_name(".ttr", ".", ".ttr.000001");
        for path in ["", "/", "..", "a/..", "dir/"] {
            assert_eq!(FileNames::of(Path::new(path)), None, "{path}");
        }
        let names = FileNames::of(Path::new("a.ttr")).expect("a name");
        for (file, number) in [
            ("a.000017.ttr", Some(17)),
            ("a.1000000.ttr", Some(1_000_000)),
            ("a.17.ttr", None),
            ("a.+00017.ttr", None),
            ("a.ttr", None),
            ("b.000017.ttr", None),
            ("a.000017.ttr.gz", None),
            ("a.99999999999999999999999.ttr", None),
        ] {
            assert_eq!(names.number(file.as_bytes()), number, "{file}");
        }
        assert_eq!(names.file(1_234_567), "a.1234567.ttr");
    }
}
