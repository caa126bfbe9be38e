//! Copying: text for the terminal's clipboard (OSC 52), and commands quoted for a shell.

mod selected_row;

use std::ffi::OsString;
use tracetui_events::event::describe::args;
use tracetui_events::event::exec::Exec;
use tracetui_events::event::process::Process;
use tracetui_events::event::stdio::{Descriptor, Type};
use tracetui_events::event::{Body, Components, EventContext};
use tracetui_events::limits;
use tracetui_events::sink::ndjson::Json;
use tracetui_events::text::{Charset, escaped, shell};
use tracetui_shared::record::exec::STDIO;
use tracetui_shared::record::mark;

/// The maximum number of bytes that are copied: as base64, as much as terminals accept in a sequence (100,000 bytes).
pub(crate) const MOST: usize = 74_994;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Wrap {
    /// Through tmux, which may need a wrapped sequence.
    Tmux,
    /// Through screen(1), which passes on short device control strings.
    Screen,
    #[default]
    None,
}

impl Wrap {
    /// By the variables of the environment. sudo and ssh drop TMUX. `STY` is set in screen(1).
    pub(crate) fn of(variable: impl Fn(&str) -> Option<OsString>) -> Wrap {
        let term = variable("TERM").unwrap_or_default();
        let named = [&b"tmux"[..], b"screen"].iter().any(|name| term.as_encoded_bytes().starts_with(name));
        match (variable("TMUX").is_some(), variable("STY").is_some()) {
            (true, _) => Wrap::Tmux,
            (false, true) => Wrap::Screen,
            (false, false) if named => Wrap::Tmux,
            (false, false) => Wrap::None,
        }
    }
}

/// The bytes that screen(1) passes on at once: half of the shortest limit of its versions.
const PASSED: usize = 256;

/// The escape sequence that puts `text` into the clipboard.
pub(crate) fn osc52(text: &[u8], wrap: Wrap) -> Vec<u8> {
    let mut sequence = b"\x1b]52;c;".to_vec();
    base64(text, &mut sequence);
    sequence.push(0x07);
    match wrap {
        Wrap::None => sequence,
        Wrap::Screen => sequence.chunks(PASSED).flat_map(|part| [&b"\x1bP"[..], part, b"\x1b\\"].concat()).collect(),
        // tmux accepts the plain sequence with `set-clipboard on`. It forwards the wrapped one with
        // `allow-passthrough on`, and drops the other. In the wrapped sequence each ESC must be doubled; there is only
        // one, at the start.
        Wrap::Tmux => [&sequence, b"\x1bPtmux;\x1b".as_slice(), &sequence, b"\x1b\\"].concat(),
    }
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) as usize & 63;
            out.push(if digit <= chunk.len() { DIGITS[value] } else { b'=' });
        }
    }
}

/// A line of values: an escape differs from what looks like one.
pub(crate) fn line(values: &[u8]) -> String {
    escaped(values, Charset::Utf8.reversible()).into_owned()
}

/// The event as `print --format json` writes it.
pub(crate) fn json(seen: &EventContext<'_>) -> String {
    let mut out = Vec::new();
    Json::default().object(seen, &mut out);
    // It is ASCII or UTF-8.
    String::from_utf8_lossy(&out).into_owned()
}

/// The command of the event's process (exec: as passed), quoted for a shell. `None` if it is not known whole.
pub(crate) fn command(seen: &EventContext<'_>) -> Option<String> {
    let mut exe = Vec::new();
    match &seen.event.body {
        Body::Exec(exec) if exec.shows_less() => None,
        Body::Exec(exec) => {
            if exec.record.ret == 0 && exec.exe.absent().is_none() && !exec.exe.bytes.is_empty() {
                exec.exe.write(&mut exe);
            } else {
                exe.extend_from_slice(exec.filename);
            }
            shell_words(exec.argv, &exe).map(|command| command + &redirections(exec, opened).concat())
        }
        _ => command_of(seen.process?),
    }
}

