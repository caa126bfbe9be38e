//! Finds names that are nearly equal.

/// The longest name to compare: the limit of the kernel (`NAME_MAX`).
const LONGEST: usize = 255;

/// The most edits between two near names. Short names allow none, since any other short name would be as near.
fn most_edits(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=5 => 1,
        6..=11 => 2,
        _ => 3,
    }
}

/// The distance of a name from another one: the number of edits, and whether the extensions differ. The nearest name has the least.
pub(crate) type Distance = (usize, bool);

/// The distance of `name` from `wanted`; `None` if it is not near.
pub fn distance(wanted: &[u8], name: &[u8]) -> Option<Distance> {
    let most = most_edits(wanted.len());
    if name.len() > LONGEST || name.len().abs_diff(wanted.len()) > most {
        return None;
    }
    let edits = match name.eq_ignore_ascii_case(wanted) {
        true => 0,
        false => strsim::generic_damerau_levenshtein(wanted, name),
    };
    (edits <= most).then(|| (edits, extension(name) != extension(wanted)))
}

/// The text after the last dot of a name, if there is text before the dot.
fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
    name.get(dot + 1..)
}

/// Searches for the name nearest to another one.
#[derive(Debug)]
pub struct Nearest<'a> {
    wanted: &'a [u8],
    best: Option<(Distance, Vec<u8>)>,
}

impl<'a> Nearest<'a> {
    pub fn to(wanted: &'a [u8]) -> Nearest<'a> {
        Nearest { wanted, best: None }
    }

    /// Compares a name that exists.
    pub fn offer(&mut self, name: &[u8]) {
        let Some(distance) = distance(self.wanted, name) else { return };
        if self.best.as_ref().is_none_or(|(best, known)| (distance, name) < (*best, known.as_slice())) {
            self.best = Some((distance, name.to_vec()));
        }
    }

    pub fn found(self) -> Option<Vec<u8>> {
        self.best.map(|(_, name)| name)
    }
}

/// A mode in octal, with four digits.
pub fn octal(mode: u32) -> String {
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
        // At equal distance, the name with the same extension wins.
        check("utli.h", &["ltli.c", "utlx.h", "util.c"], Some("utlx.h"));
        check("utli.h", &["utli.a", "utlx.h"], Some("utlx.h"));
        check("utli", &["utl.i", "utlx"], Some("utlx"));
        check(&"a".repeat(300), &["b"], None);
    }
}
