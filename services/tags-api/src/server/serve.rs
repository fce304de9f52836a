//! Connections: accepted, served, and closed in order.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tower::ServiceExt;

use super::leftover::Leftover;
use super::stall::EndsStalled;

/// How long a client may take to send the head of a request, or stay connected without one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take none of its answer.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long after it has connected a client may take to send its first request while the service stops.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How many connections wait in the system to be accepted, at the most.
const WAITING: u32 = 1024;

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
    socket.listen(WAITING)
}

/// Serves until `stop` is ready, then takes no new connection and finishes what is under way, for `grace` at the most.
/// Says whether anything had to be cut off.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>, grace: Duration) -> bool {
    // Ready for each connection when `stop` was; closed when the last of them is.
    let (stopping, _) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => spawn_connection(stream, &router, stopping.subscribe()),
            Err(error) => wait_out(&error).await,
        }
    }
    for stream in let_in_before(listener) {
        spawn_connection(stream, &router, stopping.subscribe());
    }
    tracing::info!("finishing the requests that are under way");
    stopping.send_replace(());
    tokio::time::timeout(grace, stopping.closed()).await.is_err()
}

/// The connections that the system has made and nobody has accepted yet: their clients may have sent a request, and get a reset
/// when the listener closes.
fn let_in_before(listener: TcpListener) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    // tokio knows of those only that its reactor was told of.
    let Ok(listener) = listener.into_std() else { return streams };
    while streams.len() < WAITING as usize {
        let accepted = listener.accept().and_then(|(stream, _)| {
            stream.set_nonblocking(true)?;
            TcpStream::from_std(stream)
        });
        match accepted {
            Ok(stream) => streams.push(stream),
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    tracing::warn!(%error, "who has connected last is not answered");
                }
                break;
            }
        }
    }
    streams
}

fn spawn_connection(stream: TcpStream, router: &Router, mut stopping: watch::Receiver<()>) {
    // An answer is one small write: waiting for more to send with it only delays it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let accepted = Instant::now();
    let asked = Arc::new(Notify::new());
    let (router, first) = (router.clone(), asked.clone());
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        first.notify_one();
        let router = router.clone();
        let request = Leftover::behind(request);
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(EndsStalled::after(STALL_TIMEOUT, stream)), service);
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        let told = async {
            // There is nobody left to tell it when the service has ended.
            stopping.changed().await.ok();
            tokio::time::timeout_at(accepted + FIRST_REQUEST, asked.notified()).await.ok();
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = told => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended badly");
        }
        // Until here: the service waits for it.
        drop(stopping);
    });
}

/// A connection that is gone before it was accepted is the client's matter. Anything else, such as too many open files,
/// passes when others end: trying again at once would only burn the processor that they need for that.
async fn wait_out(error: &io::Error) {
    if !is_the_clients(error) {
        tracing::error!(%error, "no connection can be accepted");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
