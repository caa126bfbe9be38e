//! The inputs and the effects of the dashboard.

use super::keys::device::{KeyEvent, MouseEvent};
use super::search::Find;
pub use super::views::diff::result::Compared;
use std::time::Duration;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::frame::Batch;
use tracetui_events::store::Id;
use tracetui_events::why::{Answer, Lookup};

#[derive(Debug)]
pub enum Input {
    Batch(Batch),
    /// Another part of the recording, with its state if there is one, replaces all state. The flag: whether it is at the start.
    Restore(Option<Batch>, bool),
    /// Reading the shown recording cannot continue, for the reason in the message.
    ReadFailed(String),
    /// The search has read the recording up to this time (CLOCK_BOOTTIME, ns).
    Finding(u64),
    /// The search ended: with the time of the match, if there is one, or with the reason why the recording cannot be searched.
    Found(Result<Option<u64>, String>),
    /// How much of both runs the comparison has read, in percent.
    Comparing([u8; 2]),
    /// The comparison ended: with its result, or with the reason why there is none.
    Compared(Result<Box<Compared>, String>),
    /// The lookup of why the event with this id failed has ended.
    Looked(Id, Answer),
    Key(KeyEvent),
    Paste(String),
    Mouse(MouseEvent),
    /// The screen has this many columns and rows.
    Resize(u16, u16),
    /// A tick: once a second, and immediately while [`super::App::busy`].
    Tick(Tick),
    Signal(Signal),
    Output(Vec<u8>),
    /// The COMMAND ended, with a description of its status.
    CommandEnded(String),
    RunsAgain(bool),
    Recording(String),
    /// The recording lacks this many of the kept events, because they were evicted before they were written.
    KeptEvicted(u64),
    /// The size of the recording so far, in bytes.
    Recorded(u64),
    /// The recording ended at this size in bytes.
    RecordingEnded(u64),
    /// The recording failed or cannot begin, for the reason in the message.
    NotRecorded(String),
    /// No more frames will arrive.
    SourceEnded,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Tick {
    /// Time since the start, by a monotonic clock.
    pub now: Duration,
    /// Resource usage; `None` if it was not queried this time.
    pub usage: Option<Usage>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time since the start of the process.
    pub cpu: Duration,
    /// Resident memory in bytes: of tracetui RssAnon, of other processes RSS (proc(5)).
    pub resident: u64,
}

/// What a running process used when it was measured last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Measurement {
    /// When, by the clock of [`Tick`].
    at: Duration,
    cpu: Duration,
    /// The share of a CPU in thousandths since the measurement before; `None` if it is the first.
    pub permille: Option<u64>,
    /// Resident memory in bytes.
    pub resident: u64,
}

impl Measurement {
    /// `before`: the measurement before.
    pub(crate) fn of(usage: Usage, at: Duration, before: Option<Measurement>) -> Measurement {
        let share = |before: Measurement| {
            let passed = at.checked_sub(before.at)?.as_millis() as u64;
            (usage.cpu.saturating_sub(before.cpu).as_micros() as u64).checked_div(passed)
        };
        Measurement { at, cpu: usage.cpu, permille: before.and_then(share), resident: usage.resident }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Terminate: SIGTERM, SIGHUP, SIGQUIT, SIGINT.
    End,
    /// Suspend: SIGTSTP.
    Suspend,
    /// Continue: SIGCONT.
    Continue,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    Quit,
    Redraw,
    /// Clear the screen and draw everything again.
    Clear,
    Copy(Vec<u8>),
    Bell,
    /// Start a recording, or end the running one.
    Record,
    /// Go to this time in the recording (CLOCK_BOOTTIME, ns): [`Input::Restore`] and frames from there follow.
    Seek(u64),
    /// Search the recording, or stop searching it: [`Input::Finding`] and [`Input::Found`] follow.
    Find(Option<Find>),
    /// Look up why the event with this id failed: [`Input::Looked`] follows.
    Look(Id, Box<Lookup>),
    CountRuns(bool),
    /// Read what these processes use: [`App::measured`](super::App::measured) follows.
    Measure(Vec<ProcessKey>),
    /// Compare the trace with this recording, or stop comparing: [`Input::Comparing`] and [`Input::Compared`] follow.
    Compare(Option<String>),
    /// Restore the terminal and stop until SIGCONT.
    Suspend,
    /// Send these bytes to COMMAND's terminal as if they were typed.
    Type(Vec<u8>),
    /// Run COMMAND again: [`Input::RunsAgain`] follows.
    RunAgain,
}

pub type Effects = Vec<Effect>;
