//! A network between the service and its database, which a test can make slow, cut or stall.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Passes everything on after this long.
    Delay(Duration),
    /// Passes everything on in pieces of so many bytes, a millisecond or so apart.
    Trickle(usize),
    /// Passes everything on, and takes no new connections.
    Refuse,
    /// Closes every connection, old and new.
    Cut,
    /// Keeps every connection open, and passes nothing on.
    Stall,
}

/// All is passed on at once.
pub const FAIR: Weather = Weather::Delay(Duration::ZERO);

/// A listener that leads to a server.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens, on the loopback interface.
    pub port: u16,
    weather: Arc<watch::Sender<Weather>>,
    /// Counts the cuts: a connection lives until this changes.
    cuts: Arc<watch::Sender<u32>>,
}

impl Proxy {
    /// Listens on a free port and leads to `target`.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub async fn before(target: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let weather = Arc::new(watch::Sender::new(FAIR));
        let cuts = Arc::new(watch::Sender::new(0));
        let (accepting, cutting) = (weather.clone(), cuts.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if matches!(*accepting.borrow(), Weather::Cut | Weather::Refuse) {
                    continue;
                }
                tokio::spawn(connect(client, target.clone(), accepting.subscribe(), cutting.subscribe()));
            }
        });
        Self { port, weather, cuts }
    }

    /// Changes the weather, for connections that are open too.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
        if weather == Weather::Cut {
            self.drop_connections();
        }
    }

    /// Closes every connection there is; new ones are welcome.
    pub fn drop_connections(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn connect(client: TcpStream, target: String, weather: watch::Receiver<Weather>, mut cuts: watch::Receiver<u32>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    client.set_nodelay(true).expect("a socket");
    server.set_nodelay(true).expect("a socket");
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pass_on(from_client, to_server, weather.clone()) => {}
        () = pass_on(from_server, to_client, weather) => {}
        _ = cuts.changed() => {}
    }
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        let now = *weather.borrow();
        if let Weather::Delay(delay) = now
            && delay > Duration::ZERO
        {
            tokio::time::sleep(delay).await;
        }
        if weather.wait_for(|weather| !matches!(weather, Weather::Cut | Weather::Stall)).await.is_err() {
            return;
        }
        let most = most_at_once(*weather.borrow());
        for piece in buffer[..length].chunks(most) {
            if to.write_all(piece).await.is_err() {
                return;
            }
            if piece.len() < length {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

fn most_at_once(weather: Weather) -> usize {
    match weather {
        Weather::Trickle(bytes) => bytes.max(1),
        Weather::Delay(_) | Weather::Refuse | Weather::Cut | Weather::Stall => usize::MAX,
    }
}
