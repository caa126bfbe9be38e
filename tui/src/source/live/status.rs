//! What became of a probe.

use tracetui_shared::kind::{Kind, KindSet, shows_most};

/// The state of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeStatus {
    /// The program in the probe object.
    pub name: &'static str,
    /// The kinds of events that it makes.
    pub kinds: KindSet,
    /// Whether it runs.
    pub attached: bool,
    /// Its attach point: `tp_btf sys_exit`.
    pub how: String,
    /// Why it does not run, or not at all its attach points, or what it does not see.
    pub why: Option<String>,
    /// What is not seen when it does not run.
    pub missing: String,
    /// Whether it is optional: the missing data is marked in each event, or counted.
    pub optional: bool,
    /// The remedy.
    pub remedy: Option<String>,
    /// Whether it may be preempted at its attach point between taking the time and writing the record.
    pub preemptible: bool,
}

impl ProbeStatus {
    /// Records that the kernel has attached this probe of opens, but does not run it.
    pub(super) fn is_never_run(&mut self) {
        if self.attached && shows_most(self.name, Kind::Open) {
            self.attached = false;
            self.why = Some("attached, but a file open by tracetui did not trigger it".to_owned());
            self.remedy = Some("restart tracetui; if that does not help, reboot".to_owned());
        }
    }

    /// Records why the better probe on this kernel is not used.
    pub(super) fn is_second_best(&mut self, better: &ProbeStatus) {
        let reason = better.why.as_deref().unwrap_or("not attached");
        let instead = format!("used instead of {}, the better probe on this kernel: {reason}", better.name);
        let notes = [self.why.take(), Some(instead)].into_iter().flatten();
        self.why = Some(notes.collect::<Vec<_>>().join("; "));
        self.remedy = self.remedy.take().or_else(|| better.remedy.clone());
    }
}
