//! Connections: accepted, served, and closed in order.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower::ServiceExt;

use super::leftover::Leftover;
use super::stall::EndsStalled;

/// How long a client may take to send the head of a request, or stay connected without one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take none of its answer.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Listens on an address. Of a port that a stopped process used a moment ago the system may still keep connections; that
/// is no obstacle.
///
/// # Errors
///
/// If the system refuses the address. Call it inside a runtime.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Serves until `stop` is ready, then takes no new connection and finishes what is under way, for `grace` at the most.
/// Says whether anything had to be cut off.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>, grace: Duration) -> bool {
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => spawn_connection(stream, &router, &connections),
            Err(error) => wait_out(&error).await,
        }
    }
    drop(listener);
    tracing::info!("finishing the requests that are under way");
    tokio::time::timeout(grace, connections.shutdown()).await.is_err()
}

fn spawn_connection(stream: TcpStream, router: &Router, connections: &GracefulShutdown) {
    // An answer is one small write: waiting for more to send with it only delays it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let router = router.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        let request = Leftover::behind(request);
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(EndsStalled::after(STALL_TIMEOUT, stream)), service);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended badly");
        }
    });
}

/// A connection that is gone before it was accepted is the client's matter. Anything else, such as too many open files,
/// passes when others end: trying again at once would only burn the processor that they need for that.
async fn wait_out(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "no connection can be accepted");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
