//! The state of a probe.

use tracetui_events::frame::host::Probe;
use tracetui_events::text::without_codes;
use tracetui_host::ftrace;
use tracetui_shared::kind::{Kind, KindSet, shows_most};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeStatus {
    pub name: &'static str,
    pub kinds: KindSet,
    pub attached: bool,
    /// Its attach point: `tp_btf sys_exit`.
    pub how: String,
    /// The reason if the probe is not attached, is attached at only some of its attach points, or does not see all
    /// events.
    pub why: Option<String>,
    /// The events or data that a trace lacks if the probe is not attached.
    pub missing: String,
    /// Whether the probe is optional. Missing data is then marked in each event, or counted.
    pub optional: bool,
    pub remedy: Option<String>,
    /// Whether the probe may be preempted at its attach point between taking the time and writing the record.
    pub preemptible: bool,
    /// Whether the probe is attached to functions, so that `kernel.ftrace_enabled` silences it.
    pub at_functions: bool,
}

impl ProbeStatus {
    /// Records that the kernel has attached this probe of opens, but does not run it.
    pub(super) fn is_never_run(&mut self) {
        if self.attached && shows_most(self.name, Kind::CHECKED) {
            self.attached = false;
            self.why = Some("attached, but a file open by tracetui did not trigger it".to_owned());
            self.remedy = Some("restart tracetui; if that does not help, reboot".to_owned());
        }
    }

    /// Records that function tracing was turned off, or on again. From then on the probe counts as not attached,
    /// because it did not see all events of the trace.
    pub(super) fn is_silenced(&mut self, off: bool) {
        self.attached = false;
        self.why = Some(if off { ftrace::OFF } else { ftrace::WAS_OFF }.to_owned());
        self.remedy = off.then(|| ftrace::REMEDY.to_owned());
    }

    pub fn frame(&self) -> Probe {
        Probe {
            name: self.name.to_owned(),
            kinds: self.kinds.iter().map(|kind| kind as u16).collect(),
            attached: self.attached,
            how: self.how.clone(),
            why: self.why.as_deref().map(without_codes),
            missing: self.missing.clone(),
            remedy: self.remedy.clone(),
            preemptible: self.preemptible,
        }
    }

    /// Records why the better probe on this kernel is not used.
    pub(super) fn is_second_best(&mut self, better: &ProbeStatus) {
        let reason = better.why.as_deref().unwrap_or("not attached");
        let instead = format!("fallback for {}: {reason}", better.name);
        let notes = [self.why.take(), Some(instead)].into_iter().flatten();
        self.why = Some(notes.collect::<Vec<_>>().join("; "));
        self.remedy = self.remedy.take().or_else(|| better.remedy.clone());
    }
}
