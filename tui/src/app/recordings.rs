//! The current and the finished recordings.

pub(crate) mod kept_events;

use tracetui_events::text::{counted, grouped, without_codes};

/// A current or finished recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    pub name: String,
    pub bytes: u64,
    /// The number of kept events that were evicted before they were written.
    pub evicted: u64,
}

/// The current recording, the finished ones, and why the last one failed. The methods return messages.
#[derive(Debug, Default)]
pub(crate) struct Recordings {
    pub written: Option<Recorded>,
    pub done: Vec<Recorded>,
    /// Why nothing is recorded: a recording failed, and no other one began since.
    pub failure: Option<String>,
}

impl Recordings {
    pub(super) fn begin(&mut self, name: String, kept: u64, key: &str) -> String {
        let kept = counted(kept, ["event", "events"]);
        let text = format!("recording to {name}, including {kept} kept so far; {key} stops");
        (self.written, self.failure) = (Some(Recorded { name, bytes: 0, evicted: 0 }), None);
        text
    }

    pub(super) fn wrote(&mut self, bytes: u64) {
        self.written.iter_mut().for_each(|recording| recording.bytes = bytes);
    }

    /// Notes that the recording lacks this many kept events.
    pub(super) fn evicted(&mut self, events: u64) -> Option<String> {
        self.written.as_mut()?.evicted = events;
        let evicted = counted(events, ["event was", "events were"]);
        Some(format!("{evicted} evicted from memory before being recorded"))
    }

    pub(super) fn end(&mut self, bytes: u64) -> Option<String> {
        let recording = self.written.take()?;
        let text = format!("{}: {} bytes", recording.name, grouped(bytes));
        self.done.push(Recorded { bytes, ..recording });
        Some(text)
    }

    pub(super) fn fail(&mut self, why: String) -> String {
        let text = why.strip_prefix("tracetui: ").unwrap_or(&why);
        let stopped = if self.written.take().is_some() { "recording stopped: " } else { "" };
        let text = format!("{stopped}{text}");
        self.failure = Some(without_codes(&why));
        text
    }
}
