//! Several recordings, merged by wall-clock time.

use super::{Playback, Played, Result, Step};
use crate::pipeline::Disposition;
use std::cmp::Reverse;

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
            recording.pass_on_until(limit, first, to);
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
