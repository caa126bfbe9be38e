//! What is done with frames and recordings from outside: they are printed, written and read again, and replayed. The fuzz targets
//! and the integration tests use it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use tracetui_events::budget::Budget;
use tracetui_events::event::EventContext;
use tracetui_events::filter::FilterOptions;
use tracetui_events::frame::{Batch, FrameRef, Frames};
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::playback::{Playback, Step};
use tracetui_events::recording::block::{BATCH_END, FileHeader, ThreadReader};
use tracetui_events::recording::frames::{FrameReader, Next};
use tracetui_events::recording::{Item, Map, Reader, Writer};
use tracetui_events::sink::{FormatName, Sink, to_writer};
use tracetui_export::perfetto::Perfetto;
use tracetui_export::{Options, Parquet};
use tracetui_shared::id::Tgid;

/// Prints batches in every format. Returns the lines of JSON and the account, for the caller to parse.
pub(crate) fn printed(batches: &[Batch]) -> String {
    let [json, ..] = [FormatName::Json, FormatName::Text, FormatName::Csv].map(|format| lines(batches, format, None));
    let sinks: [Box<dyn Sink>; 2] = [
        Box::new(Parquet::new(io::sink(), Options::default()).expect("room")),
        Box::new(Perfetto::new(Box::new(io::sink()))),
    ];
    sinks.into_iter().for_each(|sink| _ = print_to(batches, sink, None));
    json
}

/// What is printed of batches, and the account. At batch `restored`, the pipeline is replaced by one that starts from its state.
pub(crate) fn lines(batches: &[Batch], format: FormatName, restored: Option<usize>) -> String {
    let mut out = Vec::new();
    let account = print_to(batches, to_writer(format, &mut out), restored);
    let text = String::from_utf8(out).expect("UTF-8");
    // CSV contains names unescaped, but quoted: it is for programs.
    assert!(format == FormatName::Csv || !text.contains(is_control), "a control character in {text:?}");
    text + &account
}

fn print_to(batches: &[Batch], mut sink: Box<dyn Sink + '_>, restored: Option<usize>) -> String {
    let mut pipeline = Pipeline::default();
    let mut take = |seen: &EventContext<'_>, _: &FrameRef<'_>| show(seen, &mut *sink);
    for (number, batch) in batches.iter().enumerate() {
        if restored == Some(number) {
            let state = pipeline.state();
            pipeline = Pipeline::default();
            pipeline.restore(&state);
        }
        pipeline.feed(batch.clone());
        pipeline.next(None, &mut take);
    }
    pipeline.end();
    pipeline.next(None, &mut take);
    sink.finish().expect("it takes everything");
    drop(sink);
    pipeline.account().json()
}

fn show(seen: &EventContext<'_>, sink: &mut dyn Sink) -> Disposition {
    if let Some(process) = seen.process {
        seen.world.in_tree(process, Tgid(8));
    }
    sink.event(seen).expect("it takes everything");
    Disposition::Delivered
}

/// Checks that a recording gives back the frames.
pub(crate) fn recorded(bytes: &[u8]) {
    let mut writer = Writer::new(Vec::new(), &FileHeader::new([1; 16], 7)).expect("memory");
    writer.batch(bytes).expect("memory");
    let (file, _) = writer.end(&Batch::default()).expect("memory");
    let mut reader = Reader::new(&file[..]).expect("a recording");
    let mut read = Vec::new();
    while let Some(item) = reader.next().expect("readable") {
        match item {
            Item::Batch(batch) => read.extend_from_slice(batch.bytes()),
            Item::Hole(hole) => panic!("{hole:?}"),
            Item::State(_) | Item::End(_) => {}
        }
    }
    let mut whole = Batch::default();
    Frames::of(bytes).for_each(|frame| whole.append(frame.bytes));
    // A frame of the kind that ends batches is taken for one.
    assert!(Frames::of(bytes).any(|frame| frame.header.kind == BATCH_END) || read == whole.bytes());
}

/// What is printed of a recording, and the account.
pub(crate) fn recording(bytes: &[u8]) -> String {
    let Ok(mut frames) = FrameReader::new(bytes) else { return String::new() };
    let (mut pipeline, mut out) = (Pipeline::default(), Vec::new());
    let mut sink = to_writer(FormatName::Json, &mut out);
    let mut take = |seen: &EventContext<'_>, _: &FrameRef<'_>| show(seen, &mut *sink);
    while let Some(next) = frames.next().expect("readable") {
        match next {
            Next::State(state) => pipeline.restore(&state),
            Next::Frames(batch) => pipeline.feed(batch),
        }
        pipeline.next(None, &mut take);
    }
    pipeline.end();
    pipeline.next(None, &mut take);
    sink.finish().expect("it takes everything");
    drop(sink);
    let text = String::from_utf8(out).expect("UTF-8");
    assert!(!text.contains(is_control), "a control character in {text:?}");
    text + &pipeline.account().json()
}

/// Reads a recording as a replay and a search do.
pub(crate) fn walk(bytes: &[u8]) {
    let mut file = File::from(rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC).expect("a file"));
    file.write_all(bytes).expect("room");
    let Ok(map) = Map::open(file) else { return };
    for (at, _) in map.spine().expect("readable").iter().take(64) {
        let (mut unsealer, mut threads) = (map.file.unsealer_at(u64::MAX), ThreadReader::default());
        for entry in map.index_block(*at).expect("readable").unwrap_or_default().entries {
            map.frames(&entry, &mut unsealer).expect("readable");
            map.threads(&entry, &mut threads).expect("readable");
        }
    }
    for ns in [0, 1, map.totals.last_ns, 100_010_000_000, u64::MAX] {
        if let Some(at) = map.state_before(ns).expect("readable") {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            if let Some(Item::State(state)) =
                Reader::resume(rest, map.file.header, map.file.unsealer_at(at), at).next().expect("readable")
            {
                Pipeline::default().restore(&state);
            }
        }
    }
    let files = [(PathBuf::new(), map.file.clone())];
    let filters = FilterOptions { filter: vec!["stdio or pid=7".to_owned()], ..FilterOptions::default() };
    if let Ok(mut playback) = Playback::of(&files, &filters, Budget::default()) {
        while matches!(playback.step(&mut |_| Disposition::Delivered), Ok(Step::More)) {}
    }
}

fn is_control(letter: char) -> bool {
    letter.is_control() && letter != '\n'
}
