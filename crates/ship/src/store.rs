//! The object storage. Objects are created, and never replaced.

use crate::bounded::{Connector, REQUEST};
use crate::profile;
use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, Error, GetOptions, GetRange, ObjectMeta, ObjectStore};
use object_store::{PutMode, PutPayload, RetryConfig};
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};

/// Requests are repeated this often at once. The agent repeats them later with its own pauses.
const RETRIES: usize = 2;

/// The most bytes of a manifest's row or an error, and of the end of a Parquet file or any other answer.
pub(crate) const ROW: u64 = 64 << 10;
pub(crate) const FOOTER: u64 = 64 << 20;

/// Where the objects go.
#[derive(Debug)]
pub(crate) struct Store {
    store: Box<dyn ObjectStore>,
    prefix: Key,
    /// The directory of a `file://` URL.
    pub(crate) directory: Option<PathBuf>,
}

/// What became of the creation of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Created {
    Now,
    /// An object with this name exists.
    Before,
}

impl Store {
    /// Opens the store of a URL. It reads the environment, and makes no request.
    ///
    /// # Errors
    /// If the URL is no such URL, or a setting of the environment is wrong.
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

    /// Creates an object. An existing one is not changed.
    ///
    /// # Errors
    /// If it cannot be created; whether it exists is then unknown.
    pub(crate) async fn create(&self, name: &str, contents: Bytes) -> Result<Created> {
        let payload = PutPayload::from_bytes(contents);
        match self.store.put_opts(&self.key(name), payload, PutMode::Create.into()).await {
            Ok(_) => Ok(Created::Now),
            Err(Error::AlreadyExists { .. }) => Ok(Created::Before),
            Err(error) => Err(fault(error)).with_context(|| format!("cannot store {name}")),
        }
    }

    /// Reads a row of the manifest. `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is too long for a row.
    pub(crate) async fn row(&self, name: &str) -> Result<Option<Bytes>> {
        match self.tail(&self.key(name), GetRange::Bounded(0..ROW)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(fault(error)).with_context(|| format!("cannot read {name}")),
        }
    }

    /// Reads the end of a Parquet file, from its metadata on. `None` if it is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) async fn footer(&self, name: &str) -> Result<Option<Bytes>> {
        let key = self.key(name);
        let what = || format!("cannot read {name}");
        let end = self.tail(&key, GetRange::Suffix(8)).await.map_err(fault).with_context(what)?;
        let length = match <[u8; 8]>::try_from(&*end) {
            Ok([a, b, c, d, b'P', b'A', b'R', b'1']) => u64::from(u32::from_le_bytes([a, b, c, d])) + 8,
            _ => return Ok(None),
        };
        if length > FOOTER {
            return Ok(None);
        }
        Ok(Some(self.tail(&key, GetRange::Suffix(length)).await.map_err(fault).with_context(what)?))
    }

    /// Reads at most the requested bytes, even if the server sends more.
    async fn tail(&self, key: &Key, range: GetRange) -> Result<Bytes, Error> {
        let most = match &range {
            GetRange::Bounded(range) => range.end,
            GetRange::Suffix(bytes) => *bytes,
            GetRange::Offset(_) => ROW,
        };
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let mut stream = self.store.get_opts(key, options).await?.into_stream();
        let mut bytes = Vec::new();
        while let Some(more) = stream.next().await {
            bytes.extend_from_slice(&more?);
            if bytes.len() as u64 > most {
                let source = anyhow!("the server sent more bytes than were requested").into();
                return Err(Error::Generic { store: "S3", source });
            }
        }
        Ok(bytes.into())
    }

    /// The objects below a name.
    pub(crate) fn list(&self, name: &str) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.store.list(Some(&self.key(name)))
    }

    /// The names of the objects in a directory that begin with `start`.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub(crate) async fn names(&self, directory: &str, start: &str) -> Result<Vec<String>> {
        let first = format!("{directory}/{start}");
        let mut found = self.store.list_with_offset(Some(&self.key(directory)), &self.key(&first));
        let mut names = Vec::new();
        while let Some(object) = found.next().await {
            let object = object.map_err(fault).with_context(|| format!("cannot list {directory}"))?;
            match self.name(&object.location) {
                Some(name) if name.starts_with(&first) => names.push(name),
                // S3 lists names in order.
                _ if self.directory.is_none() => break,
                _ => {}
            }
        }
        Ok(names)
    }

    /// The name of an object below the URL.
    pub(crate) fn name(&self, key: &Key) -> Option<String> {
        let parts: Vec<_> = key.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    }
}

/// The message of an error. A server's answer may contain anything, so it is escaped where it is printed.
fn fault(error: Error) -> anyhow::Error {
    let remedy = match &error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            "; see AWS_ACCESS_KEY_ID, AWS_PROFILE and the policy of the bucket"
        }
        Error::NotFound { .. } => "; is the bucket right?",
        // The metadata of a virtual machine at a cloud provider.
        other if other.to_string().contains("/latest/api/token") => {
            "; no credentials were found: see AWS_ACCESS_KEY_ID and AWS_PROFILE"
        }
        _ => "",
    };
    anyhow!("{error}{remedy}")
}

fn s3(bucket: &str) -> Result<object_store::aws::AmazonS3> {
    // The second call of a process changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::from_env();
    if let Some(keys) = profile::keys()? {
        builder = builder.with_access_key_id(keys.id).with_secret_access_key(keys.secret);
        if let Some(token) = keys.token {
            builder = builder.with_token(token);
        }
    }
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: REQUEST };
    let builder = builder.with_bucket_name(bucket).with_retry(retry);
    let builder = builder.with_http_connector(Connector);
    builder.with_checksum_algorithm(Checksum::SHA256).build().map_err(|error| match error.to_string() {
        // It has no type of its own.
        text if text.contains("CA certificates") => anyhow!("no CA certificates: install the package ca-certificates"),
        text => anyhow!("the settings of AWS_ variables are wrong: {text}"),
    })
}

/// Whether a path is below the directory of the store.
pub(crate) fn is_below(path: &Path, directory: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(path).starts_with(real(directory))
}
