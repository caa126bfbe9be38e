use super::testing::{Scratch, batches, write, write_blocks};
use super::*;
use crate::recording::block::Contents;
use crate::synthetic::Maker;
use std::fs::{self, File};
use tracetui_shared::kind::Kind;

fn read(files: &[PathBuf], filter: &str) -> (Vec<String>, Playback) {
    let filters = FilterOptions { filter: vec![filter.to_owned()], ..FilterOptions::default() };
    let mut playback = Playback::open(files, &filters, Budget::default()).expect("recordings");
    let mut lines = Vec::new();
    let mut take = |played: &Played<'_>| {
        let process = played.context.process.map(|process| (process.key, process.execs, process.parent));
        lines.push(format!("{:?} {process:?}", played.frame.header));
        Disposition::Delivered
    };
    while playback.step(&mut take).expect("readable") == Step::More {}
    (lines, playback)
}

#[test]
fn the_files_of_a_trace_are_read_as_one() {
    check_files(5);
    // The last file has no frames.
    assert!(batches().len().is_multiple_of(7));
    check_files(7);
    // A file whose end was not written is not read twice.
    let dir = Scratch::new("playback-cut");
    let batches = batches();
    let (whole, _) = read(&write(&dir, "one", &batches, usize::MAX), "");
    let parts = write(&dir, "part", &batches, 20);
    // Killed after the second file was begun. The first file has its frames but no end.
    let first = fs::read(&parts[0]).expect("there");
    let mut ends = None;
    for length in (64..first.len()).rev().step_by(61) {
        fs::write(&parts[0], &first[..length]).expect("room");
        let (lines, playback) = read(&parts, "");
        assert!(lines.len() <= whole.len(), "{length}");
        let mut rest = whole.iter();
        assert!(lines.iter().all(|line| rest.any(|other| other == line)), "{length}");
        if playback.ended_early() && lines == whole {
            ends = Some(length);
        }
        if length + 3_000 < first.len() {
            break;
        }
    }
    assert!(ends.is_some());
}

#[track_caller]
fn check_files(batches_in_file: usize) {
    let dir = Scratch::new(&format!("playback-{batches_in_file}"));
    let batches = batches();
    let one = write(&dir, "one", &batches, usize::MAX);
    let mut parts = write(&dir, "part", &batches, batches_in_file);
    for filter in ["", "comm=sh", "tree=101"] {
        let (whole, one) = read(&one, filter);
        assert!(!whole.is_empty() && !one.goes_on() && one.recordings()[0].part().is_none());
        let (lines, playback) = read(&parts, filter);
        assert!(lines == whole, "{filter}");
        assert_eq!(playback.account(), one.account(), "{filter}");
        assert!(!playback.goes_on() && !playback.ended_early() && playback.recordings().len() == 1);
        // In any order of names.
        parts.rotate_left(3);
        assert!(read(&parts, filter).0 == whole, "{filter}");
        parts.sort();
    }
    let (whole, one) = read(&one, "");
    // Each by itself: nothing twice, nothing missing.
    let each: Vec<_> = parts.iter().map(|part| read(std::slice::from_ref(part), "")).collect();
    assert!(each.iter().flat_map(|(lines, _)| lines).eq(&whole));
    assert!(each.iter().rev().skip(1).all(|(_, playback)| playback.goes_on()));
    let last = &each[each.len() - 1].1;
    assert!(!last.goes_on());
    assert_eq!(last.recordings()[0].part(), Some((parts.len() as u32 - 1, false)));
    // Without some of the files, the others are unchanged.
    let some: Vec<_> = parts.iter().enumerate().filter(|(number, _)| ![0, 3, 4].contains(number)).collect();
    let (lines, _) = read(&some.iter().map(|(_, part)| (*part).clone()).collect::<Vec<_>>(), "");
    assert!(some.iter().flat_map(|(number, _)| &each[*number].0).eq(&lines));
    check_accounts(&parts, &one.account());
    // A copy of a file is read too; a file that is given twice is an error.
    let copy = dir.join("copy");
    fs::copy(&parts[1], &copy).expect("room");
    let (lines, playback) = read(&[&parts[..2], &[copy]].concat(), "");
    assert_eq!((lines.len(), playback.recordings().len()), (each[0].0.len() + 2 * each[1].0.len(), 2));
    let link = dir.join("link");
    std::os::unix::fs::symlink(&parts[1], &link).expect("room");
    for (other, text) in [(&parts[1], "is given twice"), (&link, "are the same file")] {
        let files = [parts[1].clone(), other.clone()];
        let refused = Playback::open(&files, &FilterOptions::default(), Budget::default()).err().expect("bad usage");
        assert!(refused.to_string().contains(text) && matches!(refused, Error::Usage(_)), "{refused}");
    }
}

