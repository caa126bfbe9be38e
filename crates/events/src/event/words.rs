//! The words that rows of events contain whatever the traced processes do: names of kinds, errors, types of BPF programs, and the
//! words between values.

use super::{names, tcp};
use crate::bpf::{Hook, place};
use std::sync::LazyLock;
use tracetui_shared::kind::Kind;

/// The words between values, and the words of values without a table here.
const BETWEEN: &str = "ok fd exit signal ran core dumped by itself the OOM killer at a fault seccomp limit kernel child \
    ns us ms kB MB GB TB KiB MiB GiB bytes cpu attach detach load unload update hidden link program places prog unknown cgroup \
    ifindex map socket perf net ip family \
    hook priority prerouting input forward output postrouting tun deleted created connect accept close \
    after in out resent closed at most events lost here kernel ring full skipped no room not decodable \
    freplace fentry fexit fmod_ret lsm iter sockmap EUNKNOWN";

/// A part of a searched word that each row with the word has from outside: from a frame or a table, byte for byte. `None` if rows may
/// have the word without it.
pub(crate) fn from_outside(word: &[u8]) -> Option<&[u8]> {
    let is_own = |letters: &[u8]| {
        let letters = String::from_utf8_lossy(letters).to_lowercase();
        letters.chars().all(|letter| "abcdefx".contains(letter)) || OWN.contains(&letters)
    };
    // Other bytes may be between two parts of a value: slashes between the names of a path, blanks between arguments.
    let parts = word.split(|byte| !(byte.is_ascii_alphanumeric() || b"_-.".contains(byte)));
    // Numbers are formatted, so letters must decide.
    let letters = |part: &&[u8]| {
        let mut runs = part.split(|byte| !(byte.is_ascii_alphabetic() || *byte == b'_'));
        runs.any(|run| !is_own(run))
    };
    let longest = parts.filter(letters).max_by_key(|part| part.len())?;
    Some(&longest[..longest.len().min(LONGEST)])
}

/// The most bytes of such a part.
const LONGEST: usize = 64;

/// All of these words, in lower case.
static OWN: LazyLock<String> = LazyLock::new(|| {
    let mut own = BETWEEN.to_lowercase();
    let all = |name: fn(u32) -> Option<&'static str>| (0..128).filter_map(name);
    let tables = [names::signal, names::prog_type, names::attach_type, names::link_type].into_iter().flat_map(all);
    let errors = (1..600).filter_map(|number| names::err(-number));
    let perf = (0..2).flat_map(|kind| (0..32).filter_map(move |number| place::perf_event(kind, number)));
    let hooks = (0..32).filter_map(|number| Hook::of(number, 0).name());
    let tcp = tcp::ROLES.into_iter().chain(tcp::OUTCOMES).chain(tcp::ENDS);
    for word in Kind::ALL.map(Kind::name).into_iter().chain(tables).chain(errors).chain(perf).chain(hooks).chain(tcp) {
        own.push(' ');
        own.push_str(&word.to_lowercase());
    }
    own
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_only_processes_bring_is_searched() {
        let part =
            |word: &str| from_outside(word.as_bytes()).map(String::from_utf8_lossy).map(|part| part.into_owned());
        for (word, expected) in [
            ("stdio.h", "stdio.h"),
            ("/usr/include/sys/io.h", "include"),
            ("gcc -c main.c", "main.c"),
            ("libz.so.1", "libz.so.1"),
            ("x=hello", "hello"),
        ] {
            assert_eq!(part(word).as_deref(), Some(expected), "{word}");
        }
        for word in [
            "", "/", "443", "0xffff", "fe80::1", "enoent", "SIGKILL", "ok", "op", "cafe", "1.2", "killed", "10ms", "🦀",
        ] {
            assert_eq!(part(word), None, "{word}");
        }
        let long = "lmnop".repeat(20);
        assert_eq!(part(&long).as_deref(), Some(&long[..LONGEST]));
    }
}
