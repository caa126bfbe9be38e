//! Faults of the machine: a server that is away, full disks, clocks and damage.

use crate::common::{Place, RUN, part, text};
use crate::server::Server;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use tracetui_events::recording::block::{FileHeader, HEADER};
use zerocopy::IntoBytes as _;

const DAY: i64 = 86_400_000_000_000;

#[test]
fn a_server_that_was_away_for_long_gets_everything_once() {
    let place = Place::with_parts(0..3);
    let server = Server::away(60);
    let child = server.command(&place, &["--pause", "10ms"]).spawn().expect("it runs");
    // Each round fails at its first request, until the server is back.
    for _ in 0..1_200 {
        if server.names(".json").len() == 3 {
            break;
        }
        assert_eq!(fs::read_dir(place.spool()).expect("it").filter(is_recording).count(), 3);
        std::thread::sleep(Duration::from_millis(100));
    }
    Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    let output = child.wait_with_output().expect("it ended");
    assert_eq!((server.names(".parquet").len(), server.names(".json").len()), (3, 3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("3 parts shipped"), "{}", text(&output.stderr));
}

fn is_recording(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "ttr"))
}

/// A small file system in a directory, until the drop.
struct Small<'p>(&'p Path);

impl<'p> Small<'p> {
    /// `None`, with a message, if this process may not mount.
    #[allow(clippy::print_stderr, reason = "for whoever runs the tests")]
    fn mount(at: &'p Path) -> Option<Small<'p>> {
        fs::create_dir_all(at).expect("a directory");
        let mounted = mount("size=16k,mode=700", at);
        if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
            eprintln!("not checked: no mount: {:?}", mounted.map(|output| text(&output.stderr)));
            return None;
        }
        Some(Small(at))
    }

    fn grow(&self) {
        assert!(mount("remount,size=16m", self.0).expect("mount").status.success());
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn mount(options: &str, at: &Path) -> std::io::Result<Output> {
    Command::new("mount").args(["-t", "tmpfs", "-o", options, "tracetui-ship-test"]).arg(at).output()
}

/// Ships with a full file system, and again with space.
fn check_full(place: &Place, full: &Path, more: &[&str]) {
    let Some(small) = Small::mount(full) else { return };
    let more = [&["--pause", "10ms"], more].concat();
    let output = place.ship(&more);
    assert!(!output.status.success() && text(&output.stderr).contains("o space left"), "{}", text(&output.stderr));
    small.grow();
    let output = place.ship(&more);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!((place.objects(".parquet").len(), place.rows().len(), place.objects("").len()), (3, 3, 6));
    assert!(place.is_whole());
}

#[test]
fn a_full_store_or_state_directory_loses_nothing() {
    let place = Place::with_parts(0..3);
    check_full(&place, &place.store(), &[]);
    let place = Place::with_parts(0..3);
    let state = place.0.join("state");
    check_full(&place, &state, &["--state", &state.to_string_lossy()]);
}

#[test]
fn a_clock_that_is_set_back_moves_parts_to_their_own_day() {
    let place = Place::new();
    let start = 1_795_458_000_000_000_000;
    for (number, created) in [start, start - DAY, start - DAY + 300_000_000_000].into_iter().enumerate() {
        let mut bytes = part(RUN, number as u32);
        let header = FileHeader { created_ns: created, ..FileHeader::read(&bytes).expect("a header") };
        bytes[..HEADER].copy_from_slice(header.part_of(RUN, number as u32).as_bytes());
        place.put(&format!("h.{number}.ttr"), &bytes);
    }
    assert!(place.ship(&[]).status.success());
    let hours = |end| {
        let hour = |path: &std::path::PathBuf| {
            path.parent().and_then(|hour| hour.strip_prefix(place.store()).ok()).map(|hour| hour.display().to_string())
        };
        place.objects(end).iter().filter_map(hour).collect::<Vec<_>>()
    };
    let [before, after] = ["dt=2026-11-22/hour=18", "dt=2026-11-23/hour=18"];
    for (end, name) in [(".parquet", "events"), (".json", "manifest")] {
        assert_eq!(hours(end), [before, before, after].map(|hour| format!("{name}/{hour}")));
    }
}

#[test]
fn a_corrupt_part_is_reported_and_holds_up_no_other() {
    let place = Place::with_parts(0..3);
    let mut bytes = fs::read(place.spool().join("h.000002.ttr")).expect("it");
    bytes.fill(0xff);
    place.put("h.000002.ttr", &bytes);
    // A file that was just written may get its header yet.
    place.age("h.000002.ttr");
    for _ in 0..2 {
        let output = place.ship(&[]);
        assert!(output.status.success() && text(&output.stderr).contains("not shipped: h.000002.ttr: not a tracetui"));
        assert_eq!((place.objects(".parquet").len(), place.rows().len()), (2, 2));
    }
}
