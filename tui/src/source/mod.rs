//! The origin of frames: a [`Source`](feed::Source) makes them, a [`Feed`](feed::Feed) runs the source and queues its
//! frames.

pub(crate) mod command;
pub mod feed;
pub mod host;
pub mod live;
pub(crate) mod priority;
pub mod replay;
pub mod synthetic;
pub mod wake;

/// Why something cannot be done without another thread, and the remedy.
pub(crate) const NO_THREAD: &str =
    "cannot start a thread (remedy: a higher ulimit -u or pids.max of the cgroup; `unshare -p` with -f)";
