//! `freshdb serve`: the broker on its own.

use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;
use std::sync::Arc;

use freshdb_databases::{Config, variables};

use super::child::Ends;
use super::hosting::Hosted;
use crate::broker::Token;
use crate::cli::{BROKER_URL, Serve};
use crate::failure::Failure;
use crate::servers::Servers;

pub(super) async fn serve(arguments: Serve) -> Result<ExitCode, Failure> {
    let mut ends = Ends::listen()?;
    let address = address(&arguments.listen)?;
    let token = match &arguments.token_file {
        Some(path) => Token::from_file(path)?,
        None => Token::random()?,
    };
    let servers = Arc::new(Servers::new(Config::from_env()?, &arguments.databases.engines()));
    let served = serve_with(&arguments, &servers, address, token, &mut ends).await;
    let stopped = servers.stop().await;
    // What failed first is told first.
    let code = served?;
    stopped?;
    Ok(code)
}

async fn serve_with(
    arguments: &Serve,
    servers: &Arc<Servers>,
    address: SocketAddr,
    token: Token,
    ends: &mut Ends,
) -> Result<ExitCode, Failure> {
    let hosted = tokio::select! {
        hosted = Hosted::begin(servers, &arguments.databases, address, token.clone(), arguments.quiet, None) => hosted?,
        _ = ends.next() => return Ok(ExitCode::SUCCESS),
    };
    // For a shell to read.
    let secret = match arguments.token_file {
        Some(_) => Vec::new(),
        None => line(variables::BROKER_TOKEN, token.reveal().as_bytes()),
    };
    let socket = line(variables::BROKER, hosted.socket.as_os_str().as_bytes());
    let lines = [socket, line(BROKER_URL, hosted.url.as_bytes()), secret].concat();
    let mut output = std::io::stdout();
    let written = output.write_all(&lines).and_then(|()| output.flush());
    if let Err(error) = written {
        hosted.end(ends).await;
        return Err(Failure::new("cannot write to standard output").because(error));
    }
    ends.next().await;
    hosted.end(ends).await;
    Ok(ExitCode::SUCCESS)
}

/// An assignment, of which a shell executes nothing, whatever the directory is called.
fn line(name: &str, value: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-:@%+,=".contains(byte);
    let value = if value.iter().all(is_plain) {
        value.to_vec()
    } else {
        let parts: Vec<&[u8]> = value.split(|byte| *byte == b'\'').collect();
        [b"'", parts.join(br"'\''".as_slice()).as_slice(), b"'"].concat()
    };
    [name.as_bytes(), b"=", &value, b"\n"].concat()
}

fn address(text: &str) -> Result<SocketAddr, Failure> {
    let mut addresses = text.to_socket_addrs().map_err(|error| {
        Failure::new(format!("`{text}` is no address to listen on"))
            .because(error)
            .hint("write HOST:PORT, such as 127.0.0.1:5000")
            .code(2)
    })?;
    addresses.next().ok_or_else(|| Failure::new(format!("`{text}` is no address to listen on")).code(2))
}
