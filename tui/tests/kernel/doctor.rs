//! The report of `doctor --probe`, on a kernel where the other tests see events of every kind.

use crate::prelude::*;

#[test]
fn an_event_of_each_kind_comes_through_each_probe() {
    let Some(()) = alone_as_root() else { return };
    let output = tracetui().args(["doctor", "--probe", "--format", "json"]).output().expect("it starts");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let probes = report["probes"].as_array().expect("a list");
    if probes.is_empty() {
        return cannot_run(&String::from_utf8_lossy(&output.stdout));
    }
    for probe in probes.iter().filter(|probe| probe["attached"] == true) {
        assert_ne!(probe["seen"], false, "{probe}");
    }
    for kind in KINDS {
        let serves = |probe: &Value| probe["kind"].as_str().is_some_and(|kinds| kinds.split(',').any(|k| k == kind));
        assert!(probes.iter().any(|probe| serves(probe) && probe["seen"] == true), "{kind}: {report}");
    }
    assert_eq!(output.status.code(), Some(0), "{report}");
    let plain = tracetui().args(["doctor", "--format", "json"]).output().expect("it starts");
    let plain: Value = serde_json::from_slice(&plain.stdout).expect("one object");
    assert_eq!(plain["probes"][0].get("seen"), None, "nothing was made, so nothing is said: {plain}");
}
