//! The columns of a row of the tree, as raw bytes.

use super::{Seen, Tree};
use crate::app::views::state::Context;
use tracetui_events::event::Payload;
use tracetui_events::event::exit::{Ended, Exit};
use tracetui_events::event::parts::{Parts, Role};
use tracetui_events::event::process::Origin;
use tracetui_events::store::Store;
use tracetui_events::text::command::{Arguments, Named, named};
use tracetui_events::text::shell;
use tracetui_events::text::time::short_duration;

/// The state of a process: how it ended (`exit 1`, a signal's name, or `ended` if its exit was lost), or `without_end`
/// ([`App::without_end`](crate::app::App::without_end)).
pub(crate) fn state(seen: &Seen<'_>, without_end: &str, out: &mut impl Parts) {
    let Some(end) = seen.end else { return out.part(Role::Plain, |out| out.extend_from_slice(without_end.as_bytes())) };
    let Some(status) = end.status else { return out.part(Role::Quiet, |out| out.extend_from_slice(b"ended")) };
    let exit = Exit::of_status(status);
    out.part(if exit.failed() { Role::Failure } else { Role::Quiet }, |out| {
        if matches!(exit.ended(), Ended::Code(_)) {
            out.extend_from_slice(b"exit ");
        }
        exit.result(out);
    });
}

/// The command: the program that a process runs, or the last one that it tried to execute.
pub(crate) fn command(seen: &Seen<'_>, out: &mut impl Parts) {
    let process = seen.process;
    let image = &process.image;
    if let Some(tried) = seen.failed_exec {
        let arguments = Arguments::All(shell::args(&tried.args).collect());
        return out.command(&Named { program: &tried.path, script: None, arguments }, usize::MAX);
    }
    let forked = match process.origin {
        Origin::Fork => " (forked)",
        Origin::NextRun => " (waits for the next run)",
        _ => "",
    };
    let forked = Some(forked).filter(|forked| process.execs == 0 && !forked.is_empty());
    if forked.is_some() || image.argv.is_empty() && image.exe.is_empty() {
        out.part(Role::Strong, |out| out.extend_from_slice(&process.comm));
        return if let Some(forked) = forked {
            out.part(Role::Quiet, |out| out.extend_from_slice(forked.as_bytes()))
        };
    }
    out.command(&named(&shell::args(&image.argv).collect::<Vec<_>>(), &image.exe), usize::MAX);
}

/// What follows the command: the redirections, each after a space, as words of a shell, and the command of the next process of the
/// pipeline, not escaped; empty without one.
pub(crate) fn joined(tree: &Tree, seen: &Seen<'_>, store: &Store) -> (String, Vec<u8>) {
    let mut next = Vec::new();
    tree.next_in_pipeline(seen, store).iter().for_each(|seen| command(seen, &mut next));
    (tree.redirected(seen, store).unwrap_or_default(), next)
}

/// A row as one line, for copying and searching: process id, state, lifetime, command, where it leads, what went wrong.
pub(crate) fn line(tree: &Tree, seen: &Seen<'_>, context: &Context<'_>) -> Vec<u8> {
    let mut out = seen.process.key.tgid.0.to_string().into_bytes();
    out.push(b' ');
    state(seen, context.without_end, &mut out);
    out.push(b' ');
    short_duration(tree.lived(seen), &mut out);
    out.push(b' ');
    command(seen, &mut out);
    let (redirected, next) = joined(tree, seen, context.store);
    out.extend_from_slice(redirected.as_bytes());
    if !next.is_empty() {
        out.extend_from_slice(" ┃ ".as_bytes());
        out.extend_from_slice(&next);
    }
    if let Some(([words, _], _)) = tree.remark(seen, context.store) {
        out.push(b' ');
        out.extend_from_slice(&words);
    }
    out
}
