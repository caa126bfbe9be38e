//! Termination signals.

use super::relay;
use crate::source::priority;
use rustix::process::{self, pidfd_send_signal};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The time in which a process sends the same signal again without a further meaning: timeout(1) signals its child, and then the
/// process group, in which the child is too. In milliseconds.
const REPEATS: u64 = 250;

/// The signals that ask tracetui to end, besides SIGHUP.
const ENDING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT];

/// The exit status when a further signal ended tracetui at once: `128 + SIGINT`.
pub(super) const INTERRUPTED: u8 = 130;

/// What a further signal does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Second {
    /// Exits the process immediately with this status.
    Ends(i32),
    /// Is one more.
    Counts,
}

/// Signals as they come: SIGINT, SIGTERM, SIGQUIT, SIGXCPU (`ulimit -t`), SIGHUP unless it is ignored (nohup(1)), and others
/// that were named.
#[derive(Debug)]
pub(crate) struct Signals {
    signals: Vec<(libc::c_int, Signal)>,
}

impl Signals {
    /// Takes the signals. From now on [`asked_to_end`] and [`addressee`] know of them.
    ///
    /// # Errors
    /// When a handler cannot be set.
    pub(crate) fn take(second: Second, others: &[libc::c_int]) -> io::Result<Signals> {
        let hangup = (!hangup_is_ignored()).then_some(libc::SIGHUP);
        let ends = || ENDING.into_iter().chain(hangup);
        // SIGXCPU comes again each second: it is never the second signal that ends tracetui.
        ends().try_for_each(|number| watch(number, second))?;
        let all = ends().chain([libc::SIGXCPU]).chain(others.iter().copied());
        let take = |number| Ok((number, signal(SignalKind::from_raw(number))?));
        Ok(Signals { signals: all.map(take).collect::<io::Result<_>>()? })
    }

    /// Waits for the next one that is not a repeat, and gives its number. Can be given up and called again.
    pub(crate) async fn next(&mut self) -> libc::c_int {
        let mut next = |context: &mut Context<'_>| {
            let mut came = self.signals.iter_mut().filter_map(|(number, signal)| match signal.poll_recv(context) {
                Poll::Ready(_) => Some(*number),
                Poll::Pending => None,
            });
            came.next().map_or(Poll::Pending, Poll::Ready)
        };
        loop {
            let number = poll_fn(&mut next).await;
            // The handler ran before the stream was woken.
            if !is_watched(number) || NEW.fetch_and(!bit(number), Ordering::Relaxed) & bit(number) != 0 {
                return number;
            }
        }
    }
}

/// When the first signal came, milliseconds of CLOCK_MONOTONIC; 0: none did.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// The latest signal that is no repeat, as its number and the milliseconds of CLOCK_MONOTONIC above it.
static LATEST: AtomicU64 = AtomicU64::new(0);

/// The signals that came and are no repeats, as bits, until [`Signals::next`] gives them.
static NEW: AtomicU32 = AtomicU32::new(0);

/// How many came, without repeats.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The COMMAND's pidfd.
static COMMAND: OnceLock<OwnedFd> = OnceLock::new();

fn watch(signal: libc::c_int, second: Second) -> io::Result<()> {
    let note = move |info: &libc::siginfo_t| note(signal, info, second);
    // SAFETY: the handler touches atomic numbers and calls clock_gettime, setpriority, pidfd_send_signal, tcgetpgrp, ioctl and
    // _exit: all are safe in a signal handler.
    unsafe { signal_hook_registry::register_sigaction(signal, note) }?;
    Ok(())
}

/// The handler.
fn note(signal: libc::c_int, info: &libc::siginfo_t, second: Second) {
    // Codes above 0 are the kernel's: SI_KERNEL for those of a terminal.
    let by_process = info.si_code <= 0;
    let now = now().max(1);
    let latest = LATEST.load(Ordering::Relaxed);
    if by_process && is_repeat(latest, signal, now) {
        return;
    }
    LATEST.store(packed(signal, now), Ordering::Relaxed);
    NEW.fetch_or(bit(signal), Ordering::Relaxed);
    let _ = ASKED.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    // The main thread is to answer. After the note, since nothing is lent any more from then on.
    priority::take_back();
    if let (1.., Second::Ends(status)) = (COUNT.fetch_add(1, Ordering::Relaxed), second) {
        if let Some(command) = COMMAND.get() {
            let sent = process::Signal::from_named_raw(signal);
            // Both, whether or not the first was passed on yet: the COMMAND may ignore one of them, and may be stopped.
            for signal in sent.into_iter().chain([process::Signal::TERM, process::Signal::CONT]) {
                let _ = pidfd_send_signal(command, signal);
            }
        }
        relay::restore();
        // SAFETY: ends the process: nothing of it runs any more.
        unsafe { libc::_exit(status) };
    }
}

