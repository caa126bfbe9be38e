//! Processes that took longer in run B.

use super::compare::Comparison;
use super::uses::Role;
use crate::text::time::short_duration;
use std::cmp::Reverse;
use tracetui_shared::kind::Kind;

/// A smaller difference, in nanoseconds or in relation to run A (1/5), does not count: runs are never equally fast.
const LEAST: u64 = 100_000_000;
const PART: u64 = 5;

/// The pairs that took longer in run B, the largest difference first. A process waits for its children, so its own time is its CPU time,
/// and only without children also its lifetime.
pub(super) fn slower(of: &Comparison<'_>) -> Vec<usize> {
    if of.gaps.iter().any(|gaps| gaps.lacks(Kind::Exit)) {
        return Vec::new();
    }
    // Recordings of earlier versions have no CPU times.
    let has_cpu = of.trees.iter().all(|tree| tree.nodes.iter().any(|node| node.did.used.cpu > 0));
    let mut found: Vec<_> = Vec::new();
    for at in 1..of.pairs.len() {
        let [a, b] = of.nodes(at);
        let longer = |a: u64, b: u64| b.checked_sub(a).filter(|more| *more >= LEAST.max(a / PART)).unwrap_or_default();
        let cpu = if has_cpu { longer(a.did.used.cpu, b.did.used.cpu) } else { 0 };
        let ran = if is_leaf(a) && is_leaf(b) { longer(a.did.used.ran, b.did.used.ran) } else { 0 };
        found.extend((cpu.max(ran) > 0).then_some((Reverse(cpu.max(ran)), at)));
    }
    found.sort_unstable();
    found.into_iter().map(|(_, at)| at).collect()
}

fn is_leaf(node: &Role) -> bool {
    node.children.is_empty()
}

/// The time of a role in one run: `3.4 s (CPU 3.3 s)`, or its CPU time alone if it had children in one of them.
pub(super) fn text(node: &Role, other: &Role) -> Vec<u8> {
    let (mut cpu, mut text) = (b"CPU ".to_vec(), Vec::new());
    short_duration(node.did.used.cpu, &mut cpu);
    if !(is_leaf(node) && is_leaf(other)) {
        return cpu;
    }
    short_duration(node.did.used.ran, &mut text);
    if node.did.used.cpu > 0 {
        text.extend_from_slice(&[&b" ("[..], &cpu, b")"].concat());
    }
    text
}
