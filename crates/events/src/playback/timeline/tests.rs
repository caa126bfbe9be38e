use super::super::testing::{Scratch, batches, write};
use super::*;
use crate::event::EventContext;
use crate::frame::FrameRef;
use crate::frame::host::{HostFrame, Trace};
use crate::pipeline::{Disposition, Pipeline};
use std::fs;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

fn opened(files: &[PathBuf]) -> Timeline {
    let input = Files::open(files, "several").expect("recordings");
    Timeline::new(input, Budget::default()).expect("recordings").0
}

/// The times of the events from a place on, and whether that is the start.
fn events(timeline: &Timeline, place: (usize, u64)) -> (Vec<u64>, bool) {
    let StartPoint { state, from_start, mut rest } = timeline.read_from(place).expect("readable");
    let mut pipeline = Pipeline::default();
    state.iter().for_each(|state| pipeline.restore(state));
    let mut times = Vec::new();
    let mut note = |seen: &EventContext<'_>, _: &FrameRef<'_>| {
        times.push(seen.event.header.time.0);
        Disposition::Delivered
    };
    while let Some(Next::Frames(batch)) = rest.read_next().expect("readable") {
        pipeline.feed(batch);
        pipeline.next(None, &mut note);
    }
    pipeline.end();
    pipeline.next(None, &mut note);
    (times, from_start)
}

#[test]
fn the_files_of_a_trace_are_one_recording() {
    let dir = Scratch::new("timeline-files");
    let (one, mut parts) = (write(&dir, "one", &batches(), usize::MAX), write(&dir, "part", &batches(), 9));
    let (whole, one) = (events(&opened(&one), START), opened(&one).facts());
    let later = opened(&parts[1..]).facts();
    assert_eq!((later.end, later.events < one.events), (End::StartsLate, true));
    parts.rotate_left(2);
    let opened = opened(&parts);
    let recording = opened.facts();
    assert_eq!((recording.span, recording.events, recording.lost), (one.span, one.events, one.lost));
    assert_eq!((recording.end, recording.name.ends_with("and 4 more")), (End::Complete, true));
    assert_eq!(events(&opened, START), whole);
    for at in 1..parts.len() {
        let (rest, from_start) = events(&opened, (at, HEADER as u64));
        assert!(whole.0.ends_with(&rest) && rest.len() < whole.0.len() && !from_start, "{at}");
    }
    // Times count from the first event that is shown, as `print --from` counts.
    let dir = Scratch::new("timeline-first");
    let mut batches = batches();
    batches[0] = Batch::default();
    let trace = Trace { kinds: Kind::Open.bit(), ..Trace::default() };
    HostFrame::Trace(trace).push(BootNanos(0), &mut batches[0]);
    let files = write(&dir, "one", &batches, usize::MAX);
    let opened = self::opened(&files);
    let open = batches.iter().flat_map(Batch::frames).find(|frame| frame.header.kind == Kind::Open as u16);
    let first = open.expect("an open").header.time.0;
    assert!(opened.totals().first_ns < first, "a fork is before it");
    assert_eq!(opened.facts().span.map(|(start, _)| start), Some(first));
    // A recording without an end ends early.
    let first = fs::read(&files[0]).expect("there");
    fs::write(&files[0], &first[..first.len() / 2]).expect("room");
    assert_eq!(self::opened(&files).facts().end, End::Early);
}
