//! What most of these tests use.

pub(crate) use crate::cases::{Case, Told, absent, check, check_callers, check_narrow, event, none, with};
pub(crate) use crate::recording::{read, text};
pub(crate) use crate::sys::{self, Actor, CWD, at, c, call, fork};
pub(crate) use crate::traced::{
    Dir, Run, Traced, alone, alone_as_root, cannot_run, check_has, doctor, emulated, may_trace, n, neutral,
    not_checked, release, trace, trace_with, tracetui, wait_at_most,
};
pub(crate) use serde_json::{Value, json};
pub(crate) use std::fs::{self, File};
pub(crate) use std::io::{Read as _, Write as _};
pub(crate) use std::os::fd::{AsRawFd as _, OwnedFd};
pub(crate) use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
pub(crate) use std::os::unix::process::CommandExt as _;
pub(crate) use std::process::{Child, Command, Output, Stdio};
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::time::{Duration, Instant};
