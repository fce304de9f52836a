//! `freshdb serve`, and clients that are in control of their connections.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
pub(crate) use test_support::eventually_blocking as eventually;
use test_support::{DEADLINE, Engine};

/// A test of each engine: `name::sqlite`, `name::mysql`, `name::mariadb`, `name::postgres`; or of those in brackets.
macro_rules! on_every_engine {
    ([$($engine:ident),*] $($name:ident),+ $(,)?) => {
        on_every_engine! { @ [$($engine),*] [$($name),+] }
    };
    (@ $engines:tt [$($name:ident),+]) => {
        $(on_every_engine! { @@ $engines $name })+
    };
    (@@ [$($engine:ident),*] $name:ident) => {
        mod $name {
            $(
                #[test]
                fn $engine() {
                    super::$name(test_support::Engine::named(stringify!($engine)));
                }
            )*
        }
    };
    ($($name:ident),+ $(,)?) => {
        on_every_engine! { @ [sqlite, mysql, mariadb, postgres] [$($name),+] }
    };
}

/// What a broker says of itself. All say the same.
static DESCRIPTION: OnceLock<Value> = OnceLock::new();

/// A broker of one engine, which ends with this.
pub(crate) struct Broker {
    process: Child,
    pub(crate) engine: Engine,
    pub(crate) socket: String,
    pub(crate) port: u16,
    pub(crate) token: String,
}

impl Broker {
    pub(crate) fn of(engine: Engine) -> Self {
        Self::with(engine, &[])
    }

    pub(crate) fn with(engine: Engine, arguments: &[&str]) -> Self {
        Self::in_environment(engine, arguments, &[])
    }

    pub(crate) fn in_environment(engine: Engine, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_freshdb"))
            .args(["serve", "--quiet", &format!("--{}", engine.name())])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a broker");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut variable = |name: &str| {
            let line = lines.next().expect("a line, or there is no broker").expect("text");
            line.strip_prefix(&format!("{name}=")).unwrap_or_else(|| panic!("{name} is not {line}")).to_owned()
        };
        let (socket, url, token) =
            (variable("FRESHDB_BROKER"), variable("FRESHDB_BROKER_URL"), variable("FRESHDB_BROKER_TOKEN"));
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let broker = Self { process, engine, socket, port, token };
        DESCRIPTION.get_or_init(|| broker.client().get("/v1/openapi.json").expect(200));
        broker
    }

    /// A client by TCP.
    pub(crate) fn client(&self) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(2 * DEADLINE)).expect("a limit");
        Connection { stream: Box::new(stream), token: Some(self.token.clone()), asked: VecDeque::new() }
    }

    /// A client by the socket.
    pub(crate) fn local_client(&self) -> Connection {
        let stream = UnixStream::connect(&self.socket).expect("a connection");
        stream.set_read_timeout(Some(2 * DEADLINE)).expect("a limit");
        Connection { stream: Box::new(stream), token: Some(self.token.clone()), asked: VecDeque::new() }
    }

    /// The notes of what is leased.
    pub(crate) fn leased(&self) -> Vec<String> {
        let status = self.client().get("/v1/status").expect(200);
        let leases = status["leases"].as_array().expect("leases");
        leases.iter().map(|lease| text(&lease["note"])).collect()
    }

    /// How many files and sockets it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("a process").count()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_raw(self.process.id().cast_signed()).expect("a process");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it is there");
        let status = self.process.wait().expect("it ends");
        if !std::thread::panicking() {
            assert!(status.success(), "{status}");
            assert!(!std::path::Path::new(&self.socket).exists(), "its socket is still there");
        }
    }
}

trait Stream: Read + Write + Send {
    fn finish(&self) -> std::io::Result<()>;
}

impl Stream for TcpStream {
    fn finish(&self) -> std::io::Result<()> {
        self.shutdown(std::net::Shutdown::Write)
    }
}

impl Stream for UnixStream {
    fn finish(&self) -> std::io::Result<()> {
        self.shutdown(std::net::Shutdown::Write)
    }
}

