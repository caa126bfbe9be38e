//! The messages about a trace.

use super::request::TraceOptions;
use crate::cli::size::ByteSize;
use tracetui_events::account::{Account, Shortage};
use tracetui_events::budget::Budget;
use tracetui_events::frame::host::Probe;
use tracetui_events::text::{counted, grouped};
use tracetui_host::confine::denied;
use tracetui_shared::capture::MAX_TREE;
use tracetui_shared::kind::Kind;
/// The messages before the account at the end, one line each.
pub(crate) fn remarks(options: &TraceOptions, account: &Account, discrepancy: Option<String>) -> Vec<String> {
    let doubtful = doubtful_btf(options, account).map(str::to_owned);
    let more = shortage(account, options.budget);
    [discrepancy, doubtful, overgrown_tree(account), left_out(account), account.unread_text(), denied()]
        .into_iter()
        .flatten()
        .chain(more)
        .collect()
}

/// The message if no open of tracetui itself arrived while offsets came from a file. tracetui always opens some files.
fn doubtful_btf(options: &TraceOptions, account: &Account) -> Option<&'static str> {
    let doubtful = options.btf.is_some() && options.live.kinds.contains(Kind::CHECKED) && account.own == 0;
    doubtful.then_some("tracetui's own file opens did not arrive: does --btf match this kernel?")
}

/// The message if a process tree had too many processes.
fn overgrown_tree(account: &Account) -> Option<String> {
    let left_out = account.tree_full;
    (left_out > 0).then(|| {
        format!(
            "--tree: more than {} live processes; {} were not traced; choose a smaller tree",
            grouped(MAX_TREE.into()),
            grouped(left_out)
        )
    })
}

/// The message if there were too many BPF programs and attachments.
fn left_out(account: &Account) -> Option<String> {
    let left_out = counted(account.bpf_left_out, ["program or attachment", "programs and attachments"]);
    (account.bpf_left_out > 0)
        .then(|| format!("BPF inventory: too many: {left_out} dropped; their ends may be missing"))
}

/// The messages about evicted process and cgroup data, one line each.
fn shortage(account: &Account, budget: Budget) -> Vec<String> {
    let Shortage { processes, cgroups, unsettled } = account.shortage;
    let memory = size_of_memory(budget);
    let said = [
        (processes, ["live process was", "live processes were"], "evicted; parents and commands may be missing"),
        (cgroups, ["cgroup was", "cgroups were"], "evicted and looked up again; paths may be missing"),
        (unsettled, ["event was", "events were"], "delivered early; the order may be wrong"),
    ];
    let said = said.into_iter().filter(|(count, ..)| *count > 0);
    said.map(|(count, of, what)| format!("--memory {memory} is too small: {} {what}", counted(count, of))).collect()
}

pub(super) fn size_of_memory(budget: Budget) -> ByteSize {
    ByteSize(budget.bytes() as u64)
}

/// The messages about probes that stopped seeing events since the last call or the start, one line for each reason.
pub(super) fn silenced(known: &mut Option<Vec<Probe>>, probes: &[Probe]) -> Vec<String> {
    let silent = || probes.iter().filter(|probe| !probe.attached);
    let Some(known) = known else {
        *known = (!probes.is_empty()).then(|| silent().cloned().collect());
        return Vec::new();
    };
    if silent().eq(known.iter()) {
        return Vec::new();
    }
    let new: Vec<&Probe> = silent().filter(|probe| !known.contains(probe)).collect();
    let lines = new.chunk_by(|one, other| (&one.why, &one.remedy) == (&other.why, &other.remedy)).map(|probes| {
        let names = probes.iter().map(|probe| probe.name.as_str()).collect::<Vec<_>>().join(", ");
        let missing = probes.iter().map(|probe| probe.missing.as_str()).collect::<Vec<_>>().join("; ");
        let why = probes[0].why.as_deref().unwrap_or("no longer attached");
        let remedy = probes[0].remedy.iter().map(|remedy| format!("; {remedy}")).collect::<String>();
        format!("{names}: {why}; no longer traced or counted: {missing}{remedy}")
    });
    let lines = lines.collect();
    *known = silent().cloned().collect();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_that_fall_silent_are_said_once() {
        let probe = |name: &str, attached: bool, why: Option<&str>| Probe {
            name: name.into(),
            attached,
            why: why.map(str::to_owned),
            missing: format!("what {name} sees"),
            ..Probe::default()
        };
        let mut known = None;
        let (mut a, mut b) = (probe("a", true, None), probe("b", true, None));
        let absent = probe("c", false, Some("not here"));
        let mut look = |a: &Probe, b: &Probe| silenced(&mut known, &[a.clone(), b.clone(), absent.clone()]);
        assert_eq!(look(&a, &b), Vec::<String>::new(), "the start says it");
        assert_eq!(look(&a, &b), Vec::<String>::new());
        (a, b) = (probe("a", false, Some("off")), probe("b", false, Some("off")));
        assert_eq!(look(&a, &b), ["a, b: off; no longer traced or counted: what a sees; what b sees"]);
        assert_eq!(look(&a, &b), Vec::<String>::new());
        a = Probe { why: Some("was off".into()), remedy: Some("wait".into()), ..a };
        assert_eq!(look(&a, &b), ["a: was off; no longer traced or counted: what a sees; wait"]);
    }
}
