//! Where frames come from.

pub mod command;
pub mod feed;
pub mod host;
pub mod live;

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
}

impl CaptureFilter {
    /// Lets nothing through.
    pub const NOTHING: CaptureFilter = CaptureFilter {
        capture: Capture { kinds: 0, tests: 0, comm: CommGlobs::NONE },
        pids: Vec::new(),
        uids: Vec::new(),
    };
}
