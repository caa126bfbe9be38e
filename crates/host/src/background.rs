//! Work that nobody waits for yet. It is done in small pieces with pauses, so that it takes little time from other
//! processes.
//!
//! A niceness would not do: it applies only within a session (sched(7), autogroup), and a thread without CAP_SYS_NICE
//! cannot restore it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time of a piece of work.
const PIECE: Duration = Duration::from_micros(500);

/// The pause after a piece, as a multiple of its time. At most [`LONGEST`].
const PAUSE: u32 = 9;

/// The longest pause. On a busy machine a piece takes longer, because it waits for a processor.
const LONGEST: Duration = Duration::from_millis(20);

/// Whether work has pauses.
#[derive(Debug, Default)]
pub struct Pace {
    hurried: Mutex<bool>,
    changed: Condvar,
}

impl Pace {
    /// Ends the pauses, because somebody waits for the result.
    pub fn hurry(&self) {
        *self.hurried.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// From now on the work has pauses again.
    pub fn calm(&self) {
        *self.hurried.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn pause(&self, time: Duration) {
        let hurried = self.hurried.lock().unwrap_or_else(PoisonError::into_inner);
        // An error means that another thread panicked.
        let _ = self.changed.wait_timeout_while(hurried, time, |hurried| !*hurried);
    }
}

/// Work in pieces. Without a pace it has no pauses.
#[derive(Debug)]
pub struct Pieces<'a> {
    pace: Option<&'a Pace>,
    began: Instant,
}

impl<'a> Pieces<'a> {
    pub fn new(pace: Option<&'a Pace>) -> Pieces<'a> {
        Pieces { pace, began: Instant::now() }
    }

    /// Pauses if a piece is done. Call this every few microseconds of work.
    pub fn rest(&mut self) {
        let Some(pace) = self.pace else { return };
        let worked = self.began.elapsed();
        if worked >= PIECE {
            pace.pause((worked * PAUSE).min(LONGEST));
            self.began = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// The time that this number of pieces takes.
    fn work(pace: Option<&Pace>, pieces: u32) -> Duration {
        let began = Instant::now();
        let mut work = Pieces::new(pace);
        for _ in 0..pieces {
            let piece = Instant::now();
            while piece.elapsed() < PIECE {
                std::hint::spin_loop();
            }
            work.rest();
        }
        began.elapsed()
    }

    #[test]
    fn calm_work_has_pauses_that_a_hurry_ends() {
        assert!(work(Some(&Pace::default()), 10) >= (1 + PAUSE) * 10 * PIECE);
        const LONG: Duration = Duration::from_secs(600);
        let pace = Arc::new(Pace::default());
        let other = Arc::clone(&pace);
        let began = Instant::now();
        let worker = std::thread::spawn(move || other.pause(LONG));
        pace.hurry();
        worker.join().expect("no panic");
        pace.pause(LONG);
        assert!(began.elapsed() < LONG);
        pace.calm();
        assert!(work(Some(&pace), 2) >= (1 + PAUSE) * 2 * PIECE);
    }
}
