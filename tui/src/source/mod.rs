//! Where frames come from.
pub mod host;

use tracetui_shared::capture::Capture;

/// What the kernel side is to let through: the capture filter with its lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFilter {
    /// Kinds and tests.
    pub capture: Capture,
    /// Processes, for `capture::test::PID`.
    pub pids: Vec<u32>,
    /// Users, for `capture::test::UID`.
    pub uids: Vec<u32>,
}
