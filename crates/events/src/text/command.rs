//! The name of a command in a row: the program, and the part of its arguments that differs from other calls of the program.

use super::shell;

/// Bytes of a command line from which on only the file that it works on is named.
pub(crate) const LONG: usize = 32;

/// Options of compilers and linkers whose value is the next word.
const VALUED: &str =
    "-o -I -L -MD -MMD -MF -MT -MQ -isystem -iquote -include -dumpdir -imultiarch -plugin -dynamic-linker -x";

/// The starts of the names of interpreters.
const INTERPRETERS: [&[u8]; 10] =
    [b"sh", b"bash", b"dash", b"ksh", b"zsh", b"python", b"perl", b"ruby", b"node", b"php"];

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named<'w> {
    /// The program as it was called, or the script, without its directory.
    pub program: &'w [u8],
    /// The name of the script's interpreter, and its path.
    pub script: Option<[&'w [u8]; 2]>,
    pub arguments: Arguments<'w>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Arguments<'w> {
    All(Vec<&'w [u8]>),
    /// The file that a command with many arguments works on.
    File(&'w [u8]),
}

/// The name of a command with these words, of which the first may be missing. `exe`: its file.
pub fn named<'w>(words: &[&'w [u8]], exe: &'w [u8]) -> Named<'w> {
    let called = words.first().copied().unwrap_or_default();
    // A process that has set its title has one word: `sshd: root@pts/0`.
    let called = if called.contains(&b' ') && !called.starts_with(b"/") { called } else { leaf(called) };
    let called = if called.is_empty() { leaf(exe) } else { called };
    // The kernel passes the path of a script to its interpreter.
    let (script, words) = match words {
        [path, script, rest @ ..] if path.starts_with(b"/") && script.starts_with(b"/") && interprets(called) => {
            (Some([called, script]), rest)
        }
        _ => (None, words.get(1..).unwrap_or_default()),
    };
    let program = script.map_or(called, |[_, path]| leaf(path));
    let length: usize = program.len() + words.iter().map(|word| 1 + word.len()).sum::<usize>();
    let file = (length > LONG).then(|| main_argument(words)).flatten();
    Named { program, script, arguments: file.map_or_else(|| Arguments::All(words.to_vec()), Arguments::File) }
}

/// The script that an interpreter with these arguments runs: the first one, unless it is an option.
pub fn script_of(argv: &[u8]) -> Option<&[u8]> {
    let mut words = shell::args(argv);
    let interpreter = words.next().map(leaf)?;
    words.next().filter(|script| interprets(interpreter) && !script.starts_with(b"-"))
}

/// Whether a file is in one of the directories that only root writes to.
pub fn is_of_system(path: &[u8]) -> bool {
    let dirs = [&b"/usr/bin/"[..], b"/usr/sbin/", b"/usr/lib", b"/usr/share/", b"/bin/", b"/sbin/"];
    dirs.iter().any(|dir| path.starts_with(dir)) && memchr::memmem::find(path, b"/../").is_none()
}

/// Appends the name of a command whose arguments are each followed by NUL.
pub fn write(argv: &[u8], exe: &[u8], out: &mut Vec<u8>) {
    let words: Vec<_> = shell::args(argv).collect();
    let named = named(&words, exe);
    out.extend_from_slice(named.program);
    named.arguments.write(out);
}

impl Arguments<'_> {
    /// Appends the arguments, each after a space.
    pub fn write(&self, out: &mut Vec<u8>) {
        let words = match self {
            Arguments::All(words) => words.as_slice(),
            Arguments::File(file) => std::slice::from_ref(file),
        };
        for word in words {
            out.push(b' ');
            shell::quote(word, out);
        }
    }
}

/// The start of a text that is longer than this.
pub fn shortened(text: &[u8], length: usize) -> Vec<u8> {
    // The cut must not split a character.
    let end = (0..=length).rev().find(|end| text.get(*end).is_none_or(|byte| byte & 0xc0 != 0x80)).unwrap_or(length);
    match text.get(..end) {
        Some(start) if text.len() > length + 3 => [start, b"..."].concat(),
        _ => text.to_vec(),
    }
}

fn interprets(program: &[u8]) -> bool {
    INTERPRETERS.iter().any(|name| program.starts_with(name))
}

/// The last component of a path.
pub fn leaf(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The argument that names the file a process works on: the first file that is not the value of an option. If it was made for the next
/// step of a build, the result.
fn main_argument<'w>(words: &[&'w [u8]]) -> Option<&'w [u8]> {
    let value = |at: usize| at > 0 && VALUED.split(' ').any(|option| option.as_bytes() == words[at - 1]);
    let is_file =
        |word: &[u8]| !word.starts_with(b"-") && word.contains(&b'.') && !word.iter().any(|byte| b" =".contains(byte));
    let file = words.iter().enumerate().find(|(at, word)| is_file(word) && !value(*at)).map(|(_, word)| *word)?;
    let is_made = file.starts_with(b"/tmp/") || [&b".o"[..], b".a"].iter().any(|end| file.ends_with(end));
    let result = words.iter().position(|word| *word == b"-o").and_then(|at| words.get(at + 1));
    Some(result.filter(|_| is_made).map_or(file, |result| *result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(command: &str, want: &str) {
        let argv = command.split(' ').map(|word| format!("{word}\0")).collect::<String>();
        let mut out = Vec::new();
        write(argv.as_bytes(), b"", &mut out);
        assert_eq!(String::from_utf8(out).expect("text"), want);
    }

    #[test]
    fn commands_are_named_by_what_differs() {
        check("make -j2 linux", "make -j2 linux");
        check("/usr/bin/ls -la /tmp", "ls -la /tmp");
        check("gcc -std=gnu99 -O2 -Wall -Wextra -c -o lstate.o lstate.c", "gcc lstate.c");
        check("/usr/lib/gcc/x/12/cc1 -quiet -imultiarch x86_64.gnu lib/hash.c -o /tmp/ccX.s", "cc1 lib/hash.c");
        check("as --64 -I include/long/path -o lib/hash.o /tmp/ccX.s", "as lib/hash.o");
        check("/usr/bin/ld -plugin /usr/lib/x.so -dynamic-linker /lib64/ld.so -o prog /lib/crt1.o a.o", "ld prog");
        check("/usr/bin/python3 /usr/bin/pip install perfetto", "pip install perfetto");
        check("/bin/sh -c true", "sh -c true");
        check("/bin/cat /etc/hosts", "cat /etc/hosts");
        check(
            "rsync -a --delete --exclude cache one/two three/four",
            "rsync -a --delete --exclude cache one/two three/four",
        );
        check("", "");
        let mut out = Vec::new();
        write(b"sh\0-c\0echo x; true\0", b"", &mut out);
        write(b"\0a\0", b"/bin/true", &mut out);
        write(b"sshd: root@pts/0\0", b"", &mut out);
        assert_eq!(out, b"sh -c 'echo x; true'true asshd: root@pts/0");
    }
}
