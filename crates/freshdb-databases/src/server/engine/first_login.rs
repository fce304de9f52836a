//! The first login to a MySQL server.
//!
//! `caching_sha2_password`, MySQL's usual way, wants the password itself once after each start. It takes that by TLS, encrypted
//! with RSA, or by a socket; from then on a hash will do, which every driver can give over TCP. sqlx has neither TLS nor RSA unless
//! whoever builds it has chosen so. So this says it once, by the socket: no more of the protocol than that takes.
//!
//! See [the protocol](https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html).

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const PLUGIN: &[u8] = b"caching_sha2_password";

/// CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH.
const CAPABILITIES: u32 = 0x0000_0200 | 0x0000_8000 | 0x0008_0000;
const LONGEST_PACKET: u32 = 1 << 24;
const UTF8MB4: u8 = 45;
/// The longest answer that is read. Those that are expected have some hundred bytes.
const LONGEST_ANSWER: usize = 1 << 16;

const OK: u8 = 0x00;
const MORE: u8 = 0x01;
const SWITCH: u8 = 0xfe;
const REFUSED: u8 = 0xff;
const KNOWN: u8 = 3;
const SAY_IT: u8 = 4;

/// Logs in with the password in full, by the server's socket.
pub(super) async fn by_socket(socket: &Path, user: &str, password: &str) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    // The greeting.
    let (mut number, greeting) = read(&mut stream).await?;
    if greeting.first() == Some(&REFUSED) {
        return Err(refused(&greeting));
    }
    write(&mut stream, number, &response(user)).await?;
    loop {
        let answer;
        (number, answer) = read(&mut stream).await?;
        match answer[..] {
            [OK, ..] => return Ok(()),
            // It knows the hash, which says nothing here: ours was made up. The next packet refuses it.
            [MORE, KNOWN, ..] => {}
            [MORE, SAY_IT, ..] => write(&mut stream, number, &[password.as_bytes(), &[0]].concat()).await?,
            [SWITCH, ..] if answer[1..].starts_with(PLUGIN) => write(&mut stream, number, &[0; 32]).await?,
            [REFUSED, ..] => return Err(refused(&answer)),
            _ => return Err(io::Error::other("the server wants to be logged in to in an unknown way")),
        }
    }
}

/// With a hash that is wrong, for it is not to be taken: the server then asks for the password.
fn response(user: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(CAPABILITIES.to_le_bytes());
    packet.extend(LONGEST_PACKET.to_le_bytes());
    packet.push(UTF8MB4);
    packet.extend([0; 23]);
    packet.extend(user.as_bytes());
    packet.push(0);
    packet.push(32);
    packet.extend([0; 32]);
    packet.extend(PLUGIN);
    packet.push(0);
    packet
}

/// A packet, and the number that the next one has.
async fn read(stream: &mut UnixStream) -> io::Result<(u8, Vec<u8>)> {
    let [a, b, c, number] = {
        let mut header = [0; 4];
        stream.read_exact(&mut header).await?;
        header
    };
    let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
    if length > LONGEST_ANSWER {
        return Err(io::Error::other("the server's answer is too long to be one"));
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await?;
    Ok((number.wrapping_add(1), packet))
}

async fn write(stream: &mut UnixStream, number: u8, packet: &[u8]) -> io::Result<()> {
    let length = u32::try_from(packet.len()).map_err(io::Error::other)?;
    let [a, b, c, _] = length.to_le_bytes();
    stream.write_all(&[&[a, b, c, number], packet].concat()).await
}

/// Its message: after the mark, the code's two bytes, and the state's six.
fn refused(packet: &[u8]) -> io::Error {
    io::Error::other(String::from_utf8_lossy(packet.get(9..).unwrap_or_default()).into_owned())
}
