//! How often programs run.

use super::*;

#[test]
fn runs_are_asked_for_and_an_inventory_does_not_stop_the_rate() {
    let mut made = inventory();
    let mut app = app(140, 24, MEMORY);
    feed(&mut app, &mut made);
    assert!(press(&mut app, '4').contains(&Effect::CountRuns(true)));
    assert!(!press(&mut app, 'j').contains(&Effect::CountRuns(true)));
    let count = |made: &mut Maker, runs: &[(u32, u64, u64)], on| {
        for (id, count, time) in runs {
            let (id, count, time) = (ProgId(*id), *count, *time);
            made.host(&HostFrame::BpfRuns(BpfRuns { id, count, time, skipped: 0 }));
        }
        made.host(&HostFrame::BpfCounted(BpfCounted { at: BootNanos(made.ns), on }));
        made.ns += 2_000_000_000;
    };
    count(&mut made, &[(30, 1_000_000, 9_000_000)], true);
    feed(&mut app, &mut made);
    let row = |app: &mut App| row_with(app, "on_unlink");
    assert!(row(&mut app).ends_with(" 30 on_unlink"), "one count is no rate: {}", row(&mut app));
    count(&mut made, &[(30, 1_000_100, 9_050_000)], true);
    assert!(row(feed(&mut app, &mut made)).ends_with("  50   500 ns"), "{}", row(&mut app));
    assert!(row(&mut app).contains("  1  <0.01 %  "), "{}", row(&mut app));
    let other = row_with(&mut app, "writer");
    assert!(other.ends_with("   ·        -") && other.contains("  1        ·  W "), "{other}");
    // The most frequently run program comes first.
    assert_eq!(ids(keys(&mut app, "ssss")), ["30", "31", "40"]);
    assert_eq!(ids(keys(&mut app, "s")), ["30", "31", "40"]);
    assert_eq!(app.screen.message(), Some("sorted by CPU"));
    count(&mut made, &[], false);
    assert!(row(feed(&mut app, &mut made)).ends_with(" 30 on_unlink"), "{}", row(&mut app));
    assert!(press(&mut app, '1').contains(&Effect::CountRuns(false)));
    // An inventory between two counts also reads the counters. The rate is then that of the last whole count.
    let mut made = inventory();
    let mut app = view(140, 24, &mut made);
    let ran = |made: &mut Maker, id: u32, count: u64| {
        made.ns += 1_000_000_000;
        let time = count * 500;
        made.host(&HostFrame::BpfRuns(BpfRuns { id: ProgId(id), count, time, skipped: 0 }));
    };
    let counted = |made: &mut Maker| made.host(&HostFrame::BpfCounted(BpfCounted { at: BootNanos(made.ns), on: true }));
    ran(&mut made, 30, 1000);
    counted(&mut made);
    ran(&mut made, 30, 3000);
    counted(&mut made);
    feed(&mut app, &mut made);
    assert!(row_with(&mut app, "on_unlink").ends_with(" 2,000   500 ns"), "{}", row_with(&mut app, "on_unlink"));
    // Two inventories before the next count.
    for count in [3100, 3200] {
        ran(&mut made, 30, count);
        feed(&mut app, &mut made);
        assert!(row_with(&mut app, "on_unlink").ends_with(" 2,000   500 ns"), "{}", row_with(&mut app, "on_unlink"));
    }
    // A program that appeared after the last count has no rate.
    let loaded = BootNanos(made.ns);
    made.host(&HostFrame::BpfProgram(BpfProgram { loaded, ..program(50, "fresh") }));
    ran(&mut made, 50, 700);
    keys(feed(&mut app, &mut made), "gl");
    assert!(row_with(&mut app, "fresh").ends_with(" -        -"), "{}", row_with(&mut app, "fresh"));
    counted(&mut made);
    feed(&mut app, &mut made);
    let row = row_with(&mut app, "fresh");
    assert!(row.ends_with(" -        -"), "a part of a second: {row}");
    // Three seconds passed since the previous count.
    assert!(row_with(&mut app, "on_unlink").contains("  66   500 ns"), "{}", row_with(&mut app, "on_unlink"));
    ran(&mut made, 50, 1500);
    counted(&mut made);
    assert!(row_with(feed(&mut app, &mut made), "fresh").ends_with(" 800   500 ns"), "{}", row_with(&mut app, "fresh"));
    assert!(row_with(&mut app, "on_unlink").ends_with("   ·        -"), "{}", row_with(&mut app, "on_unlink"));
}