fn events_of(lines: &[String]) -> u64 {
    lines.iter().filter(|line| !line.contains(" kind: 6,")).count() as u64
}

/// The account of some files of a trace is that of the printed events, even under a filter.
fn check_accounts(parts: &[PathBuf], whole: &Account) {
    let numbers = 0..parts.len();
    let some = |wanted: &dyn Fn(usize) -> bool| -> Vec<PathBuf> {
        numbers.clone().filter(|number| wanted(*number)).map(|number| parts[number].clone()).collect()
    };
    for filter in ["", "comm=sh", "kind=exec"] {
        let of = |files: &[PathBuf]| {
            let (lines, playback) = read(files, filter);
            let account = playback.account();
            let sum = account.sum();
            assert_eq!((sum.delivered, sum.off_by()), (events_of(&lines), 0), "{filter}: {account:?}");
            (account, playback)
        };
        // All the files, each by itself, are the trace.
        let each: Vec<_> = parts.iter().map(|part| of(std::slice::from_ref(part)).0).collect();
        let all = of(parts).0;
        let mut sum = each.iter().fold(Account::default(), |sum, account| sum.and(account));
        sum.not_read = 0;
        assert_eq!(sum, all, "{filter}");
        assert_eq!((all.not_read, all.sum().seen), (0, whole.sum().seen), "{filter}");
        let events = |number: usize| events_of(&read(&parts[number..=number], "").0);
        for (what, wanted) in [
            ("the newest", (&|number: usize| number > 2) as &dyn Fn(usize) -> bool),
            ("some", &|number| ![0, 3, 4].contains(&number)),
            ("the first and the last", &|number| number == 0 || number + 1 == parts.len()),
        ] {
            let (account, playback) = of(&some(wanted));
            let elsewhere: u64 = numbers.clone().filter(|number| !wanted(*number)).map(events).sum();
            assert_eq!(account.not_read, elsewhere, "{what} {filter}");
            assert!(!playback.goes_on() && account.discrepancies.is_empty());
            let read = numbers.clone().filter(|number| wanted(*number)).map(|number| &each[number]);
            let mut sum = read.fold(Account::default(), |sum, account| sum.and(account));
            sum.not_read = elsewhere;
            assert_eq!(sum, account, "{what} {filter}");
        }
    }
}

#[test]
fn a_time_span_is_in_order_and_only_a_whole_file_is_passed_over() {
    let moment = |text: &str| Moment::parse(text).expect("a moment");
    let start = Some((1_795_183_331_000_000_000, 1_795_183_631_000_000_000)); // 14:02:11 to 14:07:11 UTC
    for (from, to, start, refused) in [
        ("3s", "1s", start, true),
        ("3s", "3s", start, false),
        ("3s", "1s", None, true),
        ("14:05:00", "14:04:00", start, true),
        ("14:05:00", "14:01:00", start, true),
        ("14:00:00", "15:00:00", start, false),
        ("2026-11-20 14:05", "2026-11-20T14:04:00Z", None, true),
        ("14:05:00", "14:04:00", None, false),
        ("1h", "14:03:00", start, true),
        ("1h", "14:03:00", None, false),
        ("2026-11-20T14:05:00Z", "2026-11-20T14:04:00Z", None, true),
    ] {
        let checked = check_order(moment(from), moment(to), start, Zone::UTC);
        assert_eq!(checked.is_err(), refused, "{from} {to}");
        let is_usage = |error: Error| matches!(error, Error::Usage(_)) && error.to_string().contains("--to");
        assert!(checked.err().is_none_or(is_usage));
    }
    // Only a whole file is passed over.
    let dir = Scratch::new("playback-over");
    let (one, parts) = (write(&dir, "one", &batches(), usize::MAX), write(&dir, "part", &batches(), 9));
    let filters = FilterOptions { filter: vec!["comm=nobody".to_owned()], ..FilterOptions::default() };
    let skips = |files: &[PathBuf]| {
        let mut playback = Playback::open(files, &filters, Budget::default()).expect("recordings");
        let before = playback.recordings[0].skip.is_some();
        playback.between(Some(Moment::Since(0)), None, Zone::UTC).expect("a time span");
        (before, playback.recordings[0].skip.is_some())
    };
    assert_eq!(skips(&one), (true, true));
    assert_eq!(skips(&parts), (false, false));
    assert_eq!(skips(&parts[1..2]), (false, false));
    let file = File::options().write(true).open(&one[0]).expect("there");
    file.set_len(file.metadata().expect("there").len() / 2).expect("ours");
    assert_eq!(skips(&one), (false, false));
}

