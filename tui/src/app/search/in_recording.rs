//! A search in a recording by another thread, which reads the recording ([`crate::command`]).

use super::{Pattern, Way};
use tracetui_shared::kind::KindSet;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Find {
    /// Whether the first or the last match is wanted.
    pub way: Way,
    /// The start of the searched time span (CLOCK_BOOTTIME, ns).
    pub from_ns: u64,
    /// The end of the searched time span (CLOCK_BOOTTIME, ns).
    pub to_ns: u64,
    /// The pattern. Without one, every shown row is a match.
    pub pattern: Option<Pattern>,
    pub filter: String,
    pub kinds: KindSet,
    /// Whether only failures are shown.
    pub failures: bool,
}

/// The running search.
#[derive(Debug)]
pub(in crate::app) struct Finding {
    pub find: Find,
    /// Whether it continues from the other end of the recording.
    pub wrapped: bool,
    /// The time up to which the recording was read.
    pub at_ns: u64,
}
