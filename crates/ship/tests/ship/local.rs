//! Shipping to a directory: resumption, bounds, and hostile spools.

use crate::common::{Place, RUN, part, recording, text};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;
use tracetui_events::recording::block::{FileHeader, HEADER};
use tracetui_export::metadata_of;
use zerocopy::IntoBytes as _;

#[track_caller]
fn check_ok(output: &std::process::Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn kinds(place: &Place, kind: &str) -> usize {
    place.rows().iter().filter(|row| row["kind"] == kind).count()
}

/// The first part of each gap, and the number of its parts.
fn gaps(place: &Place) -> Vec<(Option<u64>, Option<u64>)> {
    let rows = place.rows().into_iter().filter(|row| row["kind"] == "gap");
    rows.map(|row| (row["part"].as_u64(), row["parts"].as_u64())).collect()
}

fn lose_state(place: &Place) {
    fs::remove_dir_all(place.spool().join(".tracetui-ship")).expect("removed");
}

#[test]
fn parts_become_partitions_once() {
    let place = Place::with_parts(0..3);
    check_ok(&place.ship(&[]));
    let stored = place.objects(".parquet");
    assert_eq!(stored.len(), 3);
    let first = stored[0].strip_prefix(place.store()).expect("below").to_string_lossy().into_owned();
    assert_eq!(first, "events/dt=2026-11-22/hour=14/build7-e23656a3-ab01020304050607-000000.parquet");
    let row = &place.rows()[0];
    assert_eq!((&row["events"], &row["seen"], &row["lost"]), (&551.into(), &2815.into(), &0.into()));
    assert_eq!((&row["file"], &row["complete"]), (&first.into(), &true.into()));
    // Neither a new run nor a lost state stores anything again.
    let before: Vec<_> =
        stored.iter().map(|path| fs::metadata(path).expect("it").modified().expect("a time")).collect();
    check_ok(&place.ship(&[]));
    lose_state(&place);
    check_ok(&place.ship(&[]));
    let after: Vec<_> = stored.iter().map(|path| fs::metadata(path).expect("it").modified().expect("a time")).collect();
    assert_eq!((before, place.objects("").len()), (after, 6));
    assert!(place.is_whole());
    // A part whose row is missing gets it.
    let place = Place::with_parts(0..1);
    check_ok(&place.ship(&[]));
    fs::remove_file(&place.objects(".json")[0]).expect("removed");
    check_ok(&place.ship(&[]));
    assert_eq!((kinds(&place, "part"), place.objects(".parquet").len()), (1, 1));
    // Microseconds are for Spark.
    let place = Place::with_parts(0..1);
    check_ok(&place.ship(&["--time", "us"]));
    assert_eq!(place.objects(".parquet").len(), 1);
}

#[test]
fn fifty_kills_store_each_part_once() {
    let place = Place::with_parts(0..20);
    for kill in 0..50u64 {
        let mut child = place.start();
        std::thread::sleep(Duration::from_millis(5 + kill * 37 % 90));
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    check_ok(&place.ship(&[]));
    let stored = place.objects(".parquet");
    assert_eq!((stored.len(), kinds(&place, "part"), place.rows().len()), (20, 20, 20));
    for path in stored {
        let whole = fs::read(path).expect("it").into();
        assert!(metadata_of(&whole, "source").expect("a whole Parquet file").is_some());
    }
    assert!(place.is_whole());
}

#[test]
fn parts_removed_before_they_were_shipped_are_reported_once() {
    let place = Place::with_parts([2, 3, 5]);
    check_ok(&place.ship(&[]));
    assert_eq!(gaps(&place), [(Some(0), Some(2)), (Some(4), Some(1))]);
    // Even if the state is lost.
    lose_state(&place);
    fs::remove_file(place.spool().join("h.000003.ttr")).expect("removed");
    check_ok(&place.ship(&[]));
    assert_eq!((kinds(&place, "gap"), kinds(&place, "part")), (2, 3));
    // Shipped parts are no gap then.
    let place = Place::with_parts(0..3);
    check_ok(&place.ship(&[]));
    fs::remove_dir_all(place.spool()).expect("removed");
    fs::create_dir(place.spool()).expect("a directory");
    place.put("h.000005.ttr", &part(RUN, 4));
    check_ok(&place.ship(&[]));
    assert_eq!(gaps(&place), [(Some(3), Some(1))]);
}

#[test]
fn a_bound_removes_shipped_parts_first_and_holds_without_a_store() {
    let kept = kept_of_a_mib();
    let all = kept + 13;
    let place = Place::with_parts(0..all as u32);
    check_ok(&place.ship(&["--keep", "1MiB"]));
    let left = fs::read_dir(place.spool()).expect("it").count() - 1;
    assert_eq!((left, place.objects(".parquet").len(), place.rows().len()), (kept, all, all));
    check_ok(&place.ship(&["--keep", "1MiB"]));
    assert_eq!(place.rows().len(), all);
    // It holds without a store.
    let newest = kept as u32 + 13;
    let place = Place::with_parts(0..newest);
    check_ok(&place.ship(&[]));
    place.put("h.newest.ttr", &part(RUN, newest));
    // The store is gone: only the bound can make room, and the newest part is not shipped.
    fs::remove_dir_all(place.store()).expect("removed");
    fs::remove_dir_all(place.spool().join(".tracetui-ship")).expect("removed");
    let mut child = place.command("s3://b/x", &["--keep", "1MiB"]);
    child.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9").env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b");
    let mut child = child.spawn().expect("it runs");
    let parts = || fs::read_dir(place.spool()).expect("it").count() - 1;
    for _ in 0..200 {
        if parts() == kept {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(parts(), kept);
    // The next part says how many events were dropped.
    check_ok(&place.ship(&[]));
    assert_eq!(gaps(&place).first(), Some(&(Some(0), Some(14))));
}

/// How many parts have at most 1 MiB.
fn kept_of_a_mib() -> usize {
    (1 << 20) / part(RUN, 0).len()
}

/// A part of the same trace with other contents, as a clone of the machine writes it.
fn clone_of(number: u32) -> Vec<u8> {
    let mut bytes = part(RUN, number);
    // Its last block is missing.
    bytes.truncate(bytes.len() - 4096);
    bytes
}

#[test]
fn a_cloned_machine_is_stored_too_once() {
    let (place, clone) = (Place::with_parts(0..3), Place::new());
    (0..3).for_each(|number| clone.put(&format!("h.{number}.ttr"), &clone_of(number)));
    let ship_clone = || {
        check_ok(&clone.command(&place.url(), &["--once"]).output().expect("it runs"));
        assert_eq!((place.objects(".parquet").len(), kinds(&place, "part"), place.rows().len()), (6, 6, 6));
    };
    check_ok(&place.ship(&[]));
    ship_clone();
    // Neither a retry nor a lost state stores anything again.
    ship_clone();
    lose_state(&clone);
    ship_clone();
    let sources: HashSet<_> = place.rows().into_iter().map(|row| row["source"].to_string()).collect();
    assert_eq!(sources.len(), 6);
    // The clone's parts have no end.
    assert_eq!(place.rows().iter().filter(|row| row["complete"] == false).count(), 3);
    // A clone that was killed stores nothing twice.
    let (place, clone) = (Place::with_parts(0..1), Place::new());
    clone.put("h.ttr", &clone_of(0));
    check_ok(&place.ship(&[]));
    check_ok(&clone.command(&place.url(), &["--once"]).output().expect("it runs"));
    // The rows are written after the objects.
    place.objects(".json").iter().for_each(|row| fs::remove_file(row).expect("removed"));
    check_ok(&clone.command(&place.url(), &["--once"]).output().expect("it runs"));
    check_ok(&place.ship(&[]));
    assert_eq!((place.objects(".parquet").len(), kinds(&place, "part")), (2, 2));
}

#[test]
fn the_end_of_a_trace_that_was_removed_is_reported() {
    let place = Place::with_parts(0..3);
    check_ok(&place.ship(&[]));
    (3..6).for_each(|number| place.put(&format!("h.{:06}.ttr", number + 1), &part(RUN, number)));
    let mut away = place.command("s3://b/x", &["--once", "--pause", "1ms"]);
    away.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9").env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b");
    assert!(!away.output().expect("it runs").status.success());
    (0..6).for_each(|number| fs::remove_file(place.spool().join(format!("h.{:06}.ttr", number + 1))).expect("removed"));
    for _ in 0..2 {
        check_ok(&place.ship(&[]));
        assert_eq!(gaps(&place), [(Some(3), Some(3))]);
        assert!(place.rows().iter().all(|row| row["kind"] != "gap" || row["host"] == "build7"));
    }
    // They come back.
    place.put("h.000005.ttr", &part(RUN, 4));
    check_ok(&place.ship(&[]));
    assert_eq!((kinds(&place, "gap"), kinds(&place, "part")), (1, 4));
}

#[test]
fn recordings_of_one_id_and_size_are_compared_whatever_the_clock() {
    let place = Place::with_parts(0..1);
    let mut other = part(RUN, 0);
    let middle = other.len() / 2;
    other[middle] ^= 1;
    place.put("other.ttr", &other);
    check_ok(&place.ship(&[]));
    assert_eq!((place.objects(".parquet").len(), kinds(&place, "part")), (2, 2));
    // The account of the damaged one adds up.
    for row in place.rows() {
        let number = |name: &str| row[name].as_u64().expect("a number");
        assert_eq!(number("seen"), number("events") + number("filtered") + number("lost"), "{row}");
    }
    // Clocks that jump lose nothing.
    let place = Place::new();
    for (number, created) in [i64::MIN, i64::MAX, 0, -1, 1_795_458_000_000_000_000].into_iter().enumerate() {
        let mut bytes = recording();
        let header = FileHeader::read(&bytes).expect("a header");
        let number = number as u32;
        let header = FileHeader { created_ns: created, ..header }.part_of(RUN, number);
        bytes[..HEADER].copy_from_slice(header.as_bytes());
        place.put(&format!("{number}.ttr"), &bytes);
    }
    check_ok(&place.ship(&[]));
    assert_eq!((place.objects(".parquet").len(), place.rows().len(), kinds(&place, "part")), (5, 5, 5));
}

#[test]
fn hostile_files_and_targets_hold_up_nothing() {
    let place = Place::with_parts([1]);
    let secret = place.0.join("secret.ttr");
    fs::write(&secret, recording()).expect("written");
    symlink(&secret, place.spool().join("link.ttr")).expect("a link");
    symlink("/dev/zero", place.spool().join("zero.ttr")).expect("a link");
    fs::create_dir(place.spool().join("directory.ttr")).expect("a directory");
    let fifo = std::process::Command::new("mkfifo").arg(place.spool().join("fifo.ttr")).status().expect("mkfifo");
    assert!(fifo.success());
    // Damage anywhere but in the header: what can be read is shipped.
    let mut damaged = part([9; 8], 0);
    let middle = damaged.len() / 2;
    damaged[middle..middle + 512].fill(0xff);
    place.put("damaged.ttr", &damaged);
    let mut short = part([8; 8], 0);
    short.truncate(64);
    place.put("short.ttr", &short);
    place.put("\u{1b}[31m.ttr", &part([7; 8], u32::MAX));
    let output = place.ship(&[]);
    check_ok(&output);
    let rows = place.rows();
    let of = |trace: &str| rows.iter().find(|row| row["trace"] == trace && row["kind"] == "part");
    assert_eq!(of("0909090909090909").expect("shipped")["damaged"], true);
    assert_eq!(of("0707070707070707").expect("shipped")["part"], u32::MAX);
    assert_eq!(of("0808080808080808").expect("shipped")["complete"], false);
    assert!(rows.iter().all(|row| row["trace"] != "107ad690fb365d4e"), "a link was followed");
    assert!(!output.stderr.contains(&0x1b), "a name reached the terminal");
    // A target inside out is refused.
    let place = Place::with_parts(0..1);
    for (to, part) in [
        (format!("file://{}", place.0.display()), "contains the spool"),
        ("file://relative".to_owned(), "absolute"),
        ("https://x/y".to_owned(), "no URL of a store"),
        ("s3://key:secret@b/x".to_owned(), "credentials"),
    ] {
        let output = place.command(&to, &["--once"]).output().expect("it runs");
        assert!(!output.status.success() && text(&output.stderr).contains(part), "{to}: {}", text(&output.stderr));
    }
}
