//! The limit of open files: every map, program and link needs a descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::sync::OnceLock;

/// A sufficient number of descriptors: about 110 for the probes while they are loaded, plus those that were open at the
/// start.
const ENOUGH: u64 = 256;

static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the limit if it is too low. A COMMAND still gets the limit of the shell: [`before`].
pub fn make_room() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let Some(few) = limit.current.filter(|current| *current < ENOUGH) else { return Ok(()) };
    let raised = Rlimit { current: Some(ENOUGH), maximum: limit.maximum.map(|most| most.max(ENOUGH)) };
    let too_few = format!("the open file limit is {few}; tracing needs {ENOUGH}: run ulimit -n {ENOUGH} first");
    setrlimit(Resource::Nofile, raised).map_err(|_| io::Error::other(too_few))?;
    let _ = BEFORE.set(limit);
    Ok(())
}

/// Raises the limit as far as possible without privileges, for a command that starts no others.
pub fn make_most() {
    let limit = getrlimit(Resource::Nofile);
    // On an error, the limit stays unchanged.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The limit that the shell set, if it was raised.
pub fn before() -> Option<Rlimit> {
    BEFORE.get().copied()
}
