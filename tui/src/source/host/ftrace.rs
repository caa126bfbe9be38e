//! Whether the kernel runs what is attached to functions: `kernel.ftrace_enabled`.
//!
//! Up to 7.2 a 0 silences all programs at functions, also those that are attached already, and no counter of the kernel shows it.
//! Later kernels refuse the 0.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// What turns function tracing on again.
pub(crate) const REMEDY: &str = "turn it on: sudo sysctl kernel.ftrace_enabled=1";

/// Function tracing is off.
pub(crate) const OFF: &str = "function tracing is turned off (kernel.ftrace_enabled=0)";

/// Function tracing was off in a part of the trace.
pub(crate) const WAS_OFF: &str = "function tracing was turned off for a time (kernel.ftrace_enabled=0)";

/// The setting.
#[derive(Debug)]
pub(crate) struct FunctionTracing(File);

impl FunctionTracing {
    /// Opens it; `None` if the kernel or this /proc does not have it.
    pub(crate) fn open() -> Option<FunctionTracing> {
        File::open("/proc/sys/kernel/ftrace_enabled").ok().map(FunctionTracing)
    }

    /// Whether it is off now. It costs one system call.
    pub(crate) fn is_off(&self) -> bool {
        let mut value = [0; 8];
        let read = self.0.read_at(&mut value, 0).unwrap_or(0);
        value[..read].trim_ascii() == b"0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_on_here_and_read_anew_each_time() {
        let Some(setting) = FunctionTracing::open() else { return crate::not_checked("no kernel.ftrace_enabled") };
        let said = std::fs::read_to_string("/proc/sys/kernel/ftrace_enabled").expect("readable");
        for _ in 0..3 {
            assert_eq!(setting.is_off(), said.trim() == "0");
        }
    }

    #[test]
    fn only_a_zero_is_off() {
        let dir = std::env::temp_dir().join(format!("tracetui-ftrace-{}", std::process::id()));
        for (text, off) in [("0\n", true), ("1\n", false), ("", false), ("00\n", false)] {
            std::fs::write(&dir, text).expect("writable");
            assert_eq!(FunctionTracing(File::open(&dir).expect("readable")).is_off(), off, "{text:?}");
        }
        let _ = std::fs::remove_file(&dir);
    }
}
