//! What most of these tests use.

pub(crate) use crate::arch;
pub(crate) use crate::cases::{Case, Told, absent, check, check_callers, check_narrow, event, none, with};
pub(crate) use crate::execs::become_program;
pub(crate) use crate::inspector::inspector_of;
pub(crate) use crate::narrow::{Narrow, nr};
pub(crate) use crate::pty;
pub(crate) use crate::recording::{info, read, record, text};
pub(crate) use crate::stdio::wait_for;
pub(crate) use crate::sys::{self, Actor, CWD, NOBODY, Pages, Status, at, c, call, fork, page};
pub(crate) use crate::tcp::net;
pub(crate) use crate::traced::{
    self, Dir, KINDS, Mount, Run, Traced, alone, alone_as_root, cannot_run, check_has, doctor, emulated, may_trace, n,
    neutral, not_checked, release, skipped, trace, trace_with, tracetui, wait_at_most,
};
pub(crate) use crate::trees::{Cgroup, Shared};
pub(crate) use crate::{bpf, bpf_ways, fuse};
pub(crate) use rustix::process::{Resource, Rlimit, setrlimit};
pub(crate) use rustix::termios::{Winsize, tcsetwinsize};
pub(crate) use serde_json::{Value, json};
pub(crate) use std::collections::{BTreeMap, BTreeSet, HashMap};
pub(crate) use std::ffi::{CStr, CString};
pub(crate) use std::fs::{self, File};
pub(crate) use std::io::{BufRead as _, BufReader, Read as _, Write as _};
pub(crate) use std::net::SocketAddr;
pub(crate) use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd};
pub(crate) use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
pub(crate) use std::os::unix::net::UnixStream;
pub(crate) use std::os::unix::process::CommandExt as _;
pub(crate) use std::path::{Path, PathBuf};
pub(crate) use std::process::{Child, Command, Output, Stdio};
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
pub(crate) use std::time::{Duration, Instant};
pub(crate) use tracetui_host::btf::Btf;
pub(crate) use tracetui_host::cgroup::CgroupResolver;
pub(crate) use tracetui_inspect::Collector;
pub(crate) use tracetui_shared::id::{ProgId, Tgid};
pub(crate) use tracetui_shared::time::BootNanos;
