//! Searches a recording on a thread: for a row that a replay has not loaded.

use super::background::{Background, Progress};
use crate::app::Input;
use crate::app::search::{Find, Pattern, Way};
use anyhow::Result;
use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracetui_events::budget::Budget;
use tracetui_events::filter::{FilterOptions, Scratch};
use tracetui_events::pipeline::Disposition;
use tracetui_events::playback::{Playback, Played, Step, both_filters};
use tracetui_events::recording::file::RecordingFile;
use tracetui_shared::kind::{Kind, KindSet};

const SECOND: u64 = 1_000_000_000;

/// The time between two progress messages.
const EVERY: Duration = Duration::from_millis(100);

/// Starts a search of the files of one trace, in their order. The last message is [`Input::Found`].
pub(super) fn start(files: Vec<(PathBuf, RecordingFile)>, budget: Budget, find: Find) -> io::Result<Background> {
    let run = move |progress: &Progress| {
        let found = Search { files: &files, budget, find: &find, progress, sent: Instant::now() }.run();
        Input::Found(found.map_err(|error| format!("{error:#}")))
    };
    Ok(Background::start("find", run)?.0)
}

struct Search<'a> {
    files: &'a [(PathBuf, RecordingFile)],
    budget: Budget,
    find: &'a Find,
    progress: &'a Progress,
    sent: Instant,
}

impl Search<'_> {
    /// The time of the first match, or of the last one.
    fn run(&mut self) -> Result<Option<u64>> {
        let (from, mut to) = (self.find.from_ns, self.find.to_ns);
        if self.find.way == Way::Down {
            return self.between(from, to);
        }
        // Backwards in longer and longer parts, of which each is read forwards.
        let mut length = SECOND;
        while to >= from && !self.progress.is_stopped() {
            let start = to.saturating_sub(length).max(from);
            let found = self.between(start, to)?;
            if found.is_some() || start == from {
                return Ok(found);
            }
            to = start - 1;
            length = length.saturating_mul(4);
        }
        Ok(None)
    }

    /// The first match in a time span, or the last one.
    fn between(&mut self, from: u64, to: u64) -> Result<Option<u64>> {
        let mut playback = Playback::of(self.files, &self.filters(), self.budget)?;
        let (way, pattern) = (self.find.way, self.find.pattern.as_ref());
        if let Some(text) = pattern.and_then(Pattern::marked).and_then(|regex| literal(regex.as_str())) {
            playback.containing(&text);
        }
        playback.within(from, to);
        let (found, mut buffers) = (Cell::new(None), (Vec::new(), Scratch::default()));
        let mut take = |played: &Played<'_>| {
            if (found.get().is_none() || way == Way::Up)
                && pattern.is_none_or(|pattern| pattern.matches(played.context, &mut buffers))
            {
                found.set(Some(played.context.event.header.time.0));
            }
            Disposition::Filtered
        };
        while playback.step(&mut take)? == Step::More && playback.reached_ns() <= to {
            if self.progress.is_stopped() || found.get().is_some() && way == Way::Down {
                break;
            }
            self.send_progress(if way == Way::Down { playback.reached_ns() } else { from });
        }
        Ok(found.get())
    }

    fn filters(&self) -> FilterOptions {
        let Find { filter, kinds, failures, pattern, .. } = self.find;
        let (terms, lost) = match pattern {
            Some(Pattern::Terms(terms)) => (terms.text(), KindSet::NONE),
            _ => ("", Kind::Lost.into()),
        };
        let filter = Some(both_filters(filter, terms)).filter(|text| !text.is_empty());
        let kind = (*kinds | lost).iter().map(|kind| kind.name().to_owned()).collect();
        FilterOptions { kind, failed: *failures, filter: filter.into_iter().collect(), ..FilterOptions::default() }
    }

    fn send_progress(&mut self, ns: u64) {
        if self.sent.elapsed() >= EVERY {
            self.sent = Instant::now();
            self.progress.send(Input::Finding(ns));
        }
    }
}

