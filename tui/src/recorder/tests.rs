use super::{FLUSH, Failed, Recorder, RecordingFiles, STALLED};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{HostFrame, ProcessSeed};
use tracetui_events::limits;
use tracetui_events::recording::block::{FileHeader, HEADER};
use tracetui_events::recording::{Item, Reader};
use tracetui_events::synthetic::{Maker, map, opens};
use tracetui_shared::id::Tgid;
use tracetui_shared::time::BootNanos;

const ID: [u8; 16] = *b"0123456789abcdef";

fn states(recording: &[u8]) -> usize {
    let mut reader = Reader::new(recording).expect("a recording");
    let items = std::iter::from_fn(|| reader.next().expect("readable"));
    items.filter(|item| matches!(item, Item::State(_))).count()
}

/// A file in memory that takes nothing while it is locked.
#[derive(Clone, Default)]
struct Disk(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn recorder(disk: &Disk) -> Recorder {
    Recorder::start_files(Some((disk.clone(), FileHeader::new(ID, 7))), "disk".to_owned(), || Ok(())).expect("a thread")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

/// A recording into a pipe, which ends after a signal that came long before. How it ended, and after what time.
fn ended_into(pipe: std::io::PipeWriter) -> (Result<u64, Failed>, Duration) {
    let header = FileHeader::new(ID, 7);
    let mut recorder = Recorder::start_stream(pipe, "pipe".to_owned(), &header, || true).expect("a thread");
    let mut noise = Maker::default();
    let mut began = std::time::Instant::now();
    let ended = runtime().block_on(async {
        for number in 0..4000u32 {
            noise.open(number, "sh", &format!("/{:x}", u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)), 3);
        }
        recorder.ready().await.expect("room");
        recorder.frames(&noise.batch());
        began = std::time::Instant::now();
        recorder.end(&tracetui_events::pipeline::Pipeline::default()).await
    });
    (ended, began.elapsed())
}

#[test]
fn after_a_signal_a_stream_that_nobody_reads_is_given_up_and_a_slow_reader_gets_everything() {
    let (ours, theirs) = std::io::pipe().expect("a pipe");
    // SAFETY: fcntl(2) with these arguments takes numbers only.
    let set = || unsafe { libc::fcntl(theirs.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    assert_eq!(set(), 4096);
    let (ended, took) = ended_into(theirs.try_clone().expect("a descriptor"));
    assert!(matches!(ended, Err(Failed::Stalled(1))), "{ended:?}");
    assert!((limits::PATIENCE..4 * limits::PATIENCE).contains(&took), "{took:?}");
    drop((ours, theirs));

    let (mut ours, theirs) = std::io::pipe().expect("a pipe");
    // SAFETY: as above.
    assert_eq!(unsafe { libc::fcntl(theirs.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) }, 4096);
    let reader = std::thread::spawn(move || {
        let (mut all, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            std::thread::sleep(Duration::from_millis(150));
            match ours.read(&mut piece).expect("a pipe") {
                0 => return all,
                read => all.extend_from_slice(&piece[..read]),
            }
        }
    });
    let (ended, took) = ended_into(theirs);
    let all = reader.join().expect("no panic");
    assert_eq!(ended.expect("read"), all.len() as u64);
    assert!(took > limits::PATIENCE, "a test of a slow reader: {took:?}, {} bytes", all.len());
}

#[test]
fn frames_are_written_in_time_also_while_others_come() {
    let disk = Disk::default();
    let recorder = recorder(&disk);
    let mut maker = Maker::default();
    let began = std::time::Instant::now();
    while recorder.written() <= HEADER as u64 {
        maker.open(1, "sh", "/etc/hosts", 3);
        recorder.frames(&maker.batch());
        std::thread::sleep(FLUSH / 20);
        assert!(began.elapsed() < 100 * FLUSH, "nothing was written");
    }
}

#[test]
fn the_queue_is_bounded_also_after_a_pause() {
    let disk = Disk::default();
    let mut recorder = recorder(&disk);
    // Flushes while nothing comes must not make room.
    std::thread::sleep(10 * FLUSH + FLUSH / 2);
    let full = disk.0.lock().expect("no panic");
    let batch = Batch::from_bytes(opens(1).concat());
    let mut taken = 0;
    let failed = runtime().block_on(async {
        loop {
            match recorder.ready().await {
                Ok(()) => recorder.frames(&batch),
                Err(failed) => break failed,
            }
            taken += 1;
        }
    });
    assert!(matches!(failed, Failed::Stalled(seconds) if seconds == STALLED.as_secs()), "{failed}");
    // The queue, and the batch that the writer is at.
    assert!(taken <= limits::BLOCKS_QUEUED + 1, "{taken}");
    drop(full);
}

/// Files in memory, of which the next is due at a size.
struct InMemory(std::sync::Arc<std::sync::Mutex<Vec<Disk>>>);

impl RecordingFiles for InMemory {
    type File = Disk;
    fn next(&mut self) -> std::io::Result<(Disk, FileHeader)> {
        let disk = Disk::default();
        let mut disks = self.0.lock().expect("no panic");
        disks.push(disk.clone());
        Ok((disk, FileHeader::new(ID, 7).part_of([9; 8], disks.len() as u32 - 1)))
    }
    fn size(&self) -> Option<u64> {
        Some(limits::FILE_MIN)
    }
    fn ended(&mut self, _: Disk) -> std::io::Result<()> {
        Ok(())
    }
    fn withdraw(&mut self) -> std::io::Result<bool> {
        Ok(false)
    }
    fn remarks(&self, _: u64) -> Vec<String> {
        Vec::new()
    }
}

/// Waits until the queue is empty.
async fn until_written(recorder: &Recorder) {
    drop(recorder.shared.room.acquire_many(limits::BLOCKS_QUEUED as u32).await.expect("it works"));
}

#[test]
fn a_state_that_is_late_is_asked_for_once() {
    let disk = Disk::default();
    let mut recorder = recorder(&disk);
    let pipeline = tracetui_events::pipeline::Pipeline::default();
    let blocks = |count: usize| opens(count).into_iter().map(Batch::from_bytes);
    runtime().block_on(async {
        for batch in blocks(limits::STATE_EVERY / limits::BLOCK) {
            recorder.ready().await.expect("room");
            recorder.frames(&batch);
        }
        until_written(&recorder).await;
        {
            // More frames come before the state, and the disk is slow.
            let _slow = disk.0.lock().expect("no panic");
            blocks(1).for_each(|batch| recorder.frames(&batch));
            recorder.state_if_due(&pipeline);
        }
        for batch in blocks(1) {
            until_written(&recorder).await;
            recorder.frames(&batch);
            recorder.state_if_due(&pipeline);
        }
        recorder.end(&pipeline).await.expect("room");
    });
    assert_eq!(states(&disk.0.lock().expect("no panic")), 1);
}

#[test]
fn each_file_has_events_also_if_states_are_large() {
    let disks = std::sync::Arc::default();
    let files = InMemory(std::sync::Arc::clone(&disks));
    let mut recorder = Recorder::start_files(files, "disk".to_owned(), || Ok(())).expect("a thread");
    let mut pipeline = tracetui_events::pipeline::Pipeline::default();
    let mut maker = Maker::default();
    // Processes whose state is larger than a file.
    let mut noise = 1u64;
    let mut random = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 33) as u8
    };
    for pid in 1..400 {
        let argv = (0..300).map(|_| random()).collect();
        let seed = ProcessSeed { tgid: Tgid(pid), argv, ..ProcessSeed::default() };
        HostFrame::ProcessSeed(seed).push(BootNanos(1), &mut maker.batch);
    }
    runtime().block_on(async {
        for number in 0..400 {
            (0..200).for_each(|_| maker.open(number, "cc", &format!("/{}/{}", random(), u64::from(random()) << 40), 3));
            let batch = maker.batch();
            recorder.ready().await.expect("room");
            recorder.frames(&batch);
            pipeline.feed(batch);
            recorder.state_if_due(&pipeline);
            // What was added is written, so that the next file may be due.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        recorder.end(&pipeline).await.expect("room");
    });
    let disks = disks.lock().expect("no panic");
    assert!(disks.len() > 2, "{}", disks.len());
    // The last one has what was left.
    for disk in &disks[..disks.len() - 1] {
        let bytes = disk.0.lock().expect("no panic");
        let map = map(&bytes);
        assert!(map.totals.sum() >= 50, "{} events in {} bytes", map.totals.sum(), bytes.len());
    }
}
