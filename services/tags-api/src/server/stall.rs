//! Clients that do not take what they have asked for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A connection that fails when its other end has taken nothing for too long of what is being written: it would keep the
/// answer in memory for as long as the client likes.
pub(super) struct EndsStalled {
    stream: TcpStream,
    limit: Duration,
    /// While there is something to write that is not taken.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl EndsStalled {
    pub(super) fn after(limit: Duration, stream: TcpStream) -> Self {
        Self { stream, limit, stalled: None }
    }

    /// Passes on what became of a write, and gives up where nothing has become of it for too long.
    fn watch<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer")))
    }
}

impl AsyncRead for EndsStalled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for EndsStalled {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn connected(limit: Duration) -> (EndsStalled, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        (EndsStalled::after(limit, listener.accept().await.expect("its other end").0), client)
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_ends_the_connection() {
        let (mut server, _client) = connected(Duration::from_millis(50)).await;
        let error = loop {
            if let Err(error) = server.write_all(&[0; 1 << 14]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_reads_gets_everything() {
        const LENGTH: usize = 32 << 20;
        let (mut server, mut client) = connected(Duration::from_mins(10)).await;
        let sending = tokio::spawn(async move {
            server.write_all(&vec![1; LENGTH]).await?;
            server.shutdown().await
        });
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.expect("an answer");
        assert_eq!(received.len(), LENGTH);
        sending.await.expect("it ends").expect("all is sent");
    }
}