/// The redirections of a program's descriptors, each after a space: what `word` returns for a number and its file.
pub(crate) fn redirections(exec: &Exec<'_>, word: fn(usize, &Descriptor<'_>) -> Option<String>) -> Vec<String> {
    let mut redirected = [false; STDIO];
    let standard = (0..STDIO).filter_map(|number| {
        let of = exec.descriptor(number)?;
        let again = of.same.filter(|same| redirected[*same]);
        let word = match (of.kind(), again, word(number, &of)) {
            (Type::Closed, ..) => format!("{}&-", ["<", ">", "2>"][number]),
            (_, Some(same), _) => format!("{}>&{same}", if number == 1 { String::new() } else { number.to_string() }),
            (_, None, Some(word)) if of.same.is_none() => word,
            _ => return None,
        };
        redirected[number] = true;
        Some(word)
    });
    let others = exec.fds.each().filter_map(|(number, of)| word(number, &of));
    standard.chain(others).map(|word| format!(" {word}")).collect()
}

/// The redirection that opens the file of a descriptor, or its operator and the peer of a socket, `socket` if that is unknown.
pub(crate) fn leads_to(number: usize, of: &Descriptor<'_>) -> Option<String> {
    let unix = || of.unix_peer().map(|(sort, address)| shell::word(&[sort.as_bytes(), b":", address].concat()));
    let peer = || of.peer().map(|peer| peer.to_string()).or_else(unix);
    let socket = || peer().or_else(|| (of.kind() == Type::Socket).then(|| "socket".to_owned()));
    opened(number, of).or_else(|| socket().map(|peer| of.operator(number) + &peer))
}

/// The redirection that opens the file of a descriptor, if its path leads there. Terminals, sockets and pipes without a name have none.
fn opened(number: usize, of: &Descriptor<'_>) -> Option<String> {
    let is_there = |path: &Components<'_>| path.absent().is_none() && !path.deleted() && path.marks & mark::PSEUDO == 0;
    let path = of.path().filter(is_there)?;
    let mut bytes = Vec::new();
    path.write(&mut bytes);
    let is_file = matches!(of.kind(), Type::File | Type::Null | Type::Pipe | Type::Other);
    is_file.then(|| of.operator(number) + &shell::word(&bytes))
}

/// The command that a process runs. `None` if it is not known whole.
pub(crate) fn command_of(process: &Process) -> Option<String> {
    let image = Some(&process.image).filter(|image| image.argv.len() < limits::KEPT_ARGV)?;
    shell_words(&image.argv, &image.exe)
}

