//! Termination signals.

use super::terminal::raw_mode;
use rustix::process::{self, pidfd_send_signal};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracetui_host::priority;

/// The time in milliseconds in which the same signal from a process counts as a repeat. timeout(1) signals its child, and then the
/// process group, which includes the child.
const REPEATS: u64 = 250;

/// The signals that ask tracetui to end, besides SIGHUP.
const ENDING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT];

/// The exit status if a second signal ended tracetui at once: `128 + SIGINT`.
pub(super) const INTERRUPTED: u8 = 130;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Second {
    /// Exits the process immediately with this status.
    Ends(i32),
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
    pub(crate) fn install(second: Second, others: &[libc::c_int]) -> io::Result<Signals> {
        let hangup = (!hangup_is_ignored()).then_some(libc::SIGHUP);
        let ends = || ENDING.into_iter().chain(hangup);
        // SIGXCPU comes again each second: it is never the second signal that ends tracetui.
        ends().try_for_each(|number| watch(number, second))?;
        let all = ends().chain([libc::SIGXCPU]).chain(others.iter().copied());
        let take = |number| Ok((number, signal(SignalKind::from_raw(number))?));
        Ok(Signals { signals: all.map(take).collect::<io::Result<_>>()? })
    }

    /// Waits for the next signal that is not a repeat, and returns its number. Can be cancelled and called again.
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

/// When the first signal came, in milliseconds of CLOCK_MONOTONIC; 0 if none came.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// The latest signal that is not a repeat: its number, and above it the milliseconds of CLOCK_MONOTONIC.
static LATEST: AtomicU64 = AtomicU64::new(0);

/// The signals that came and are not repeats, as bits, until [`Signals::next`] returns them.
static NEW: AtomicU32 = AtomicU32::new(0);

/// The number of signals, without repeats.
static COUNT: AtomicU32 = AtomicU32::new(0);

static COMMAND: OnceLock<OwnedFd> = OnceLock::new();

fn watch(signal: libc::c_int, second: Second) -> io::Result<()> {
    let note = move |info: &libc::siginfo_t| note(signal, info, second);
    // SAFETY: the handler touches atomic numbers and calls clock_gettime, setpriority, pidfd_send_signal, tcgetpgrp, ioctl and
    // _exit: all are safe in a signal handler.
    unsafe { signal_hook_registry::register_sigaction(signal, note) }?;
    Ok(())
}

fn note(signal: libc::c_int, info: &libc::siginfo_t, second: Second) {
    // The kernel uses codes above 0, and SI_KERNEL for signals of a terminal.
    let by_process = info.si_code <= 0;
    let now = now().max(1);
    let latest = LATEST.load(Ordering::Relaxed);
    if by_process && is_repeat(latest, signal, now) {
        return;
    }
    LATEST.store(packed(signal, now), Ordering::Relaxed);
    NEW.fetch_or(bit(signal), Ordering::Relaxed);
    let _ = ASKED.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    // The main thread has to respond. Do this after the note, since from then on nothing is lent any more.
    priority::hasten_end();
    if let (1.., Second::Ends(status)) = (COUNT.fetch_add(1, Ordering::Relaxed), second) {
        if let Some(command) = COMMAND.get() {
            let sent = process::Signal::from_named_raw(signal);
            // Send both, whether or not the first signal was passed on already. The COMMAND may ignore one of them, and may be stopped.
            for signal in sent.into_iter().chain([process::Signal::TERM, process::Signal::CONT]) {
                let _ = pidfd_send_signal(command, signal);
            }
        }
        raw_mode::restore();
        // SAFETY: ends the process: nothing of it runs any more.
        unsafe { libc::_exit(status) };
    }
}

/// Passes a second signal, which ends tracetui at once, on to this process too. It then does not outlive tracetui unintentionally.
pub(crate) fn pass_on_to(pidfd: OwnedFd) {
    let _ = COMMAND.set(pidfd);
}

/// Whether a signal from a process only repeats the latest one ([`LATEST`]).
fn is_repeat(latest: u64, signal: libc::c_int, now: u64) -> bool {
    latest == packed(signal, latest >> 8) && now.saturating_sub(latest >> 8) < REPEATS
}

/// A signal and the time when it came, in milliseconds, as one number.
fn packed(signal: libc::c_int, at: u64) -> u64 {
    at << 8 | u64::from(signal.cast_unsigned() & 0xff)
}

/// The bit of a signal. The watched signals are below 32.
fn bit(signal: libc::c_int) -> u32 {
    1 << (signal.cast_unsigned() % u32::BITS)
}

fn is_watched(signal: libc::c_int) -> bool {
    ENDING.contains(&signal) || signal == libc::SIGHUP
}

/// Makes the next signal count as the second one ([`Second`]). tracetui is already ending, without a first signal.
pub(super) fn end_by_next() {
    COUNT.fetch_max(1, Ordering::Relaxed);
}

pub(crate) fn asked_to_end() -> bool {
    ASKED.load(Ordering::Relaxed) != 0
}

/// The rest of a time that began with the first signal; the whole time if no signal came.
pub(super) fn time_left(of: Duration) -> Duration {
    match ASKED.load(Ordering::Relaxed) {
        0 => of,
        asked => of.saturating_sub(Duration::from_millis(now().saturating_sub(asked))),
    }
}

/// Whether a signal is for the COMMAND, in its own session. SIGXCPU is for tracetui (`ulimit -t`).
pub(super) fn is_for_command(signal: libc::c_int) -> bool {
    signal != libc::SIGXCPU
}

pub(super) fn interrupt() {
    // SAFETY: raise takes a number.
    unsafe { libc::raise(libc::SIGINT) };
}

/// Makes a file that reaches the limit of the shell (`ulimit -f`) an error of the write instead of the end of the process. Call it
/// after a COMMAND was forked, which would inherit this.
pub(crate) fn ignore_file_size() {
    // SAFETY: no handler is set.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Lets tracetui write messages to the terminal of another job (SIGTTOU), and makes a read from it an error (SIGTTIN). Call it after
/// the COMMAND was forked, which would inherit this.
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
    fn every_watched_signal_has_a_bit_of_its_own_and_repeats_are_one() {
        let watched = || ENDING.into_iter().chain([libc::SIGHUP]);
        assert_eq!(watched().map(bit).fold(0, |all, bit| all | bit).count_ones() as usize, watched().count());
        assert!(watched().all(|signal| is_watched(signal) && (1..32).contains(&signal)));
        assert!(!is_watched(libc::SIGXCPU) && !is_watched(libc::SIGTSTP));
        let latest = packed(libc::SIGTERM, 1000);
        let repeats = |signal, at| is_repeat(latest, signal, at);
        assert!(repeats(libc::SIGTERM, 1000) && repeats(libc::SIGTERM, 1000 + REPEATS - 1));
        assert!(!repeats(libc::SIGTERM, 1000 + REPEATS), "later it is another request");
        assert!(!repeats(libc::SIGINT, 1000), "another signal is another request");
        assert!(!is_repeat(0, libc::SIGTERM, 1), "the first one repeats nothing");
    }
}
