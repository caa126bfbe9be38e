//! What a stored Parquet file says about its source.

use anyhow::{Context, Result};
use bytes::Bytes;

/// The source of the file that ends in these bytes. `None` if it does not say.
///
/// # Errors
/// If they are not the end of a Parquet file.
pub(crate) fn source(end: &Bytes) -> Result<Option<String>> {
    tracetui_events::sink::parquet::metadata_of(end, "source").context("a stored object is damaged: remove it")
}
