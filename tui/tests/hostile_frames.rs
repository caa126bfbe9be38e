//! For any bytes as frames, the pipeline and the sinks neither panic nor hang, and the memory is bounded.

use proptest::prelude::*;
use std::io;
use tracetui_events::event::EventContext;
use tracetui_events::frame::host::{HostFrame, StatePart};
use tracetui_events::frame::{Batch, FrameRef};
use tracetui_events::limits;
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::sink::parquet::Parquet;
use tracetui_events::sink::perfetto::{OpenFile, Perfetto, Room};
use tracetui_events::sink::{FormatName, Sink, to_writer};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::Slot;
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

/// Mostly a header that the probes could send.
fn header() -> impl Strategy<Value = FrameHeader> {
    let kind = prop_oneof![8 => 0u16..8, 2 => 60u16..92, 1 => any::<u16>()];
    let slot = prop_oneof![8 => 0u16..Slot::ALL.len() as u16, 1 => any::<u16>()];
    let seq = prop_oneof![8 => 0u64..20, 1 => any::<u64>()];
    let time = prop_oneof![8 => 0u64..100_000_000, 1 => any::<u64>()];
    let cpu = prop_oneof![8 => 0u32..2, 1 => any::<u32>()];
    (kind, 0u16..4, slot, seq, time, cpu, any::<[u8; 16]>(), any::<[u32; 4]>()).prop_map(
        |(kind, flags, slot, seq, time, cpu, comm, ids)| FrameHeader {
            kind,
            flags,
            slot,
            seq,
            time: BootNanos(time),
            cpu,
            comm,
            tgid: tracetui_shared::id::Tgid(ids[0] % 8),
            start: BootNanos(u64::from(ids[1] % 4)),
            ppid: tracetui_shared::id::Tgid(ids[2] % 8),
            cgroup: tracetui_shared::id::CgroupId(ids[3].into()),
            ..FrameHeader::default()
        },
    )
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    // Small numbers result in lengths that are sometimes valid. Short payloads end within each field.
    let byte = || prop_oneof![4 => 0u8..4, 1 => any::<u8>()];
    prop_oneof![prop::collection::vec(byte(), 0..40), prop::collection::vec(byte(), 0..400)]
}

/// Limits the memory of this process, so that a few bytes cannot make it allocate gigabytes.
fn limit_memory() {
    let limit = libc::rlimit { rlim_cur: 2 << 30, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a valid rlimit that outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0, "RLIMIT_AS cannot be set");
}

fn run(batches: Vec<Batch>) {
    limit_memory();
    run_binary(batches.clone());
    for format in [FormatName::Text, FormatName::Json, FormatName::Csv] {
        let mut out = Vec::new();
        print_to(&batches, to_writer(format, &mut out), None);
        let text = std::str::from_utf8(&out).expect("every line is UTF-8");
        if format == FormatName::Json {
            for line in text.lines() {
                serde_json::from_str::<serde_json::Value>(line).expect("every line is JSON");
            }
        }
        // CSV contains comm and cgroup unescaped, but quoted: it is for programs.
        let control = |c: char| c.is_control() && c != '\n';
        assert!(format == FormatName::Csv || !text.contains(control), "a control character in {text:?}");
    }
}

/// The same for the formats that are not text.
fn run_binary(batches: Vec<Batch>) {
    limit_memory();
    let parquet = Parquet::new(io::sink()).expect("room");
    let files = || -> OpenFile<'_> { Box::new(|_| Ok(Box::new(io::sink()))) };
    let small = Room { bytes: 2000, ..Room::ALL };
    let sinks: [Box<dyn Sink>; 2] = [Box::new(parquet), Box::new(Perfetto::new(files(), small))];
    for sink in sinks {
        print_to(&batches, sink, None);
    }
}

/// Prints batches, and returns the account. At batch `restored`, the pipeline is replaced by one that starts from its state.
fn print_to(batches: &[Batch], mut sink: Box<dyn Sink + '_>, restored: Option<usize>) -> String {
    let mut pipeline = Pipeline::default();
    let mut take = |seen: &EventContext<'_>, _: &FrameRef<'_>| {
        sink.event(seen).expect("it takes everything");
        Disposition::Delivered
    };
    for (i, batch) in batches.iter().enumerate() {
        if restored == Some(i) {
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
    pipeline.account().json()
}

/// The lines for some batches, and the account.
fn lines(batches: &[Batch], restored: Option<usize>) -> String {
    let mut out = Vec::new();
    let account = print_to(batches, to_writer(FormatName::Json, &mut out), restored);
    String::from_utf8(out).expect("UTF-8") + &account
}

proptest! {
    #[test]
    fn a_state_of_any_frames_is_restored(
        frames in prop::collection::vec((header(), payload()), 0..40),
        (size, split) in (1usize..20, 0usize..20),
    ) {
        limit_memory();
        let batch = |frames: &[(FrameHeader, Vec<u8>)]| {
            let mut batch = Batch::default();
            // A state has no processes that ended long before.
            let time = |ns: u64| BootNanos(ns % limits::ENDED_IN_STATE_NS);
            let soon = |header: FrameHeader| FrameHeader { time: time(header.time.0), ..header };
            frames.iter().for_each(|(header, payload)| batch.push(soon(*header), payload));
            batch
        };
        let batches: Vec<Batch> = frames.chunks(size).map(batch).collect();
        prop_assert_eq!(lines(&batches, Some(split)), lines(&batches, None));
    }

    #[test]
    fn states_that_lie(frames in prop::collection::vec((64u16..110, payload()), 0..40)) {
        limit_memory();
        let mut nested = Batch::default();
        frames.iter().for_each(|(kind, payload)| nested.push(FrameHeader { kind: *kind, ..FrameHeader::default() }, payload));
        let mut state = Batch::default();
        HostFrame::StatePart(StatePart { frames: nested.bytes().to_vec() }).push(BootNanos(1), &mut state);
        let mut pipeline = Pipeline::default();
        pipeline.restore(&state);
        let again = pipeline.state();
        let mut take = |_: &EventContext<'_>, _: &FrameRef<'_>| Disposition::Delivered;
        pipeline.feed(again);
        pipeline.end();
        pipeline.next(None, &mut take);
    }

    #[test]
    fn frames_with_any_payload(frames in prop::collection::vec((header(), payload()), 0..40), split in 0usize..40) {
        let mut batches = vec![Batch::default(), Batch::default()];
        for (i, (header, payload)) in frames.into_iter().enumerate() {
            batches[usize::from(i >= split)].push(header, &payload);
        }
        run(batches);
    }

    #[test]
    fn records_that_lie_about_their_length(records in prop::collection::vec((header(), any::<u32>(), payload()), 0..20)) {
        let mut batch = Batch::default();
        for (header, len, payload) in records {
            let mut bytes = FrameHeader { len, ..header }.as_bytes().to_vec();
            bytes.extend_from_slice(&payload);
            batch.push_raw(&bytes);
        }
        run(vec![batch]);
    }

    #[test]
    fn any_bytes(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
        let mut batch = Batch::default();
        for record in records {
            batch.push_raw(&record);
        }
        run(vec![batch]);
    }
}