/// An argument area as shell words. `exe` replaces a first word that is missing or ambiguous.
fn shell_words(area: &[u8], exe: &[u8]) -> Option<String> {
    let mut words = args(area);
    let first = words.next().filter(|word| !word.is_empty() && !word.starts_with(b"-")).unwrap_or(exe);
    let first = match first {
        b"" => return None,
        dashed if dashed.starts_with(b"-") => [b"./", dashed].concat(),
        plain => plain.to_vec(),
    };
    let mut out = shell::first_word(&first);
    for word in words {
        out.push(' ');
        out.push_str(&shell::word(word));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracetui_events::event::Payload as _;

    fn check_command(area: &[u8], exe: &[u8], want: &str) {
        assert_eq!(shell_words(area, exe).as_deref(), Some(want));
    }

    #[test]
    fn commands_and_redirections_go_to_the_clipboard() {
        // A command is what the shell was given.
        check_command(b"cc\0-O2\0-std=c17\0a b.c\0", b"/usr/bin/cc", "cc -O2 -std=c17 'a b.c'");
        check_command(b"sh\0-c\0echo $HOME; rm -rf 'x'\0", b"/bin/sh", r#"sh -c 'echo $HOME; rm -rf '"'"'x'"'"''"#);
        check_command(b"printf\0\0~\0", b"", "printf '' '~'");
        check_command(b"A=b\0if\0", b"", "'A=b' if");
        check_command(b"if\0", b"", "'if'");
        // A leading dash is never the first thing pasted.
        check_command(b"-bash\0", b"/usr/bin/bash", "/usr/bin/bash");
        check_command(b"-x\0-y\0", b"-rf", "./-rf -y");
        check_command(b"\0a\0", b"/bin/true", "/bin/true a");
        assert_eq!(shell_words(b"", b""), None);
        // What is pasted has no control bytes.
        check_command(b"echo\0a\nb\x1b[2J\xff'\0", b"", r"echo $'a\nb\033[2J\377\''");
        check_command("echo\0a\u{202e}b\0".as_bytes(), b"", r"echo $'a\342\200\256b'");
        check_command("echo\0é\0".as_bytes(), b"", "echo é");
        use tracetui_events::synthetic::payload;
        use tracetui_shared::record::exec::{ExecRecord, Stdio, stdio};
        const FILE: u32 = libc::S_IFREG | 0o644;
        let opened = |mode: u32, flags: i32| Stdio {
            state: stdio::OPEN,
            mode: mode as u16,
            flags: flags as u16,
            ..Stdio::default()
        };
        let state = |state: u8| Stdio { state, ..Stdio::default() };
        let of = |stdio, files| {
            let made = payload::Exec { argv: b"x\0", ..payload::Exec::default() };
            let payload = made.with(ExecRecord::default(), stdio, files);
            redirections(&Exec::decode(&payload).expect("an exec"), leads_to).concat()
        };
        let (read, write, append) = (libc::O_RDONLY, libc::O_WRONLY, libc::O_WRONLY | libc::O_APPEND);
        let file = |flags| opened(FILE, flags);
        let of_files = [file(read), file(write), state(stdio::SAME + 1)];
        assert_eq!(of(of_files, [b"in\0", b"a b\0tmp\0", b""]), " </in >'/tmp/a b' 2>&1");
        let null = Stdio { device: 1 << 20 | 3, ..opened(libc::S_IFCHR, libc::O_RDWR) };
        let appended = of([null, state(stdio::SAME), file(append)], [b"null\0dev\0", b"", b"log\0"]);
        assert_eq!(appended, " <>/dev/null >&0 2>>/log");
        let tty = Stdio { device: 136 << 20, ..opened(libc::S_IFCHR, libc::O_RDWR) };
        let pipe = Stdio { names_marks: mark::PSEUDO, ..opened(libc::S_IFIFO, write) };
        assert_eq!(of([tty, pipe, state(stdio::SAME)], [b"0\0pts\0dev\0", b"", b""]), "");
        assert_eq!(of([state(stdio::CLOSED); 3], [b""; 3]), " <&- >&- 2>&-");
        let socket = opened(libc::S_IFSOCK, libc::O_RDWR);
        let (family, port) = (libc::AF_INET as u16, 4444);
        let remote = Stdio { family, port, address: [10; 16], ..socket };
        assert_eq!(of([remote, state(stdio::SAME), state(stdio::SAME)], [b""; 3]), " <>10.10.10.10:4444 >&0 2>&0");
        let local = Stdio { family: libc::AF_UNIX as u16, ..socket };
        assert_eq!(of([tty, local, local], [b"", b"/run/a b", b""]), " 1<>'unix:/run/a b' 2<>socket");
        assert_eq!(of([state(stdio::NOT_COLLECTED); 3], [b""; 3]), "");
        assert_eq!(osc52(b"hello", Wrap::None), b"\x1b]52;c;aGVsbG8=\x07");
        assert_eq!(osc52(b"hell", Wrap::None), b"\x1b]52;c;aGVsbA==\x07");
        assert_eq!(osc52(b"hel", Wrap::Screen), b"\x1bP\x1b]52;c;aGVs\x07\x1b\\");
        assert_eq!(osc52(b"hel", Wrap::Tmux), b"\x1b]52;c;aGVs\x07\x1bPtmux;\x1b\x1b]52;c;aGVs\x07\x1b\\");
        for (variables, expected) in [
            (&[("TMUX", "/tmp/tmux-0/default,1,0"), ("TERM", "xterm")][..], Wrap::Tmux),
            (&[("TERM", "tmux-256color")], Wrap::Tmux),
            (&[("TERM", "tmux")], Wrap::Tmux),
            (&[("TERM", "screen")], Wrap::Tmux),
            (&[("TERM", "screen-256color")], Wrap::Tmux),
            (&[("TERM", "screen.xterm-256color"), ("STY", "1.pts-0.host")], Wrap::Screen),
            (&[("TERM", "xterm-256color")], Wrap::None),
            (&[], Wrap::None),
        ] {
            let variable = |name: &str| Some(variables.iter().find(|(known, _)| *known == name)?.1.into());
            assert_eq!(Wrap::of(variable), expected, "{variables:?}");
        }
    }
}
