//! Rows that stand for several programs.

use super::*;

/// An owner of several programs is one row, which unfolds. Attachments of a program that look alike have one row.
/// The hooks of one cgroup are one place, and the kind of several places is named once, or not at all.
#[test]
fn the_places_of_an_owner_are_summarized() {
    let mut made = Maker::default();
    for (key, hook, target) in [
        (1, Hook::Type(0), "/ssh.service"),
        (2, Hook::Type(1), "/ssh.service"),
        (3, Hook::Kprobe, "vfs_open"),
        (4, Hook::Kprobe, "vfs_read"),
        (5, Hook::Kprobe, "vfs_write"),
    ] {
        made.host(&HostFrame::BpfProgram(program(key, "x")));
        made.host(&HostFrame::BpfAttachment(attachment(key, key, hook, target)));
        made.host(&held(0, key + 10, process(1, "systemd")));
    }
    taken(&mut made);
    let mut app = view(100, 24, &mut made);
    for (width, want) in [
        (100, "▸ cgroup /ssh.service · kprobe vfs_open · vfs_read · vfs_write"),
        (76, "▸ cgroup /ssh.service · kprobe vfs_open · 2 more"),
        (60, "▸ cgroup /ssh.service · 3 more"),
        (36, "▸ /ssh.service · 3 more"),
    ] {
        app.update(Input::Resize(width, 24));
        let row = rows(&mut app).remove(0);
        assert!(row.ends_with(want), "{width}: {row}");
    }
}

#[test]
fn an_owner_of_several_programs_unfolds() {
    let mut made = inventory();
    made.host(&HostFrame::BpfProgram(program(33, "on_open")));
    for (key, target) in [(5, "do_sys_open"), (6, "vfs_open"), (7, "vfs_open")] {
        made.host(&HostFrame::BpfAttachment(attachment(key, 33, Hook::Kprobe, target)));
        made.host(&held(0, key + 10, process(1207, "tracerd")));
    }
    made.host(&HostFrame::BpfProgram(BpfProgram { own: true, ..program(41, "exit_tp") }));
    made.host(&held(41, 0, process(9311, "inspector")));
    made.host(&held(40, 0, process(9310, "tracetui")));
    taken(&mut made);
    let mut app = view(100, 24, &mut made);
    let folded = rows(&mut app);
    assert_eq!(
        folded,
        [
            "> tracerd[1207]                    2     ▸ kprobe do_sys_open · do_unlinkat · vfs_open",
            "  pin /sys/fs/bpf/writer           1  W  not attached   31 writer",
            "  tracetui[9310]  this one         2     ▸ tracepoint sched:sched_process_exec · not attached",
        ],
        "{folded:#?}"
    );
    // Right unfolds it, then goes to the first program; Left goes back, then folds it.
    let shown = rows(keys(&mut app, "l"));
    assert_eq!(words(&shown[1]), ["33", "on_open", "kprobe", "kprobe", "do_sys_open"], "{shown:#?}");
    assert_eq!((shown.len(), words(&shown[2])[4].as_str()), (6, "vfs_open"), "{shown:#?}");
    assert!(rows(keys(&mut app, "l"))[1].starts_with('>') && rows(keys(&mut app, "jh"))[0].starts_with('>'));
    assert_eq!(rows(keys(&mut app, "h")), folded);
    // The pane lists the programs, `p` leads to their events, and `y` copies them.
    check_shows(keys(&mut app, "\n\n"), &["── tracerd[1207] ", "33 on_open kprobe  kprobe vfs_open", "30 on_unlink"]);
    assert_eq!(keys(&mut app, "p").filter.text(), "prog.id=30,33");
    let copied = press(keys(&mut app, "\x1b"), 'y').into_iter().find_map(|effect| match effect {
        Effect::Copy(text) => Some(String::from_utf8_lossy(&text).into_owned()),
        _ => None,
    });
    assert!(copied.is_some_and(|text| text.starts_with("tracerd[1207] 2 programs: 33 kprobe on_open kprobe ")));
    // A search finds what is folded.
    let shown = rows(keys(&mut app, "/do_unlinkat\n"));
    assert!(shown[3].starts_with(">   30 on_unlink "), "{shown:#?}");
    // The selected program stays selected when its owner has no other.
    made.host(&HostFrame::BpfProgramGone(BpfProgramGone { id: ProgId(33) }));
    for key in 5..8 {
        made.host(&HostFrame::BpfAttachment(BpfAttachment { key, gone: true, ..Default::default() }));
    }
    taken(&mut made);
    let shown = rows(feed(&mut app, &mut made));
    assert!(
        shown[1].starts_with("> tracerd[1207] ") && shown[1].ends_with("kprobe do_unlinkat   30 on_unlink"),
        "{shown:#?}"
    );
    assert!(shown[3].starts_with(" -tracerd[1207] ") && shown[3].contains("1     ▸ kprobe do_sys_open · vfs_open"));
}