/// One connection, and one request after the other. Each answer is held to the broker's description.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    pub(crate) token: Option<String>,
    /// Methods and paths that are not answered yet.
    asked: VecDeque<(String, String)>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The lines before the body, in small letters.
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The description has its status, and whether that has a body; unless what was asked for is not described.
    #[track_caller]
    fn must_be_described(&self, method: &str, path: &str) {
        let path = path.split('?').next().unwrap_or_default();
        let is_of = |described: &str| {
            let (described, asked): (Vec<_>, Vec<_>) = (described.split('/').collect(), path.split('/').collect());
            let is_same = |(one, other): (&&str, &&str)| one.starts_with('{') || one == other;
            described.len() == asked.len() && described.iter().zip(&asked).all(is_same)
        };
        let paths = DESCRIPTION.get().and_then(|description| description["paths"].as_object());
        let operation =
            paths.into_iter().flatten().find(|(described, _)| is_of(described)).map(|(_, item)| &item[method]);
        let Some(responses) = operation.and_then(|operation| operation["responses"].as_object()) else { return };
        let response = responses.get(&self.status.to_string());
        let has_body = response.map(|response| response["content"].is_object());
        assert_eq!(has_body, Some(!self.body.is_null()), "{method} {path} is answered by {self:?}");
    }
}

impl Connection {
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &body.to_string())
    }

    pub(crate) fn put(&mut self, path: &str) -> Answer {
        self.ask("PUT", path, "")
    }

    pub(crate) fn delete(&mut self, path: &str) -> Answer {
        self.ask("DELETE", path, "")
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer {
        self.begin(method, path, body);
        self.answer().expect("an answer")
    }

    pub(crate) fn form(&mut self, path: &str, body: &str) -> Answer {
        self.write("POST", path, "application/x-www-form-urlencoded", body);
        self.answer().expect("an answer")
    }

    /// Sends a request, and does not wait.
    pub(crate) fn begin(&mut self, method: &str, path: &str, body: &str) {
        self.write(method, path, "application/json", body);
    }

    fn write(&mut self, method: &str, path: &str, content_type: &str, body: &str) {
        let token = self.token.as_ref().map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: broker\r\n{token}content-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.asked.push_back((method.to_lowercase(), path.to_owned()));
        self.send(request.as_bytes());
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // Whoever is refused early may be cut off while it still speaks.
        drop(self.stream.write_all(bytes));
    }

    /// Says that no more will come.
    pub(crate) fn finish(&mut self) {
        // It may be closed already.
        drop(self.stream.finish());
    }

    /// Waits until the broker has closed it.
    pub(crate) fn end(&mut self) {
        if let Err(error) = self.stream.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }

    /// Nothing if the connection was closed.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let asked = self.asked.pop_front();
        let answer = self.read()?;
        if let Some((method, path)) = asked {
            answer.must_be_described(&method, &path);
        }
        Some(answer)
    }

    fn read(&mut self) -> Option<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if self.stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text").to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        Some(Answer { status, head, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Speaks to a database as any program would.
pub(crate) mod sql {
    use test_support::Client;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
    }

    pub(crate) fn execute(url: &str, sql: &str) {
        run(async {
            let mut client = Client::connect(url).await;
            client.execute(sql).await;
            client.close().await;
        });
    }

    /// Does something while somebody is connected.
    pub(crate) fn while_connected(url: &str, work: impl FnOnce() + Send) {
        run(async {
            let client = Client::connect(url).await;
            // What it does may need a runtime of its own.
            std::thread::scope(|scope| scope.spawn(work).join()).expect("it says why");
            client.close().await;
        });
    }

    pub(crate) fn number(url: &str, sql: &str) -> i64 {
        run(async {
            let mut client = Client::connect(url).await;
            let number = client.number(sql).await;
            client.close().await;
            number
        })
    }

    /// How many rows there are, if there is the table.
    pub(crate) fn rows(url: &str, table: &str) -> Option<i64> {
        run(async {
            let mut client = Client::connect(url).await;
            let there = client.try_execute(&format!("SELECT 1 FROM {table}")).await.is_ok();
            let count = if there { Some(client.number(&format!("SELECT COUNT(*) FROM {table}")).await) } else { None };
            client.close().await;
            count
        })
    }
}
