//! The names of processes and of exit statuses in lines of text.

use super::strings::StringTable;
use super::uses::Role;
use crate::event::exit::{Ended, Exit};
use crate::event::names;
use crate::text::command::{Arguments, leaf, named, shortened};
use crate::text::grouped;

/// The most characters of a command line in a line of text.
pub(super) const COMMAND: usize = 60;

/// The name of a program, as it was called.
pub(super) fn name<'s>(node: &Role, strings: &'s StringTable) -> &'s [u8] {
    let called = node.argv.first().map_or(&[][..], |word| strings.get(*word));
    match leaf(called) {
        [] => leaf(strings.get(node.exe)),
        name => name,
    }
}

/// The command line, or the program and the file that it works on.
pub(super) fn label(node: &Role, strings: &StringTable) -> Vec<u8> {
    let words: Vec<&[u8]> = node.argv.iter().map(|word| strings.get(*word)).collect();
    let named = named(&words, strings.get(node.exe));
    let program = match named.script {
        Some([interpreter, path]) => [forked(node), interpreter, b" ", path].concat(),
        None => [forked(node), named.program].concat(),
    };
    match named.arguments {
        Arguments::File(word) => {
            // Cut the start of a long path: paths mostly differ at the end.
            let room = COMMAND.saturating_sub(program.len() + 1);
            let cut = word.len().saturating_sub(room);
            let cut = word[cut..].iter().position(|byte| *byte == b'/').filter(|_| cut > 0).map(|at| cut + at);
            let word = cut.map_or_else(|| word.to_vec(), |cut| [&b"..."[..], &word[cut..]].concat());
            shortened(&[&program[..], b" ", &word].concat(), COMMAND)
        }
        Arguments::All(words) => {
            let words = words.into_iter().flat_map(|word| [b" ", word]);
            shortened(&[&program[..]].into_iter().chain(words).collect::<Vec<_>>().concat(), COMMAND)
        }
    }
}

fn forked(node: &Role) -> &'static [u8] {
    if node.forked { b"fork of " } else { b"" }
}

/// Exit statuses: `0`, or with counts `0 (4 times), 1 (1 time)`.
pub(super) fn statuses(node: &Role) -> Vec<u8> {
    let sums = node.exits();
    if sums.is_empty() {
        return if node.forked { b"0".to_vec() } else { b"none".to_vec() };
    }
    let single = sums.len() == 1;
    let each = sums.iter().map(|(status, count)| {
        let exit = Exit::of_status(*status);
        let name = match exit.ended() {
            Ended::Code(127) => "127 (command not found)".to_owned(),
            Ended::Code(126) => "126 (cannot execute)".to_owned(),
            Ended::Code(code) => code.to_string(),
            Ended::Signal(signal) => names::signal(signal).map_or_else(|| format!("signal {signal}"), str::to_owned),
        };
        if single { name } else { format!("{name} ({})", times(*count)) }
    });
    each.collect::<Vec<_>>().join(" and ").into_bytes()
}

/// A count as in `executed 4 times`.
pub(super) fn times(count: u64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        count => format!("{} times", grouped(count)),
    }
}
