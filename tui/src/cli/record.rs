//! The options of `tracetui record`.

use super::size::ByteSize;
use super::{Run, TraceArgs, duration, file_size, help};
use clap::Args;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tracetui_events::frame::host::Label;

/// The shortest time of a file of `--rotate`.
const TIME_MIN: Duration = Duration::from_secs(1);

/// The most bytes of a label.
const LABEL_MOST: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = help::RECORD)]
pub struct Record {
    /// The recording; - is stdout. Default: HOST-TIME.ttr
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace FILE if it exists
    #[arg(long)]
    pub force: bool,
    /// Stop after this time, such as 10s or 1h 30m; a COMMAND gets SIGTERM
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Stop before the recording exceeds this size; with --rotate, the size of all files, even removed ones
    #[arg(long, value_name = "SIZE", value_parser = file_size)]
    pub max_size: Option<ByteSize>,
    /// Start a new file at this size or after this time (such as 1GiB,4 or 256MiB,5m,48), and keep the newest COUNT files
    #[arg(long, value_name = "SIZE[,TIME],COUNT", conflicts_with = "force")]
    pub rotate: Option<Rotate>,
    /// With --rotate: count the files of earlier traces with this name too, and remove the oldest
    #[arg(long, requires = "rotate")]
    pub resume: bool,
    /// With --rotate: the group of the files may read them, too (mode 0640)
    #[arg(long, requires = "rotate")]
    pub group_read: bool,
    /// With --rotate: write metrics for Prometheus to NAME.prom in DIR, every 10 s. Default DIR: that of the recordings
    #[arg(long, requires = "rotate", value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub metrics: Option<Option<PathBuf>>,
    /// Give the recording a label, shown by info and in Parquet metadata; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub label: Vec<Label>,
    #[command(flatten)]
    pub around: AroundArgs,
    #[command(flatten)]
    pub trace: TraceArgs,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct AroundArgs {
    /// Record only the time around events that match a filter expression
    #[arg(long, value_name = "EXPR")]
    pub around: Option<String>,
    /// With --around: how long before a match
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s", requires = "around")]
    pub before: Duration,
    /// With --around: how long after a match
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s", requires = "around")]
    pub after: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rotate {
    /// Bytes of a file, from which on the next one begins.
    pub size: ByteSize,
    /// How long after its first event a file ends.
    pub time: Option<Duration>,
    /// Files that are kept, at least 1.
    pub count: usize,
}

impl FromStr for Rotate {
    type Err = String;
    fn from_str(text: &str) -> Result<Rotate, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let (size, time, count) = match parts.as_slice() {
            [size, count] => (size, None, count),
            [size, time, count] => (size, Some(duration(time)?), count),
            _ => {
                return Err(
                    "write a size, a time if wanted, and a number of files, such as 1GiB,4 or 256MiB,5m,48".to_owned()
                );
            }
        };
        if time.is_some_and(|time| time < TIME_MIN) {
            return Err("the minimum time of a file is 1s".to_owned());
        }
        let size = file_size(size)?;
        let count = count.parse::<NonZeroU32>().map_err(|_| "the number of files must be at least 1".to_owned())?;
        Ok(Rotate { size, time, count: count.get() as usize })
    }
}

/// Parses a label, such as `site=fra1`. Its value may be empty.
pub(super) fn label(text: &str) -> Result<Label, String> {
    let (name, value) = text.split_once('=').ok_or("write a name and a value, such as site=fra1")?;
    let good = |(at, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || at > 0 && c.is_ascii_digit();
    if name.is_empty() || !name.char_indices().all(good) {
        return Err("the name of a label has letters, digits and _, and begins with no digit".to_owned());
    }
    if text.len() > LABEL_MOST {
        return Err(format!("a label has at most {LABEL_MOST} bytes"));
    }
    Ok(Label { name: name.to_owned(), value: value.to_owned() })
}
