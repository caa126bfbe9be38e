//! The words that rows of events contain whatever the traced processes do: names of kinds, errors, types of BPF programs, and the
//! words between values.

use super::{fields_of, names};
use crate::bpf::{Hook, place};
use std::cmp::Reverse;
use std::sync::LazyLock;
use tracetui_shared::kind::Kind;

/// The words between values, and the words of values without a table here.
const BETWEEN: &str = "ok fd exit signal ran core dumped by itself the OOM killer at a fault seccomp limit kernel child \
    ns us ms kB MB GB TB KiB MiB GiB bytes cpu euid attach detach load unload update hidden link program places prog unknown cgroup \
    ifindex map socket perf net ip family \
    hook priority prerouting input forward output postrouting tun deleted created connect accepted close listen bind backlog older than the trace \
    after in out resent closed at most events lost here kernel ring full skipped no room not decodable \
    rename unlink rmdir mkdir symlink mknod chmod chown truncate setxattr removexattr mount umount move_mount pivot_root write other to of exact joined stat lstat access readlink chdir fchdir \
    freplace fentry fexit fmod_ret lsm iter sockmap EUNKNOWN";

/// The parts of a searched word that each row with the word has from outside: from a frame or a table, byte for byte. The longest
/// ones come first.
pub(crate) fn from_outside(word: &[u8]) -> Vec<&[u8]> {
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
    let mut found: Vec<_> = parts.filter(letters).map(|part| &part[..part.len().min(LONGEST)]).collect();
    found.sort_by_key(|part| Reverse(part.len()));
    found.truncate(MOST);
    found
}

/// The most bytes of such a part.
const LONGEST: usize = 64;

/// The most parts of a word.
const MOST: usize = 8;

/// All of these words, in lower case.
static OWN: LazyLock<String> = LazyLock::new(|| {
    let mut own = BETWEEN.to_lowercase();
    let all = |name: fn(u32) -> Option<&'static str>| (0..128).filter_map(name);
    let tables = [names::signal, names::prog_type, names::attach_type, names::link_type].into_iter().flat_map(all);
    let errors = (1..600).filter_map(|number| names::err(-number));
    let perf = (0..2).flat_map(|kind| (0..32).filter_map(move |number| place::perf_event(kind, number)));
    let hooks = (0..32).filter_map(|number| Hook::of(number, 0).name());
    let of_fields = Kind::ALL.into_iter().flat_map(fields_of).flat_map(|field| field.words).copied();
    for word in
        Kind::ALL.map(Kind::name).into_iter().chain(tables).chain(errors).chain(perf).chain(hooks).chain(of_fields)
    {
        own.push(' ');
        own.push_str(&word.to_lowercase());
    }
    own
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_only_processes_bring_are_searched() {
        let parts = |word: &str| {
            let parts = from_outside(word.as_bytes()).into_iter().map(String::from_utf8_lossy);
            parts.collect::<Vec<_>>().join(" ")
        };
        for (word, expected) in [
            ("stdio.h", "stdio.h"),
            ("/usr/include/sys/io.h", "include"),
            ("share/zoneinfo/Qx", "zoneinfo share Qx"),
            ("gcc -c main.c", "main.c gcc"),
            ("libz.so.1", "libz.so.1"),
            ("x=hello", "hello"),
        ] {
            assert_eq!(parts(word), expected, "{word}");
        }
        for word in [
            "", "/", "443", "0xffff", "fe80::1", "enoent", "SIGKILL", "ok", "op", "cafe", "1.2", "killed", "10ms", "🦀",
        ] {
            assert_eq!(parts(word), "", "{word}");
        }
        let long = "lmnop".repeat(20);
        assert_eq!(parts(&long), long[..LONGEST]);
        assert_eq!(from_outside("/lmnop".repeat(20).as_bytes()).len(), MOST);
    }
}
