//! Collects the objects that could not be read, while the rest is read.

use std::io;
use tracetui_events::bpf::Unseen;
use tracetui_events::text::without_codes;

#[derive(Default)]
pub(super) struct Unlooked {
    pub(super) unseen: Vec<Unseen>,
    /// The number of objects that were removed while they were being read.
    pub(super) vanished: u64,
}

const AS_ROOT: &str = "run as root on the host: sudo tracetui bpf";

impl Unlooked {
    /// The value, if it could be read. An error is recorded once for each `what`.
    pub(super) fn note<T>(&mut self, what: &'static str, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let refused = matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES));
                self.add(what, error.to_string(), if refused { AS_ROOT } else { "" });
                None
            }
        }
    }

    pub(super) fn cut(&mut self, what: &'static str, most: usize) {
        self.add(what, format!("more than {most}; the rest was not checked"), "");
    }

    pub(super) fn add(&mut self, what: &'static str, why: String, remedy: &'static str) {
        if !self.unseen.iter().any(|unseen| unseen.what == what) {
            self.unseen.push(Unseen { what, why: without_codes(&why), remedy });
        }
    }
}
