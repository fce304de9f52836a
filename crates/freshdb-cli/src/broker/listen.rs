//! Connections: accepted, and served until they are closed. What belongs to one ends with it.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::answer::Refusal;
use super::leases::{Fate, Owner, StaysOpen};
use super::{Broker, Token, api, integresql};
use crate::failure::Failure;

/// How long a client may take until it has shown the token. Afterwards its connection is never closed from here: leases belong
/// to it, and nobody asks for anything while a test runs.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(10);

/// So many bytes of a body are read; how many are too many for what is asked is said by who answers.
const MOST_READ: usize = 4 << 20;

/// There are clients, such as Node's `fetch`, that close a connection after some seconds without a request unless they are told.
const STAYS: &str = "timeout=86400";

/// The socket's name in its directory, and that of the file from which others of the same user know the token.
pub(crate) const SOCKET: &str = "broker.sock";
pub(crate) const TOKEN: &str = "broker.token";

/// Where a broker listens: on the loopback interface, and on a socket in a directory that nobody else can enter.
#[derive(Debug)]
pub(crate) struct Listener {
    tcp: TcpListener,
    unix: UnixListener,
    socket: PathBuf,
}

impl Listener {
    /// # Errors
    ///
    /// If the system refuses, or the address is reached from other machines.
    pub(crate) async fn bind(address: SocketAddr, directory: &Path) -> Result<Self, Failure> {
        if !address.ip().is_loopback() {
            return Err(Failure::new(format!("the broker does not listen on {address}, which other machines reach"))
                .hint("use 127.0.0.1, and a tunnel such as `ssh -L` where it has to be reached from elsewhere")
                .code(2));
        }
        let tcp = TcpListener::bind(address)
            .await
            .map_err(|error| Failure::new(format!("cannot listen on {address}")).because(error))?;
        let socket = directory.join(SOCKET);
        let unix = UnixListener::bind(&socket).map_err(|error| {
            Failure::new(format!("cannot listen on the socket `{}`", socket.display())).because(error)
        })?;
        Ok(Self { tcp, unix, socket })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn url(&self) -> Result<String, Failure> {
        let address =
            self.tcp.local_addr().map_err(|error| Failure::new("the broker has no address").because(error))?;
        Ok(format!("http://{address}"))
    }

    /// Serves until this is dropped.
    pub(crate) async fn serve(self, broker: Arc<Broker>, token: Token) {
        let router = api::router().merge(integresql::router()).with_state(broker.clone());
        let served = Served { broker, router, token };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, _)) => {
                        // An answer is one small write.
                        drop(stream.set_nodelay(true));
                        connections.spawn(served.clone().serve(stream));
                    }
                    Err(error) => wait_out(&error).await,
                },
                accepted = self.unix.accept() => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(served.clone().serve(stream))),
                    Err(error) => wait_out(&error).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// An address of the loopback interface.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Clone)]
struct Served {
    broker: Arc<Broker>,
    router: Router,
    token: Token,
}

impl Served {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
        let belongings = Belongings { broker: self.broker, owner: Owner(CONNECTIONS.fetch_add(1, Ordering::Relaxed)) };
        let (router, token, owner) = (self.router, self.token, belongings.owner);
        let is_known = Arc::new(AtomicBool::new(false));
        let known = is_known.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (router, admitted) = (router.clone(), token.admit(request));
            known.fetch_or(admitted.is_some(), Ordering::Relaxed);
            async move {
                let Some(request) = admitted else { return Ok(Refusal::unauthorized().into_response()) };
                let stays_open = stays_open(&request);
                let mut request = match read(request).await {
                    Ok(request) => request,
                    Err(refusal) => return Ok(refusal.into_response()),
                };
                request.extensions_mut().insert(owner);
                request.extensions_mut().insert(stays_open);
                let mut response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
                response.headers_mut().insert("keep-alive", HeaderValue::from_static(STAYS));
                Ok::<Response, Infallible>(response)
            }
        });
        let mut connection = pin!(
            hyper::server::conn::http1::Builder::new()
                .header_read_timeout(None)
                .serve_connection(TokioIo::new(stream), service)
        );
        let ended = match tokio::time::timeout(STRANGER_TIMEOUT, connection.as_mut()).await {
            Ok(ended) => ended,
            Err(_) if is_known.load(Ordering::Relaxed) => connection.await,
            Err(_) => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended badly");
        }
        drop(belongings);
    }
}

/// A request with its body, whether or not anybody wants that. Of one that is answered before its body was read hyper closes the connection, and
/// leases end with it.
async fn read(request: Request<Incoming>) -> Result<Request<Body>, Refusal> {
    let (head, body) = request.into_parts();
    match axum::body::to_bytes(Body::new(body), MOST_READ).await {
        Ok(body) => Ok(Request::from_parts(head, body.into())),
        Err(error) if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) => {
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large"))
        }
        Err(error) => Err(Refusal::new(StatusCode::BAD_REQUEST, format!("the request's body cannot be read: {error}"))),
    }
}

/// What RFC 9112 says of that in section 9.3: <https://www.rfc-editor.org/rfc/rfc9112#section-9.3>.
fn stays_open<B>(request: &Request<B>) -> StaysOpen {
    let has = |option: &str| {
        let lists = request.headers().get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
        lists.flat_map(|list| list.split(',')).any(|each| each.trim().eq_ignore_ascii_case(option))
    };
    StaysOpen(!has("close") && (request.version() > Version::HTTP_10 || has("keep-alive")))
}

/// What a connection has. Given back with it, however it ends.
struct Belongings {
    broker: Arc<Broker>,
    owner: Owner,
}

impl Drop for Belongings {
    fn drop(&mut self) {
        for held in self.broker.leases.take_all_of(self.owner) {
            drop(self.broker.give_back(held, Fate::RESET));
        }
        self.broker.templates.end(self.owner);
    }
}

/// A connection that is gone before it was accepted is the client's matter. Anything else, such as too many open files, passes
/// when others end.
async fn wait_out(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "no connection can be accepted");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
