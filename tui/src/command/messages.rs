//! Messages on stderr.
//!
//! Nothing here can fail or panic: stderr may be closed, full, or a pipe without a reader. In the last case a message
//! waits until a termination signal; then this message and all later ones are dropped. The macros of the standard
//! library panic if stderr is closed, so clippy rejects them (`print_stderr`).

use super::signals;
use super::writer_thread::{UNENDED, WriterThread};
use crate::cli;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::stdio;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tracetui_events::limits;
use tracetui_events::sink::Style;
use tracetui_events::text::paint::Paint;
use tracetui_events::text::{Charset, escape, escaped, without_codes};
use tracetui_host::clock;

/// The minimum time that a reader gets for a message.
const LEAST: Duration = Duration::from_millis(200);

static UNREAD: AtomicBool = AtomicBool::new(false);

/// The columns of the progress line on the terminal; 0 if there is none.
static PROGRESS: AtomicUsize = AtomicUsize::new(0);

pub fn charset() -> Charset {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    match locale.contains("utf-8") || locale.contains("utf8") {
        true => Charset::Utf8,
        false => Charset::Ascii,
    }
}

/// How lines look on stdout.
pub(super) fn style(color: cli::ColorOption) -> Style {
    Style { zone: clock::zone(), charset: charset(), paint: paint(color) }
}

pub(super) fn paint(color: cli::ColorOption) -> Paint {
    let on = match color.when.unwrap_or_default() {
        cli::Color::Always => true,
        cli::Color::Never => false,
        cli::Color::Auto => io::stdout().is_terminal() && wants_colours(),
    };
    if on { Paint::On } else { Paint::Off }
}

/// Whether colours are wanted and possible: NO_COLOR is not set, and the terminal is not a dumb one.
pub(super) fn wants_colours() -> bool {
    let unset = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    unset && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Prints a message of one or more lines. Control characters are escaped, and system errors have no numbers.
pub fn say(text: impl std::fmt::Display) {
    if UNREAD.load(Ordering::Relaxed) {
        return;
    }
    let end: &[u8] = if UNENDED.swap(false, Ordering::Relaxed) { b"\n" } else { b"" };
    let bytes = [&without_progress(), end, &escaped_lines(&without_codes(&text.to_string()))].concat();
    if !write(stdio::stderr(), &bytes, signals::asked_to_end) {
        UNREAD.store(true, Ordering::Relaxed);
    }
}

/// Notes that the user's terminal shows COMMAND's output, and whether that left the cursor `within` a line. If it did and stderr is
/// that terminal, the next message begins a new line.
pub(super) fn others_wrote(within: bool) {
    if io::stderr().is_terminal() {
        UNENDED.store(within, Ordering::Relaxed);
    }
}

/// Notes that COMMAND, which inherited stderr, has ended. If stderr is a pipe or a file, nobody knows how its last line ends. The next
/// message then begins a new line, since the account must be on a line of its own.
pub(super) fn command_ended() {
    if !io::stderr().is_terminal() {
        UNENDED.store(true, Ordering::Relaxed);
    }
}

/// Replaces the progress line with a line of ASCII that has no line end. Does not wait for the terminal.
pub(super) fn progress(line: &str) {
    let before = PROGRESS.swap(line.len(), Ordering::Relaxed);
    write_at_once(format!("\r{line:before$}").as_bytes());
}

pub(super) fn clear_progress() {
    write_at_once(&without_progress());
}

/// The bytes that remove the progress from the terminal; empty if there is none.
fn without_progress() -> Vec<u8> {
    match PROGRESS.swap(0, Ordering::Relaxed) {
        0 => Vec::new(),
        columns => format!("\r{:columns$}\r", "").into_bytes(),
    }
}

/// Writes to stderr if that does not have to wait.
fn write_at_once(bytes: &[u8]) {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let stderr = stdio::stderr();
    let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
    if !bytes.is_empty() && poll(&mut ready, Some(&at_once)).is_ok_and(|ready| ready > 0) {
        // An error means that nobody reads stderr.
        let _ = rustix::io::write(stderr, bytes);
    }
}

/// An untrusted name for use in a message, on one line and with control characters escaped.
pub fn name(name: impl AsRef<OsStr>) -> String {
    escaped(name.as_ref().as_bytes(), charset().mode()).into_owned()
}

/// Writes to stdout or stderr. Waits for a reader until `may_give_up` allows it to stop, then for the time left after a signal. Returns
/// `false` if it gave up.
pub(super) fn write(fd: BorrowedFd<'_>, bytes: &[u8], may_give_up: impl Fn() -> bool) -> bool {
    match WriterThread::to(fd) {
        Ok(writer) => {
            let _ = writer.queue().write_all(bytes);
            writer.finish(signals::time_left(limits::PATIENCE).max(LEAST), may_give_up)
        }
        Err(_) => {
            // No descriptor or thread is available.
            let mut left = bytes;
            while let Ok(written @ 1..) = retry_on_intr(|| rustix::io::write(fd, left)) {
                left = left.get(written..).unwrap_or_default();
            }
            true
        }
    }
}

/// The lines of a text, each escaped for the locale.
pub(super) fn escaped_lines(text: &str) -> Vec<u8> {
    // In an 8-bit locale, the bytes of a non-ASCII character are controls.
    let mode = charset().mode();
    let mut out = Vec::with_capacity(text.len() + 1);
    for line in text.trim_end_matches('\n').split('\n') {
        escape(line.as_bytes(), mode, &mut out);
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_lines_and_the_rest_is_escaped() {
        let text = String::from_utf8(escaped_lines("one\x1b[2J\ntwo\u{9b}m \u{202e}\n")).expect("UTF-8");
        assert_eq!(text, "one\\x1b[2J\ntwo\\u{9b}m \\u{202e}\n");
        assert_eq!(escaped_lines("account"), b"account\n");
        assert_eq!(name("a\nb\x1b[31m"), "a\\nb\\x1b[31m");
        assert_eq!(name(OsStr::from_bytes(b"\xff/\x9b")), "\\xff/\\x9b");
    }
}
