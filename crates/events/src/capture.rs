//! The capture filter: compiled from the filter language, installed by the source.

use crate::frame::host::Cgroup;
use crate::limits;
use std::sync::Arc;
use tracetui_shared::capture::{Capture, CommGlobs};

/// Ids of cgroups that always pass to user space, because the id does not determine the path: 0 is unknown, and
/// processes in the v2 root are named by another hierarchy.
pub const NAMELESS_CGROUPS: [u64; 2] = [0, 1];

/// Elements of the map of cgroups: one per cgroup with a kept path, and [`NAMELESS_CGROUPS`]. A cgroup whose path is
/// kept always fits.
pub const CGROUPS_MAP: u32 = limits::CGROUPS as u32 + NAMELESS_CGROUPS.len() as u32;

/// The capture filter with its lists: the events that the kernel side passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFilter {
    /// Kinds, tests and globs.
    pub capture: Capture,
    /// Processes that [`tracetui_shared::capture::test::PID`] passes.
    pub pids: Vec<u32>,
    /// Users that [`tracetui_shared::capture::test::UID`] passes.
    pub uids: Vec<u32>,
    /// Roots of the trees that [`tracetui_shared::capture::test::TREE`] passes: the processes that have these ids when
    /// the filter is set.
    pub trees: Vec<u32>,
    /// Conditions on cgroups, for [`tracetui_shared::capture::test::CGROUP`]. A cgroup passes if all of them hold.
    pub cgroups: Vec<CgroupTest>,
}

type Holds = dyn Fn(&Cgroup) -> bool + Send + Sync;

/// A condition on the path of a cgroup, or on its unit or container.
#[derive(Clone)]
pub struct CgroupTest {
    text: Box<[u8]>,
    holds: Arc<Holds>,
}

impl CgroupTest {
    /// A condition and its source text. Two conditions are equal if their texts are.
    pub fn new(text: &[u8], holds: impl Fn(&Cgroup) -> bool + Send + Sync + 'static) -> CgroupTest {
        CgroupTest { text: text.into(), holds: Arc::new(holds) }
    }

    pub fn holds(&self, cgroup: &Cgroup) -> bool {
        (self.holds)(cgroup)
    }
}

impl std::fmt::Debug for CgroupTest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CgroupTest({:?})", String::from_utf8_lossy(&self.text))
    }
}

impl PartialEq for CgroupTest {
    fn eq(&self, other: &CgroupTest) -> bool {
        self.text == other.text
    }
}

impl Eq for CgroupTest {}

impl CaptureFilter {
    pub const NOTHING: CaptureFilter = CaptureFilter {
        capture: Capture { kinds: 0, tests: 0, start_offset: 0, comm: CommGlobs::NONE },
        pids: Vec::new(),
        uids: Vec::new(),
        trees: Vec::new(),
        cgroups: Vec::new(),
    };
}