#[test]
fn what_was_in_a_damaged_block_is_counted() {
    let dir = Scratch::new("playback-damage");
    let (path, damaged) = (dir.join("whole"), dir.join("damaged"));
    let blocks = write_blocks(&path, &batches());
    let (whole, before) = read(std::slice::from_ref(&path), "");
    let seen = before.account().sum().seen;
    assert!(blocks.len() > 9 && seen > 1000, "{blocks:?}");
    let bytes = fs::read(&path).expect("there");
    for (number, (at, contents)) in blocks.iter().enumerate() {
        // The last block has no payload.
        for place in [at + 2, at + 70].into_iter().filter(|place| *place < bytes.len() as u64) {
            let mut changed = bytes.clone();
            changed[place as usize] ^= 1;
            fs::write(&damaged, &changed).expect("room");
            let (lines, playback) = read(std::slice::from_ref(&damaged), "");
            let sum = playback.account().sum();
            // The last block without a header looks like an end.
            let frames = *contents == Contents::Frames;
            let last = number + 1 == blocks.len() && place == at + 2;
            assert_eq!(playback.damaged(), !last, "{place}");
            assert_eq!((sum.seen, sum.off_by()), (seen, 0), "{place} of {contents:?}: {sum:?}");
            assert_eq!(sum.lost.read > 0, frames, "{place} of {contents:?}");
            assert!(lines.len() <= whole.len() && !playback.recordings()[0].lost_unknown(), "{place}");
        }
    }
    // Without a state after it, the contents of the last block of frames are unknown.
    let ends: Vec<_> = blocks.iter().filter(|(_, contents)| !matches!(contents, Contents::State)).collect();
    let mut changed = bytes;
    for (at, contents) in &ends[ends.len() - 5..] {
        let place = if *contents == Contents::Summary { continue } else { at + 70 };
        changed[place as usize] ^= 1;
    }
    fs::write(&damaged, &changed).expect("room");
    let (_, playback) = read(std::slice::from_ref(&damaged), "");
    let sum = playback.account().sum();
    assert!(playback.recordings()[0].lost_unknown() && sum.off_by() == 0 && sum.seen < seen, "{sum:?}");
}

#[test]
fn a_loss_is_in_each_time_span_that_it_may_be_in() {
    let dir = Scratch::new("playback-loss");
    let mut made = Maker::default();
    let at = [0, 1000, 3000].map(|ms| {
        made.ns += ms * 1_000_000;
        made.open(1, "x", "/x", 3);
        if ms == 0 {
            made.lose(5);
        }
        made.ns
    });
    let files = write(&dir, "one", &[made.batch()], usize::MAX);
    let lost = |from_ms: u64, to_ms: u64| {
        let mut playback = Playback::open(&files, &FilterOptions::default(), Budget::default()).expect("a recording");
        let since = |ms: u64| Some(Moment::Since(ms * 1_000_000));
        playback.between(since(from_ms), since(to_ms), Zone::UTC).expect("a time span");
        let mut lost = 0;
        let mut take = |played: &Played<'_>| {
            lost += u32::from(played.context.event.kind() == Kind::Lost);
            Disposition::Delivered
        };
        while playback.step(&mut take).expect("readable") == Step::More {}
        lost
    };
    assert!(at[1] - at[0] >= 1_000_000_000);
    assert_eq!([(0, 100), (300, 600), (900, 1500), (1500, 2000)].map(|(from, to)| lost(from, to)), [1, 1, 1, 0]);
}