/// A text with the parts of each match of a regex, and blanks between them. `None` if the regex has other operators than the dot.
fn literal(regex: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" _-/.".contains(&byte);
    regex.bytes().all(plain).then(|| regex.replace('.', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::{Scratch, write};
    use regex::bytes::Regex;
    use std::fs::File;
    use std::path::Path;
    use tracetui_events::frame::Batch;
    use tracetui_events::pipeline::Pipeline;
    use tracetui_events::recording::Writer;
    use tracetui_events::recording::block::FileHeader;
    use tracetui_events::synthetic::Maker;

    /// 4,000 opens, 10 ms apart, in batches of 100; every thousandth has another comm. Their times.
    fn batches() -> (Vec<Batch>, Vec<u64>) {
        let mut maker = Maker { step_ns: 10_000_000, ..Maker::default() };
        let (mut batches, mut times) = (Vec::new(), Vec::new());
        for number in 0..4000 {
            let rare = number % 1000 == 500;
            maker.open(1 + number % 9, if rare { "rare" } else { "cat" }, &format!("/file-{number}"), 3);
            times.extend(rare.then_some(maker.ns));
            if number % 100 == 99 {
                batches.push(maker.batch());
            }
        }
        (batches, times)
    }

    fn write_with_states(path: &Path, batches: &[Batch]) {
        let mut writer = Writer::new(File::create(path).expect("room"), &FileHeader::new([3; 16], 0)).expect("room");
        let mut pipeline = Pipeline::default();
        for batch in batches {
            writer.batch(batch.bytes()).expect("room");
            pipeline.feed(batch.clone());
            pipeline.next(None, &mut |_, _| Disposition::Delivered);
            writer.state(&pipeline.state()).expect("room");
        }
        pipeline.end();
        pipeline.next(None, &mut |_, _| Disposition::Delivered);
        writer.end(&pipeline.state()).expect("room");
    }

    #[test]
    fn the_next_and_the_previous_match_are_found() {
        let dir = Scratch::new("find");
        let (batches, times) = batches();
        let one = dir.join("one");
        write_with_states(&one, &batches);
        check_finds(&[one], &times);
        let parts = write(&dir, "part", &batches, 9);
        assert_eq!(parts.len(), 5);
        check_finds(&parts, &times);
    }

    #[track_caller]
    fn check_finds(files: &[PathBuf], times: &[u64]) {
        let open = |path: &PathBuf| RecordingFile::open(File::open(path).expect("there")).expect("a recording");
        let files: Vec<_> = files.iter().map(|path| (path.clone(), open(path))).collect();
        let names = tracetui_events::filter::NoNames;
        let terms = |text| {
            Some(Pattern::Terms(Box::new(tracetui_events::filter::Filter::parse(text, &names).expect("a filter"))))
        };
        let text = Some(Pattern::Text(Regex::new(" rare ").expect("a regex")));
        let check = |way, from_ns, to_ns, pattern: &Option<Pattern>, filter: &str, expected| {
            let (pattern, filter) = (pattern.clone(), filter.to_owned());
            let find = Find { way, from_ns, to_ns, pattern, filter, kinds: KindSet::BY_DEFAULT, failures: false };
            let (_running, progress) = Background::new();
            let (budget, sent) = (Budget::default(), Instant::now());
            let found = Search { files: &files, budget, find: &find, progress: &progress, sent }.run();
            assert_eq!(found.expect("readable"), expected, "{find:?}");
        };
        for (pattern, filter) in
            [(terms("comm=rare"), ""), (text, ""), (None, "comm=rare"), (terms("comm=rare"), "pid>0")]
        {
            check(Way::Down, 0, u64::MAX, &pattern, filter, Some(times[0]));
            check(Way::Down, times[0] + 1, u64::MAX, &pattern, filter, Some(times[1]));
            check(Way::Down, times[3] + 1, u64::MAX, &pattern, filter, None);
            check(Way::Up, 0, times[3] + 10_000_000_000, &pattern, filter, Some(times[3]));
            check(Way::Up, 0, times[3] - 1, &pattern, filter, Some(times[2]));
            check(Way::Up, 0, times[0] - 1, &pattern, filter, None);
        }
        check(Way::Down, 0, u64::MAX, &terms("comm=rare"), "comm=cat", None);
        let regex = |text| Some(Pattern::Text(Regex::new(text).expect("a regex")));
        for (text, found) in
            [("rar. ", true), ("(?i)RARE", true), ("ra[qr]e", true), ("rarely", false), ("rar.ly", false)]
        {
            check(Way::Down, 0, u64::MAX, &regex(text), "", found.then_some(times[0]));
        }
    }
}
