//! Drops capabilities and ids of the calling thread.

use super::USER;
use crate::invoker::take_file_ids;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use std::io;
use std::path::Path;
use tracetui_shared::id::{Gid, Uid};

/// Permanently gives up root's user id and all capabilities but these, for the calling thread and the threads that it
/// starts.
pub fn hold(kept: CapabilitySet) -> io::Result<()> {
    hold_as(None, kept)
}

pub(super) type FileIds<'a> = (Uid, Gid, &'a [u32]);

pub(super) const ROOT: FileIds<'_> = (Uid(0), Gid(0), &[]);

pub(super) fn hold_as(ids: Option<FileIds<'_>>, kept: CapabilitySet) -> io::Result<()> {
    let before = capabilities(None)?;
    if rustix::process::geteuid().is_root() {
        // Without these capabilities, as in some containers, root keeps its ids.
        let changes_ids = before.effective.contains(CapabilitySet::SETUID | CapabilitySet::SETGID);
        if changes_ids {
            give_up_root()?;
            // The change of the user id turned them off.
            set_capabilities(None, before)?;
        }
        if let Some((uid, gid, groups)) = ids
            && (changes_ids || uid.0 != 0)
        {
            take_file_ids(uid, gid, groups)?;
        }
    }
    let sets = CapabilitySets {
        effective: before.effective & kept,
        permitted: before.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)?;
    set_no_new_privs(true)?;
    // The changes above make the process dumpable if the system keeps memory images of such processes
    // (fs.suid_dumpable). Not being dumpable also keeps processes with the same id from reading this one.
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Makes [`USER`] the user of the calling thread. The permitted capabilities stay permitted, but none is in effect.
fn give_up_root() -> io::Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(USER), rustix::fs::Gid::from_raw(USER));
    set_keep_capabilities(true)?;
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}

/// Whether the thread may create files in a directory without its capabilities.
pub(super) fn is_writable_without(dir: &Path) -> io::Result<bool> {
    let held = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: CapabilitySet::empty(), ..held })?;
    // An error counts as no, including the error of a kernel that does not know the call.
    let writable = accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok();
    set_capabilities(None, held)?;
    Ok(writable)
}
