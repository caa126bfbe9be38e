//! Wrong arguments, and the filter options.

use crate::cli;
use std::time::{SystemTime, UNIX_EPOCH};
use tracetui_events::filter::{self, Compiled};
use tracetui_events::playback;
use tracetui_events::text::time::Zone;
use tracetui_host::clock;
use tracetui_host::users::AccountNames;
/// Invalid filter options: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadUsage(pub(in crate::command) String);

pub fn is_bad_usage(error: &anyhow::Error) -> bool {
    error.is::<BadUsage>() || matches!(error.downcast_ref(), Some(playback::Error::Usage(_)))
}

/// Reads the filter options. The error has a caret under the place.
pub(crate) fn compile(filters: &cli::FilterArgs) -> Result<Compiled, BadUsage> {
    let options = filter::FilterOptions::from(filters);
    options.compile(&HostNames::read()).map_err(|error| BadUsage(error.render()))
}

pub(crate) struct HostNames(AccountNames);

impl HostNames {
    pub(crate) fn read() -> HostNames {
        HostNames(AccountNames::read())
    }
}

impl filter::NameLookup for HostNames {
    fn uid(&self, name: &str) -> Option<u32> {
        self.0.uid(name).map(|uid| uid.0)
    }
    fn gid(&self, name: &str) -> Option<u32> {
        self.0.gid(name).map(|gid| gid.0)
    }
    fn end(&self) -> Option<i128> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|now| now.as_nanos() as i128)
    }
    fn zone(&self) -> Zone {
        clock::zone()
    }
}
