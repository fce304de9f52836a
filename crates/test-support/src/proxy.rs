//! A network between the service and its database, which a test can make slow, cut or stall.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
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
    /// Closes every connection, old and new, as [`Proxy::drop_connections`] does.
    Cut,
    /// Keeps every connection open, and passes nothing on.
    Stall,
}

/// All is passed on at once.
pub const FAIR: Weather = Weather::Delay(Duration::ZERO);

/// A listener that leads to a server. Dropped, it closes every connection and listens no more.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens, on the loopback interface.
    pub port: u16,
    conditions: watch::Sender<Conditions>,
}

/// The network at one moment. Weather and cuts change together, so that no connection is taken in fair weather and then
/// missed by the cut that ended it.
#[derive(Clone, Copy, Debug)]
struct Conditions {
    weather: Weather,
    /// How often everything was cut: a connection lives until this changes.
    cuts: u32,
}

impl Proxy {
    /// Listens on a free port and leads to `target`.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub async fn before(target: String) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), target).await
    }

    /// Listens on a free port of this address and leads to `target`.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub async fn at(address: IpAddr, target: String) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (conditions, met) = watch::channel(Conditions { weather: FAIR, cuts: 0 });
        tokio::spawn(accept(listener, target, met));
        Self { port, conditions }
    }

    /// Changes the weather, for connections that are open too.
    ///
    /// When this returns, the old weather is over, also for what was sent before and the network still has. Only a
    /// [`Weather::Delay`] is that of the moment in which the network met what it delays.
    pub fn set(&self, weather: Weather) {
        self.conditions.send_modify(|conditions| {
            conditions.weather = weather;
            conditions.cuts += u32::from(weather == Weather::Cut);
        });
    }

    /// Closes every connection there is; new ones are welcome.
    ///
    /// When this returns, nothing is passed on any more over any of them, in either direction: not what is sent from then
    /// on, nor what the network still has, whatever the weather becomes. What had been passed on before arrives; what is
    /// asked afterwards is never answered. That they are closed, either side learns a moment later, when the proxy's runtime
    /// gets to it.
    ///
    /// A connection is there when the proxy has accepted it. One that the system has taken and the proxy has not, over which
    /// nothing can have come back, is a new one.
    pub fn drop_connections(&self) {
        self.conditions.send_modify(|conditions| conditions.cuts += 1);
    }
}

impl Conditions {
    fn pass_on(&self) -> bool {
        !matches!(self.weather, Weather::Cut | Weather::Stall)
    }

    fn most_at_once(&self) -> usize {
        match self.weather {
            Weather::Trickle(bytes) => bytes.max(1),
            Weather::Delay(_) | Weather::Refuse | Weather::Cut | Weather::Stall => usize::MAX,
        }
    }
}

/// Until the proxy is dropped, which ends the connections too: nobody can change the conditions any more.
async fn accept(listener: TcpListener, target: String, conditions: watch::Receiver<Conditions>) {
    let mut until_dropped = conditions.clone();
    let dropped = async move { while until_dropped.changed().await.is_ok() {} };
    let accepting = async {
        while let Ok((client, _)) = listener.accept().await {
            let Conditions { weather, cuts } = *conditions.borrow();
            if !matches!(weather, Weather::Cut | Weather::Refuse) {
                tokio::spawn(connect(client, target.clone(), conditions.clone(), cuts));
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = dropped => {}
    }
}

/// One connection, for as long as there are no more cuts than these.
async fn connect(client: TcpStream, target: String, mut conditions: watch::Receiver<Conditions>, cuts: u32) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    client.set_nodelay(true).expect("a socket");
    server.set_nodelay(true).expect("a socket");
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pass_on(from_client, to_server, conditions.clone(), cuts) => {}
        () = pass_on(from_server, to_client, conditions.clone(), cuts) => {}
        _ = conditions.wait_for(|conditions| conditions.cuts != cuts) => {}
    }
}

async fn pass_on(mut from: OwnedReadHalf, to: OwnedWriteHalf, mut conditions: watch::Receiver<Conditions>, cuts: u32) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        let met = conditions.borrow().weather;
        if let Weather::Delay(delay) = met
            && delay > Duration::ZERO
        {
            tokio::time::sleep(delay).await;
        }
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            if to.writable().await.is_err() || conditions.wait_for(Conditions::pass_on).await.is_err() {
                return;
            }
            let (written, most) = {
                // Who changes the conditions waits until this is let go. To look and then to write would let a round trip pass
                // after a cut: one poll may ask the server, lose the processor to it, and find the answer there.
                let conditions = conditions.borrow();
                if conditions.cuts != cuts {
                    return;
                }
                if !conditions.pass_on() {
                    continue;
                }
                let most = conditions.most_at_once();
                (to.try_write(&rest[..most.min(rest.len())]), most)
            };
            match written {
                Ok(bytes) => rest = &rest[bytes..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            if most < length {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// On one thread, and so with nothing left to chance but the order in which a connection's task looks at its two
    /// directions and at the cut, which is drawn anew for each.
    #[tokio::test]
    async fn nothing_is_passed_on_after_a_cut() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let proxy = Proxy::before(listener.local_addr().expect("an address").to_string()).await;
        let connect = async || {
            let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await.expect("a connection");
            (client, listener.accept().await.expect("its other end").0)
        };
        let mut pairs = Vec::new();
        for _ in 0..40 {
            pairs.push(connect().await);
        }
        proxy.set(Weather::Stall);
        for (client, server) in &mut pairs {
            client.write_all(b"question").await.expect("it is sent");
            server.write_all(b"answer").await.expect("it is sent");
        }
        // When this one has come through, the network has met all that was sent before it.
        let _next = connect().await;

        proxy.drop_connections();
        proxy.set(FAIR);
        for (mut client, mut server) in pairs {
            for end in [&mut client, &mut server] {
                let mut received = Vec::new();
                // In order or by a reset.
                let closed = tokio::time::timeout(crate::DEADLINE, end.read_to_end(&mut received)).await;
                assert!(closed.is_ok(), "it is closed");
                assert_eq!(received, b"", "this came after the cut");
            }
        }
    }
}