/// A second signal that ends tracetui at once goes to this process as well, so that it does not outlive tracetui unasked.
pub(crate) fn pass_on_to(pidfd: OwnedFd) {
    let _ = COMMAND.set(pidfd);
}

/// Whether a signal from a process only repeats the latest one ([`LATEST`]).
fn is_repeat(latest: u64, signal: libc::c_int, now: u64) -> bool {
    latest == packed(signal, latest >> 8) && now.saturating_sub(latest >> 8) < REPEATS
}

/// A signal and when it came, in milliseconds.
fn packed(signal: libc::c_int, at: u64) -> u64 {
    at << 8 | u64::from(signal.cast_unsigned() & 0xff)
}

/// The bit of a signal. Those that are watched are below 32.
fn bit(signal: libc::c_int) -> u32 {
    1 << (signal.cast_unsigned() % u32::BITS)
}

/// Whether [`note`] handles a signal.
fn is_watched(signal: libc::c_int) -> bool {
    ENDING.contains(&signal) || signal == libc::SIGHUP
}

/// From now on the first signal is the second one ([`Second`]): tracetui ends already, without one.
pub(super) fn end_by_next() {
    COUNT.fetch_max(1, Ordering::Relaxed);
}

/// Whether a signal came.
pub(crate) fn asked_to_end() -> bool {
    ASKED.load(Ordering::Relaxed) != 0
}

/// What is left of a time that began with the first signal; all of it when none came.
pub(super) fn time_left(of: Duration) -> Duration {
    match ASKED.load(Ordering::Relaxed) {
        0 => of,
        asked => of.saturating_sub(Duration::from_millis(now().saturating_sub(asked))),
    }
}

/// Whether a signal is for the COMMAND, which has a session of its own. SIGXCPU is not: tracetui's CPU time is over (`ulimit -t`).
pub(super) fn is_for_command(signal: libc::c_int) -> bool {
    signal != libc::SIGXCPU
}

/// Sends this process SIGINT.
pub(super) fn interrupt() {
    // SAFETY: raise takes a number.
    unsafe { libc::raise(libc::SIGINT) };
}

/// A file that reaches the limit of the shell (`ulimit -f`) is an error of the write, not the end of the process. To be called
/// after a COMMAND was forked: it would inherit this.
pub(crate) fn ignore_file_size() {
    // SAFETY: no handler is set.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// tracetui writes messages to the terminal of another job too (SIGTTOU), and a read from it is an error (SIGTTIN). To be called
/// after the COMMAND was forked: it would inherit this.
pub(crate) fn run_in_background() {
    // SAFETY: no handler is set.
    unsafe {
        libc::signal(libc::SIGTTOU, libc::SIG_IGN);
        libc::signal(libc::SIGTTIN, libc::SIG_IGN);
    }
}

fn hangup_is_ignored() -> bool {
    // SAFETY: the zeroed sigaction is a valid one, and the pointer is to a live local; nothing is changed.
    unsafe {
        let mut set: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut set) == 0 && set.sa_sigaction == libc::SIG_IGN
    }
}

/// Milliseconds of CLOCK_MONOTONIC.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_repeats_the_latest_one_for_a_short_time() {
        let latest = packed(libc::SIGTERM, 1000);
        let repeats = |signal, at| is_repeat(latest, signal, at);
        assert!(repeats(libc::SIGTERM, 1000) && repeats(libc::SIGTERM, 1000 + REPEATS - 1));
        assert!(!repeats(libc::SIGTERM, 1000 + REPEATS), "later it is another request");
        assert!(!repeats(libc::SIGINT, 1000), "another signal is another request");
        assert!(!is_repeat(0, libc::SIGTERM, 1), "the first one repeats nothing");
    }

    #[test]
    fn every_watched_signal_has_a_bit_of_its_own() {
        let watched = || ENDING.into_iter().chain([libc::SIGHUP]);
        assert_eq!(watched().map(bit).fold(0, |all, bit| all | bit).count_ones() as usize, watched().count());
        assert!(watched().all(|signal| is_watched(signal) && (1..32).contains(&signal)));
        assert!(!is_watched(libc::SIGXCPU) && !is_watched(libc::SIGTSTP));
    }
}
