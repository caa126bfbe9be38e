//! The command line.

use clap::Parser;
use std::path::PathBuf;
use std::time::Duration;

/// Ships closed recordings to object storage as Parquet.
///
/// Parts of `tracetui record --rotate` become TO/events/dt=YYYY-MM-DD/hour=HH/HOST-BOOT-TRACE-PART-SUM.parquet, each with a row
/// in TO/manifest. Objects are created and never replaced, so that a retry changes nothing. It needs no root and traces nothing.
///
/// Credentials for S3 come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from a web identity, or from the container or the
/// machine. AWS_ENDPOINT_URL is another server.
#[derive(Parser, Debug)]
#[command(name = "tracetui-ship", version)]
pub(crate) struct Ship {
    /// The directory with the recordings
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: PathBuf,
    /// Where the objects go: s3://BUCKET/PREFIX or file:///DIR
    #[arg(long, value_name = "URL")]
    pub(crate) to: String,
    /// Remove the oldest closed recordings above this size (such as 10GiB) or age (such as 12h), even if they were not shipped
    ///
    /// Without this option, ship removes nothing, and `record --rotate` bounds the spool.
    #[arg(long, value_name = "SIZE|TIME", value_parser = keep)]
    pub(crate) keep: Option<Keep>,
    /// Ship what is closed, then exit; the status is 1 if something waits because of an error
    #[arg(long)]
    pub(crate) once: bool,
    /// The directory for the file that is being converted. Default: SPOOL/.tracetui-ship
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// The unit of times: ns, or us for Spark and Iceberg
    #[arg(long, value_name = "UNIT", default_value = "ns", value_parser = ["ns", "us"])]
    pub(crate) time: String,
    /// The longest pause after failures, and at most this between two looks at the spool. For tests.
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = humantime::parse_duration, hide = true)]
    pub(crate) pause: Duration,
}

/// The bound of the spool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keep {
    Bytes(u64),
    Age(Duration),
}

fn keep(text: &str) -> Result<Keep, String> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let fault = || format!("'{text}' is no size (such as 10GiB) and no time (such as 12h), or too small");
    for (unit, shift) in UNITS {
        if let Some(number) = text.strip_suffix(unit) {
            let bytes = number.trim_end().parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
            return bytes.filter(|bytes| *bytes >= 1 << 20).map(Keep::Bytes).ok_or_else(fault);
        }
    }
    let age = humantime::parse_duration(text).map_err(|_| fault())?;
    if age < Duration::from_secs(1) { Err(fault()) } else { Ok(Keep::Age(age)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_of_keep() {
        assert_eq!(keep("10GiB"), Ok(Keep::Bytes(10 << 30)));
        assert_eq!(keep("12h"), Ok(Keep::Age(Duration::from_secs(43_200))));
        for wrong in ["", "0GiB", "1KiB", "0s", "ten", "99999999999999999999TiB"] {
            assert!(keep(wrong).is_err(), "{wrong}");
        }
    }
}
