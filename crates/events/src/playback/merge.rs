//! Several recordings, merged by wall-clock time.

use super::{Playback, Played, Result, Step};
use crate::pipeline::Disposition;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::Kind;

/// The events that two recordings have in common, such as a trace and an excerpt of it.
#[derive(Default)]
pub(super) struct Common {
    /// The latest events, all of the same time: the recording and the header of each.
    latest: Vec<(usize, FrameHeader)>,
    /// The number of common events, for each pair of recordings.
    pub(super) counts: BTreeMap<(usize, usize), u64>,
}

impl Common {
    /// How many events of the same time are compared.
    const MOST: usize = 64;

    /// Compares a delivered event with the others of its time. Events come in order of time.
    fn compare_time(&mut self, played: &Played<'_>) {
        let header = &played.frame.header;
        if self.latest.first().is_none_or(|(_, latest)| latest.time != header.time) {
            self.latest.clear();
        }
        // The probes number the events of a CPU, so no two events of the same time have the same number.
        let place = |header: &FrameHeader| (header.kind, header.slot, header.cpu, header.seq, header.tid);
        let same = |(other, known): &&(usize, FrameHeader)| *other != played.recording && place(known) == place(header);
        if played.context.event.kind() == Kind::Lost || self.latest.len() >= Common::MOST {
            return;
        }
        if let Some((other, _)) = self.latest.iter().find(same) {
            let both = (played.recording.min(*other), played.recording.max(*other));
            *self.counts.entry(both).or_default() += 1;
        }
        self.latest.push((played.recording, *header));
    }
}

impl Playback {
    /// Delivers events of the recording with the earliest one, until another recording has an earlier event.
    pub(super) fn merge(&mut self, to: &mut dyn FnMut(&Played<'_>) -> Disposition) -> Result<Step> {
        if !std::mem::replace(&mut self.started, true) {
            (0..self.recordings.len()).try_for_each(|number| self.line_up(number))?;
        }
        let Some(Reverse((_, first))) = self.next.pop() else {
            self.recordings.iter_mut().enumerate().for_each(|(number, recording)| recording.finish(number, to));
            return Ok(Step::End);
        };
        let limit = self.next.peek().map_or(i128::MAX, |Reverse((ns, _))| *ns);
        if let Some(recording) = self.recordings.get_mut(first) {
            let common = &mut self.common;
            recording.pass_on_until(limit, first, &mut |played| {
                let taken = to(played);
                if taken == Disposition::Delivered {
                    common.compare_time(played);
                }
                taken
            });
        }
        self.line_up(first)?;
        Ok(Step::More)
    }

    /// Reads a recording up to its next event.
    fn line_up(&mut self, number: usize) -> Result<()> {
        if let Some(recording) = self.recordings.get_mut(number) {
            recording.feed_until_ready()?;
            self.next.extend(recording.next_time().map(|ns| Reverse((ns, number))));
        }
        Ok(())
    }
}
