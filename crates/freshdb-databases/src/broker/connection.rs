//! HTTP on the broker's socket: one request after the other.

use std::path::Path;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::config::variables;
use crate::{Error, ErrorKind};

/// A connection to the broker. What it has leased ends with it.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authorization: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    hint: Option<String>,
}

impl Connection {
    pub(super) async fn open(socket: &Path, token: &str) -> Result<Self, Error> {
        let unreachable = || {
            let fact = format!("the broker that {} names does not answer: `{}`", variables::BROKER, socket.display());
            Error::new(ErrorKind::Unreachable, fact)
                .hint(format!("run the tests under `freshdb run`, or unset {}", variables::BROKER))
        };
        let stream = UnixStream::connect(socket).await.map_err(|error| unreachable().because(error))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| unreachable().because(error))?;
        // It ends with the sender. What goes wrong on it is told to whoever asks for something.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, authorization: format!("Bearer {token}") })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        let answer = self.request(method, path, body).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            Error::new(ErrorKind::Unreachable, "the broker's answer is not what this version of freshdb expects")
                .because(error)
                .hint("have `freshdb` and the tests of one version")
        })
    }

    /// An answer that may be empty.
    pub(super) async fn ask_for_any<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
    ) -> Result<Option<T>, Error> {
        let answer = self.request(method, path, None).await?;
        Ok(serde_json::from_slice(&answer).ok())
    }

    pub(super) async fn tell(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<(), Error> {
        self.request(method, path, body).await.map(drop)
    }

    async fn request(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Bytes, Error> {
        let lost = |error: hyper::Error| {
            Error::new(
                ErrorKind::Unreachable,
                "the connection to the broker was lost, and with it what was leased over it",
            )
            .because(error)
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "broker")
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body.map(Value::to_string).unwrap_or_default()))
            .map_err(|error| Error::new(ErrorKind::Config, "the broker cannot be asked that").because(error))?;
        let answer = self.sender.send_request(request).await.map_err(lost)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(lost)?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let refusal = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Refusal { error: format!("the broker answers {status}"), hint: None });
        let kind = match status {
            StatusCode::SERVICE_UNAVAILABLE => ErrorKind::Exhausted,
            StatusCode::UNPROCESSABLE_ENTITY => ErrorKind::Schema,
            _ => ErrorKind::Config,
        };
        let error = Error::new(kind, refusal.error);
        Err(match refusal.hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }
}
