//! Shipping to a directory: resumption, bounds, and hostile spools.

use crate::common::{Place, RUN, part, recording, text};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;
use tracetui_events::recording::block::{FileHeader, HEADER};
use zerocopy::IntoBytes as _;

#[track_caller]
fn check_ok(output: &std::process::Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn parts_become_partitions_once() {
    let place = Place::with_parts(0..3);
    check_ok(&place.ship(&[]));
    let stored = place.objects(".parquet");
    assert_eq!(stored.len(), 3);
    let first = stored[0].strip_prefix(place.store()).expect("below").to_string_lossy().into_owned();
    let row = &place.rows()[0];
    let sum = row["source"].as_str().and_then(|source| source.rsplit('/').next()).expect("a sum");
    assert_eq!(
        first.replace(&sum[..16], "SUM"),
        "events/dt=2026-11-22/hour=14/build7-e23656a3-ab01020304050607-000000-SUM.parquet"
    );
    assert_eq!((&row["events"], &row["seen"], &row["lost"]), (&551.into(), &2815.into(), &0.into()));
    assert_eq!((&row["file"], &row["complete"]), (&first.into(), &true.into()));
    // A new run stores nothing again.
    let before: Vec<_> =
        stored.iter().map(|path| fs::metadata(path).expect("it").modified().expect("a time")).collect();
    check_ok(&place.ship(&[]));
    let after: Vec<_> = stored.iter().map(|path| fs::metadata(path).expect("it").modified().expect("a time")).collect();
    assert_eq!((before, place.objects("").len()), (after, 6));
    assert!(place.is_whole());
    // A part whose row is missing gets it.
    let place = Place::with_parts(0..1);
    check_ok(&place.ship(&[]));
    fs::remove_file(&place.objects(".json")[0]).expect("removed");
    check_ok(&place.ship(&[]));
    assert_eq!((place.rows().len(), place.objects(".parquet").len()), (1, 1));
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
    assert_eq!((stored.len(), place.rows().len()), (20, 20));
    for path in stored {
        let whole = fs::read(path).expect("it");
        assert!(whole.starts_with(b"PAR1") && whole.ends_with(b"PAR1"), "a whole Parquet file");
    }
    assert!(place.is_whole());
}

#[test]
fn the_rows_show_parts_that_were_removed() {
    let place = Place::with_parts([2, 3, 5]);
    check_ok(&place.ship(&[]));
    let number = |row: &serde_json::Value, name: &str| row[name].as_u64().expect("a number");
    let parts: Vec<_> = place.rows().iter().map(|row| number(row, "part")).collect();
    assert_eq!(parts, [2, 3, 5]);
    // The account of a part adds up.
    for row in place.rows() {
        assert_eq!(number(&row, "seen"), number(&row, "events") + number(&row, "filtered") + number(&row, "lost"));
    }
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
    check_ok(&place.ship(&[]));
    assert_eq!(place.rows().first().map(|row| row["part"].clone()), Some(14.into()));
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
    (0..3).for_each(|number| {
        let name = format!("h.{number}.ttr");
        clone.put(&name, &clone_of(number));
        clone.age(&name);
    });
    check_ok(&place.ship(&[]));
    for _ in 0..2 {
        check_ok(&clone.command(&place.url(), &["--once"]).output().expect("it runs"));
        assert_eq!((place.objects(".parquet").len(), place.rows().len()), (6, 6));
    }
    let sources: HashSet<_> = place.rows().into_iter().map(|row| row["source"].to_string()).collect();
    assert_eq!(sources.len(), 6);
    // The clone's parts have no end.
    assert_eq!(place.rows().iter().filter(|row| row["complete"] == false).count(), 3);
}

#[test]
fn recordings_of_one_id_and_size_are_compared_whatever_the_clock() {
    let place = Place::with_parts(0..1);
    let mut other = part(RUN, 0);
    let middle = other.len() / 2;
    other[middle] ^= 1;
    place.put("other.ttr", &other);
    check_ok(&place.ship(&[]));
    assert_eq!((place.objects(".parquet").len(), place.rows().len()), (2, 2));
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
    assert_eq!((place.objects(".parquet").len(), place.rows().len()), (5, 5));
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
    // A recording without an end may still be written.
    place.put("young.ttr", &short);
    place.age("short.ttr");
    place.put("\u{1b}[31m.ttr", &part([7; 8], u32::MAX));
    let output = place.ship(&[]);
    check_ok(&output);
    let rows = place.rows();
    let of = |trace: &str| rows.iter().find(|row| row["trace"] == trace);
    assert_eq!(of("0909090909090909").expect("shipped")["damaged"], true);
    assert_eq!(of("0707070707070707").expect("shipped")["part"], u32::MAX);
    assert_eq!(of("0808080808080808").expect("shipped")["complete"], false);
    assert!(rows.iter().all(|row| row["trace"] != "107ad690fb365d4e"), "a link was followed");
    assert_eq!(rows.len(), 4);
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
