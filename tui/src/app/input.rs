//! The inputs and the effects of the dashboard.

use super::find::Find;
use super::replay::Recording;
use crate::frame::Batch;
use crate::store::Id;
use crate::why::{Answer, Question};
use crossterm::event::{KeyEvent, MouseEvent};
use std::time::Duration;

/// An input of the dashboard.
#[derive(Debug)]
pub enum Input {
    /// Frames arrived.
    Batch(Batch),
    /// Another part of the recording follows: all state is dropped and replaced by this one, if there is one. Whether that is the
    /// start of the recording.
    Restore(Option<Batch>, bool),
    /// What is known of the recording that is shown has changed.
    Replayed(Recording),
    /// The recording that is shown cannot be read any further, as the message says.
    ReadFailed(String),
    /// The recording was searched up to this time (CLOCK_BOOTTIME, ns).
    Finding(u64),
    /// It was searched: the time of the match, if there is one, or why it cannot be searched.
    Found(Result<Option<u64>, String>),
    /// It was looked up why the event with this id failed.
    Looked(Id, Answer),
    /// A key was pressed.
    Key(KeyEvent),
    /// A key was pressed, and another one is the next input: a text that is typed may be read when it is whole.
    KeyOfMany(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// A mouse event.
    Mouse(MouseEvent),
    /// The screen has this many columns and rows.
    Resize(u16, u16),
    /// A tick: once a second, and immediately while [`super::App::busy`].
    Tick(Tick),
    /// The process received a signal.
    Signal(Signal),
    /// Output of the COMMAND.
    Output(Vec<u8>),
    /// The COMMAND ended, with a description of its status.
    CommandEnded(String),
    /// A recording with this name began.
    Recording(String),
    /// The recording lacks this many of the kept events: they were evicted before they were written.
    KeptEvicted(u64),
    /// Bytes of the recording so far.
    Recorded(u64),
    /// The recording ended, with this many bytes.
    RecordingEnded(u64),
    /// The recording failed or cannot begin, as the message says.
    NotRecorded(String),
    /// No more frames will arrive.
    SourceEnded,
}

/// The data of a tick.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tick {
    /// Time since the start, by a monotonic clock.
    pub now: Duration,
    /// Resource usage; `None` if it was not queried this time.
    pub usage: Option<Usage>,
}

/// The resource usage of tracetui.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time since the start of the process.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
}

/// The signals that the dashboard handles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Terminate: SIGTERM, SIGHUP, SIGQUIT, SIGINT.
    End,
    /// Suspend: SIGTSTP.
    Suspend,
    /// Continue: SIGCONT.
    Continue,
}

/// An action for the event loop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Quit.
    Quit,
    /// Draw the changes.
    Redraw,
    /// Clear the screen and draw everything again.
    Clear,
    /// Copy these bytes to the terminal's clipboard.
    Copy(Vec<u8>),
    /// Start a recording, or end the one that is written.
    Record,
    /// Go to this time in the recording (CLOCK_BOOTTIME, ns): [`Input::Restore`] and frames from there follow.
    Seek(u64),
    /// Search the recording, or stop searching it: [`Input::Finding`] and [`Input::Found`] follow.
    Find(Option<Find>),
    /// Look up why the event with this id failed: [`Input::Looked`] follows.
    Look(Id, Box<Question>),
    /// Begin or end to count the runs of BPF programs.
    CountRuns(bool),
    /// Restore the terminal and stop until SIGCONT.
    Suspend,
    /// Send COMMAND's terminal these bytes, as if they were typed.
    Type(Vec<u8>),
    /// Give COMMAND's terminal this many columns and rows.
    CommandWindow(u16, u16),
}

/// Actions for the event loop, in order.
pub type Effects = Vec<Effect>;
