//! What comes into the dashboard, and what it wants done.

use crate::frame::Batch;
use crossterm::event::{KeyEvent, MouseEvent};
use std::time::Duration;

/// Everything that can happen to the dashboard.
#[derive(Debug)]
pub enum Input {
    /// Frames came.
    Batch(Batch),
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse did something.
    Mouse(MouseEvent),
    /// The screen has this many columns and rows.
    Resize(u16, u16),
    /// Time went on. Comes once a second, and at once while [`super::App::busy`].
    Tick(Tick),
    /// The process was told something.
    Signal(Signal),
    /// The COMMAND wrote.
    Output(Vec<u8>),
    /// The COMMAND ended, like this.
    CommandEnded(String),
    /// No more frames will come.
    SourceEnded,
}

/// What the loop knows at a tick.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tick {
    /// Since the start, by a clock that never steps.
    pub now: Duration,
    /// What the process uses; `None` when it was not asked this time.
    pub usage: Option<Usage>,
}

/// What the process uses itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time so far.
    pub cpu: Duration,
    /// Resident bytes.
    pub resident: u64,
}

/// Signals that the dashboard answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Come to an end: SIGTERM, SIGHUP, SIGQUIT, SIGINT.
    End,
    /// Go to the background: SIGTSTP.
    Suspend,
    /// Back in the foreground: SIGCONT.
    Continue,
}

/// What the loop is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Leave.
    Quit,
    /// Draw what changed.
    Redraw,
    /// Draw everything again on a cleared screen.
    Clear,
    /// Hand these bytes to the terminal's clipboard.
    Copy(Vec<u8>),
    /// Give the terminal back and stop until continued.
    Suspend,
}

/// What the loop is to do, in order.
pub type Effects = Vec<Effect>;
