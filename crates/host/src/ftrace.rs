//! Whether the kernel runs the programs that are attached to functions: `kernel.ftrace_enabled`.
//!
//! Up to 7.2, a 0 silences all programs at functions, even attached ones, and no counter of the kernel shows it. Later
//! kernels refuse the 0.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

pub const REMEDY: &str = "turn it on: sudo sysctl kernel.ftrace_enabled=1";

pub const OFF: &str = "function tracing is turned off (kernel.ftrace_enabled=0)";

/// The message that function tracing was off in a part of the trace.
pub const WAS_OFF: &str = "function tracing was turned off temporarily (kernel.ftrace_enabled=0)";

#[derive(Debug)]
pub struct FunctionTracing(File);

impl FunctionTracing {
    /// Opens the setting. `None` if the kernel or this /proc does not have it.
    pub fn open() -> Option<FunctionTracing> {
        File::open("/proc/sys/kernel/ftrace_enabled").ok().map(FunctionTracing)
    }

    /// Whether function tracing is off now. Costs one system call.
    pub fn is_off(&self) -> bool {
        let mut value = [0; 8];
        let read = self.0.read_at(&mut value, 0).unwrap_or(0);
        value[..read].trim_ascii() == b"0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_on_unless_the_file_has_a_zero() {
        let dir = std::env::temp_dir().join(format!("tracetui-ftrace-{}", std::process::id()));
        for (text, off) in [("0\n", true), ("1\n", false), ("", false), ("00\n", false)] {
            std::fs::write(&dir, text).expect("writable");
            assert_eq!(FunctionTracing(File::open(&dir).expect("readable")).is_off(), off, "{text:?}");
        }
        let _ = std::fs::remove_file(&dir);
        let Some(setting) = FunctionTracing::open() else { return crate::not_checked("no kernel.ftrace_enabled") };
        let said = std::fs::read_to_string("/proc/sys/kernel/ftrace_enabled").expect("readable");
        for _ in 0..3 {
            assert_eq!(setting.is_off(), said.trim() == "0");
        }
    }
}
