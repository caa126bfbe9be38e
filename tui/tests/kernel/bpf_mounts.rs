//! `tracetui bpf` waits neither for what covers a mount, nor for a file system that does not answer.

use crate::bpf::{id_and_tag, program, set_bpf};
use crate::bpf_inventory::{json_of, list_into, of_id};
use crate::bpf_ways::{KPROBE, SOCKET_FILTER, event, pin_at, pmu};
use crate::prelude::*;

#[test]
fn what_covers_a_mount_is_not_opened() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let (point, fifo, bpffs, output) = (dir.at("netns"), dir.at("fifo"), dir.dir("bpffs"), dir.at("inventory"));
    let ids = Actor::new(|| {
        sys::own_mounts();
        sys::mount("bpf", &bpffs, "bpf", 0);
        fs::create_dir(format!("{bpffs}/sub")).expect("a directory");
        let prog = program(SOCKET_FILTER, "tt_pinned");
        for pin in [format!("{bpffs}/sub/pin"), format!("{bpffs}/covered")] {
            pin_at(&prog, &pin);
        }
        File::create(&point).expect("a file");
        sys::mkfifo(&fifo);
        sys::mount("/proc/self/ns/net", &point, "none", libc::MS_BIND);
        sys::mount(&fifo, &point, "none", libc::MS_BIND);
        sys::mount(&fifo, &format!("{bpffs}/covered"), "none", libc::MS_BIND);
        vec![list_into(&output), id_and_tag(&prog)[0]]
    })
    .run();
    assert_eq!(ids.first(), Some(&0), "it does not wait for who opens the other end");
    let held = of_id(&json_of(&output), ids[1])["held_by"].clone();
    let pins: Vec<_> = held.as_array().expect("a list").iter().filter_map(|by| by["pin"].as_str()).collect();
    assert_eq!(pins, [format!("{bpffs}/sub/pin")]);
}

#[test]
fn a_file_system_that_does_not_answer_is_not_entered() {
    let Some(dir) = Dir::alone_as_root() else { return };
    let (place, output) = (dir.dir("fuse"), dir.at("inventory"));
    let [bpffs, file] = ["dir", "file"].map(|name| format!("{place}/{name}"));
    let numbers = Actor::new(|| {
        sys::own_mounts();
        let Some(served) = fuse::serve(&place) else { return vec![] };
        sys::mount("bpf", &bpffs, "bpf", 0);
        let path = c(file.as_str());
        let probe = pmu("uprobe").map(|pmu| {
            let prog = program(KPROBE, "tt_silent");
            let event = sys::owned(event(pmu, 0, Some(&path), 0));
            assert_eq!(set_bpf(&prog, &event), 0, "it attaches");
            (prog, event)
        });
        let waits = fuse::silence(&place);
        let status = list_into(&output);
        // The end of the server ends the wait.
        drop(served);
        sys::wait(waits);
        vec![status, probe.map_or(0, |(prog, _)| id_and_tag(&prog)[0])]
    })
    .run();
    let [status, probe] = numbers[..] else { return not_checked("there is no FUSE") };
    assert_eq!(status, 0, "it does not wait");
    let inventory = json_of(&output);
    let said = format!("not entered: {bpffs}, because {place} (fuse) may not answer");
    let unseen = inventory["unseen"].as_array().expect("a list");
    assert!(unseen.iter().any(|unseen| unseen["why"] == *said), "{unseen:#?}");
    if probe == 0 {
        return not_checked("this kernel has no uprobes");
    }
    assert_eq!(of_id(&inventory, probe)["attached"][0]["target"], *file, "as it was passed");
}
