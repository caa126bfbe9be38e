//! The object storage. Objects are created, and never replaced.

use crate::bounded_http::{Connector, FOOTER, REQUEST, ROW};
use crate::credentials;
use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use futures_util::StreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, Error, GetOptions, GetRange, ObjectStore};
use object_store::{PutMode, PutPayload, RetryConfig};
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};

/// Requests are repeated this often at once. The agent repeats them later with its own pauses.
const RETRIES: usize = 2;

/// The most pages of a listing. A trace has fewer rows in an hour, and a server may send pages without end.
const PAGES: usize = 100;

#[derive(Debug)]
pub(crate) struct Store {
    store: Box<dyn ObjectStore>,
    /// The same store, for pages of a listing.
    s3: Option<AmazonS3>,
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
        let s3 = s3(bucket)?;
        Ok(Store { store: Box::new(s3.clone()), s3: Some(s3), prefix, directory: None })
    }

    fn directory(path: &str) -> Result<Store> {
        let directory = PathBuf::from(path);
        if !directory.is_absolute() {
            bail!("'file://{path}' has no absolute path: use file:///DIR");
        }
        let fault = || format!("cannot open the directory {path}");
        std::fs::create_dir_all(&directory).with_context(fault)?;
        let store = LocalFileSystem::new_with_prefix(&directory).with_context(fault)?.with_fsync(true);
        Ok(Store { store: Box::new(store), s3: None, prefix: Key::default(), directory: Some(directory) })
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

    /// Creates an object. Returns `false` if one with this name exists, which is not changed.
    /// Fails if it cannot be created; whether it exists is then unknown.
    pub(crate) async fn create(&self, name: &str, contents: Bytes) -> Result<bool> {
        let payload = PutPayload::from_bytes(contents);
        match self.store.put_opts(&self.key(name), payload, PutMode::Create.into()).await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(fault(error)).with_context(|| format!("cannot store {name}")),
        }
    }

    /// Reads a row of the manifest. `None` if there is none.
    /// Fails if it cannot be read, or is too long for a row.
    pub(crate) async fn row(&self, name: &str) -> Result<Option<Bytes>> {
        match self.tail(&self.key(name), GetRange::Bounded(0..ROW)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(fault(error)).with_context(|| format!("cannot read {name}")),
        }
    }

    /// Reads the end of a Parquet file, from its metadata on. `None` if it is none.
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

    /// The names of the objects in a directory that begin with `start`.
    /// Fails if the directory cannot be listed, or has too many objects.
    pub(crate) async fn list(&self, directory: &str, start: &str) -> Result<Vec<String>> {
        let listed = match (&self.s3, &self.directory) {
            (Some(s3), _) => self.pages(s3, &self.key(&format!("{directory}/{start}"))).await,
            (None, Some(root)) => files(&root.join(directory), directory, start),
            (None, None) => Ok(Vec::new()),
        };
        listed.with_context(|| format!("cannot list {directory}"))
    }

    async fn pages(&self, s3: &AmazonS3, prefix: &Key) -> Result<Vec<String>> {
        let (mut names, mut page_token) = (Vec::new(), None);
        for _ in 0..PAGES {
            let options = PaginatedListOptions { page_token, ..Default::default() };
            let page = s3.list_paginated(Some(prefix.as_ref()), options).await.map_err(fault)?;
            names.extend(page.result.objects.iter().filter_map(|object| self.name(&object.location)));
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(names);
            }
        }
        bail!("the server sends pages without end; is AWS_ENDPOINT_URL an S3 server?")
    }

    fn name(&self, key: &Key) -> Option<String> {
        let parts: Vec<_> = key.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    }
}

/// The files in a local directory whose names begin with `start`. A directory that does not exist has none.
fn files(path: &Path, name: &str, start: &str) -> Result<Vec<String>> {
    let entries = match path.read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|file| file.starts_with(start)).map(|file| format!("{name}/{file}")).collect())
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
    if let Some(keys) = credentials::keys()? {
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

pub(crate) fn is_below(path: &Path, directory: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(path).starts_with(real(directory))
}
