//! HTTP with bounded answers, and without redirects: object_store reads an error's body whole, however long it is, and reqwest sends
//! the token of a session to whatever host a server names.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use object_store::client::{HttpResponseBody, HttpService};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::Client;
use reqwest::redirect::Policy;
use std::time::Duration;

/// The most bytes of an answer. Objects are not read.
const ANSWER: usize = 64 << 10;

/// How long one request may take. A slow server takes a part of 30 MB at 50 kB/s. reqwest's limit for silence would also apply while a
/// part is sent.
pub(crate) const REQUEST: Duration = Duration::from_secs(600);

/// How long a server may take to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// Makes clients with bounded answers.
#[derive(Debug)]
pub(crate) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // object_store sets a shorter timeout for the metadata server.
        let connect = options.get_config_value(&ClientConfigKey::ConnectTimeout);
        let connect = connect.and_then(|time| humantime::parse_duration(&time).ok()).unwrap_or(CONNECT);
        let client = Client::builder().redirect(Policy::none()).http1_only().timeout(REQUEST);
        let client = client.connect_timeout(connect).build();
        let client = client.map_err(|error| object_store::Error::Generic { store: "HTTP", source: error.into() })?;
        Ok(HttpClient::new(Bounded(HttpClient::new(client))))
    }
}

#[derive(Debug)]
struct Bounded(HttpClient);

impl HttpService for Bounded {
    fn call<'s, 'f>(&'s self, request: HttpRequest) -> BoxFuture<'f, Result<HttpResponse, HttpError>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async {
            let (head, body) = self.0.execute(request).await?.into_parts();
            let body = if head.status.is_success() {
                let long = |error| HttpError::new_boxed(HttpErrorKind::Decode, error);
                HttpResponseBody::new(Limited::new(body, ANSWER).map_err(long))
            } else {
                start_of(body).await?.into()
            };
            Ok(HttpResponse::from_parts(head, body))
        })
    }
}

/// The first bytes of an error's body, as text.
async fn start_of(body: HttpResponseBody) -> Result<Bytes, HttpError> {
    let (mut bytes, mut stream) = (Vec::new(), body.bytes_stream());
    while bytes.len() < ANSWER
        && let Some(more) = stream.next().await
    {
        bytes.extend_from_slice(&more?);
    }
    bytes.truncate(ANSWER);
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}
