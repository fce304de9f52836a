//! A client with one connection, as those of other languages are.

use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::failure::{Failure, OrFail};

pub(super) struct Client {
    stream: UnixStream,
    token: String,
    /// What was read of the next answer.
    buffer: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(socket: &str, token: &str) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket).await.or_fail(|| format!("cannot connect to `{socket}`"))?;
        Ok(Self { stream, token: token.to_owned(), buffer: Vec::new() })
    }

    /// The body of the answer, which must have this status.
    pub(super) async fn ask<T: DeserializeOwned>(
        &mut self,
        request: &str,
        body: &str,
        status: &str,
    ) -> Result<T, Failure> {
        let answer = self.exchange(request, body, status).await?;
        serde_json::from_slice(&answer).or_fail(|| format!("cannot read the answer to {request}"))
    }

    /// The same, for one without a body.
    pub(super) async fn tell(&mut self, request: &str, status: &str) -> Result<(), Failure> {
        self.exchange(request, "", status).await.map(drop)
    }

    async fn exchange(&mut self, request: &str, body: &str, status: &str) -> Result<Vec<u8>, Failure> {
        let text = format!(
            "{request} HTTP/1.1\r\nhost: broker\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let broken = || format!("the connection broke during {request}");
        self.stream.write_all(text.as_bytes()).await.or_fail(broken)?;
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.read().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        while self.buffer.len() < end + length {
            self.read().await?;
        }
        let answer: Vec<u8> = self.buffer.drain(..end + length).skip(end).collect();
        if head.split(' ').nth(1) != Some(status) {
            let first = head.lines().next().unwrap_or_default();
            return Err(Failure::new(format!(
                "{request} was answered with {first}: {}",
                String::from_utf8_lossy(&answer)
            )));
        }
        Ok(answer)
    }

    async fn read(&mut self) -> Result<(), Failure> {
        let read = self.stream.read_buf(&mut self.buffer).await.or_fail(|| "the connection broke".into())?;
        if read == 0 { Err(Failure::new("the broker closed the connection")) } else { Ok(()) }
    }
}
