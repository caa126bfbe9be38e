//! Names that are nearly the same.

/// The longest name that is compared: the limit of the kernel (`NAME_MAX`).
const LONGEST: usize = 255;

/// The most edits between two names that count as near: none in short names, since any other is as near.
fn most_edits(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=5 => 1,
        6..=11 => 2,
        _ => 3,
    }
}

/// Looks for the name that is nearest to another one.
#[derive(Debug)]
pub(crate) struct Nearest<'a> {
    wanted: &'a [u8],
    best: Option<(usize, Vec<u8>)>,
}

impl<'a> Nearest<'a> {
    pub(crate) fn to(wanted: &'a [u8]) -> Nearest<'a> {
        Nearest { wanted, best: None }
    }

    /// Takes a name that exists.
    pub(crate) fn offer(&mut self, name: &[u8]) {
        let most = most_edits(self.wanted.len());
        if name.len() > LONGEST || name.len().abs_diff(self.wanted.len()) > most {
            return;
        }
        let edits = match name.eq_ignore_ascii_case(self.wanted) {
            true => 0,
            false => strsim::generic_damerau_levenshtein(self.wanted, name),
        };
        let nearer = self.best.as_ref().is_none_or(|(best, known)| (edits, name) < (*best, known.as_slice()));
        if edits <= most && nearer {
            self.best = Some((edits, name.to_vec()));
        }
    }

    pub(crate) fn found(self) -> Option<Vec<u8>> {
        self.best.map(|(_, name)| name)
    }
}

/// A mode in octal, with four digits.
pub(crate) fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &str, names: &[&str], expected: Option<&str>) {
        let mut nearest = Nearest::to(wanted.as_bytes());
        names.iter().for_each(|name| nearest.offer(name.as_bytes()));
        assert_eq!(nearest.found().as_deref(), expected.map(str::as_bytes), "{wanted}");
    }

    #[test]
    fn the_nearest_name_has_the_fewest_edits() {
        check("stdoi.h", &["stdlib.h", "stdio.h", "studio.h", "string.h"], Some("stdio.h"));
        check("README", &["readme", "READMA"], Some("readme"));
        check("inclde", &["include", "lib"], Some("include"));
        check("x", &["y", "z"], None);
        check("cfg", &["cfh", "abc"], Some("cfh"));
        check("config.toml", &["totally-else", "config"], None);
        check("main.c", &[], None);
        check(&"a".repeat(300), &["b"], None);
    }
}
