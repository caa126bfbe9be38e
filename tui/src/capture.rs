//! The capture filter: made by the filter language, put into force by the source.

use std::sync::Arc;
use tracetui_shared::capture::{Capture, CommGlobs};

/// What the kernel side is to let through: the capture filter with its lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFilter {
    /// Kinds, tests and globs.
    pub capture: Capture,
    /// Processes that [`tracetui_shared::capture::test::PID`] lets through.
    pub pids: Vec<u32>,
    /// Users that [`tracetui_shared::capture::test::UID`] lets through.
    pub uids: Vec<u32>,
    /// Roots of the trees that [`tracetui_shared::capture::test::TREE`] lets through: the processes that have these ids when
    /// the filter is set.
    pub trees: Vec<u32>,
    /// Paths of the cgroups, any of which [`tracetui_shared::capture::test::CGROUP`] lets through.
    pub cgroups: Vec<CgroupTest>,
}

type PathTest = dyn Fn(&[u8]) -> bool + Send + Sync;

/// What the path of a cgroup must satisfy.
#[derive(Clone)]
pub struct CgroupTest {
    text: Box<[u8]>,
    holds: Arc<PathTest>,
}

impl CgroupTest {
    /// A test and how it was written, which is what two tests are compared by.
    pub fn new(text: &[u8], holds: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> CgroupTest {
        CgroupTest { text: text.into(), holds: Arc::new(holds) }
    }

    /// Whether a path satisfies it.
    pub fn holds(&self, path: &[u8]) -> bool {
        (self.holds)(path)
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
    /// Lets nothing through.
    pub const NOTHING: CaptureFilter = CaptureFilter {
        capture: Capture { kinds: 0, tests: 0, start_offset: 0, comm: CommGlobs::NONE },
        pids: Vec::new(),
        uids: Vec::new(),
        trees: Vec::new(),
        cgroups: Vec::new(),
    };
}
