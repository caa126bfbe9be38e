//! The object storage. Objects are created, and never replaced.

use crate::bounded_http::{Connector, REQUEST};
use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, Error, GetOptions, ObjectStore};
use object_store::{PutMode, PutPayload, RetryConfig};
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};

/// Requests are repeated this often at once. The agent repeats them later with its own pauses.
const RETRIES: usize = 2;

#[derive(Debug)]
pub(crate) struct Store {
    store: Box<dyn ObjectStore>,
    prefix: Key,
    /// The directory of a `file://` URL.
    pub(crate) directory: Option<PathBuf>,
}

impl Store {
    /// Opens the store of a URL. It reads the environment, and makes no request.
    /// Fails if the URL is no such URL, or a setting of the environment is wrong.
    pub(crate) fn open(url: &str) -> Result<Store> {
        if let Some(path) = url.strip_prefix("file://") {
            return Store::directory(path);
        }
        let Some(rest) = url.strip_prefix("s3://") else {
            bail!("'{url}' is no URL of a store: use s3://BUCKET/PREFIX or file:///DIR");
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || rest.contains(['@', '?', '#']) {
            bail!("the URL is no s3://BUCKET/PREFIX; credentials come from the environment");
        }
        let prefix = Key::parse(prefix.trim_end_matches('/')).with_context(|| format!("'{url}' is no URL"))?;
        Ok(Store { store: Box::new(s3(bucket)?), prefix, directory: None })
    }

    fn directory(path: &str) -> Result<Store> {
        let directory = PathBuf::from(path);
        if !directory.is_absolute() {
            bail!("'file://{path}' has no absolute path: use file:///DIR");
        }
        let fault = || format!("cannot open the directory {path}");
        std::fs::create_dir_all(&directory).with_context(fault)?;
        let store = LocalFileSystem::new_with_prefix(&directory).with_context(fault)?.with_fsync(true);
        Ok(Store { store: Box::new(store), prefix: Key::default(), directory: Some(directory) })
    }

    /// Makes the C library load its modules for names of hosts, on this thread. They cannot be loaded later. The name exists
    /// nowhere (RFC 2606), so each module is asked.
    pub(crate) fn load_resolvers(&self) {
        if self.directory.is_none() {
            let _ = ("tracetui-ship.invalid", 443).to_socket_addrs();
        }
    }

    fn key(&self, name: &str) -> Key {
        let parts = self.prefix.parts().map(|part| part.as_ref().to_owned());
        Key::from_iter(parts.chain(name.split('/').map(str::to_owned)))
    }

    /// Creates an object, unless one with this name exists: its name says what it contains.
    /// Fails if it cannot be created; whether it exists is then unknown.
    pub(crate) async fn create(&self, name: &str, contents: Bytes) -> Result<()> {
        let payload = PutPayload::from_bytes(contents);
        match self.store.put_opts(&self.key(name), payload, PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. }) if self.exists(name).await? => Ok(()),
            Err(error) => Err(fault(error)).with_context(|| format!("cannot store {name}")),
        }
    }

    pub(crate) async fn exists(&self, name: &str) -> Result<bool> {
        match self.store.get_opts(&self.key(name), GetOptions::new().with_head(true)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(fault(error)).with_context(|| format!("cannot look for {name}")),
        }
    }
}

/// The message of an error. A server's answer may contain anything, so it is escaped where it is printed.
fn fault(error: Error) -> anyhow::Error {
    let remedy = match &error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            "; see AWS_ACCESS_KEY_ID and the policy of the bucket"
        }
        Error::NotFound { .. } => "; is the bucket right?",
        // The metadata of a virtual machine at a cloud provider.
        other if other.to_string().contains("/latest/api/token") => {
            "; no credentials were found: see AWS_ACCESS_KEY_ID"
        }
        _ => "",
    };
    anyhow!("{error}{remedy}")
}

fn s3(bucket: &str) -> Result<AmazonS3> {
    // The second call of a process changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: REQUEST };
    let builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
    let builder = builder.with_http_connector(Connector);
    builder.with_checksum_algorithm(Checksum::SHA256).build().map_err(|error| match error.to_string() {
        // It has no type of its own.
        text if text.contains("CA certificates") => anyhow!("no CA certificates: install the package ca-certificates"),
        text => anyhow!("the settings of AWS_ variables are wrong: {text}"),
    })
}

pub(crate) fn is_below(path: &Path, directory: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(path).starts_with(real(directory))
}
