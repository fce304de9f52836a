//! The command `tags-api`, as a person or a supervisor meets it: what it prints, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use tempfile::TempDir;

/// The command in an environment of its own: no URL, and a data directory that goes with the test.
fn tags_api(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tags-api"));
    command.env_clear().env("HOME", data).env("XDG_DATA_HOME", data).stdin(Stdio::null());
    command
}

/// Runs the command to its end, and gives its exit code and what it wrote, with paths and ports made alike.
fn run(arguments: &[&str]) -> String {
    let data = tempfile::tempdir().expect("a directory");
    shown(&tags_api(data.path()).args(arguments).output().expect("the command runs"), &data)
}

fn shown(output: &Output, data: &TempDir) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let data = data.path().display().to_string();
    let code = output.status.code();
    format!("exit code: {code:?}\n--- stdout\n{stdout}--- stderr\n{stderr}").replace(&data, "DATA")
}

/// A running service, killed at the end.
struct Service {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    address: String,
    banner: String,
}

impl Service {
    /// Starts it and waits until it says where it listens.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the command starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut banner = String::new();
        while !banner.contains("  database ") {
            let length = stderr.read_line(&mut banner).expect("a line");
            assert!(length > 0, "it ended: {banner}");
        }
        let address =
            banner.lines().find_map(|line| line.split_once("listening  http://")).expect("an address").1.to_owned();
        Self { child, stderr, address, banner }
    }

    fn get(&self, path: &str) -> String {
        self.ask("GET", path, "")
    }

    fn post(&self, path: &str, body: &str) -> String {
        self.ask("POST", path, body)
    }

    /// Sends a request, and gives the answer, head and all.
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).expect("a connection");
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}", body.len());
        write!(socket, "{head}\r\ncontent-type: application/json\r\n\r\n{body}").expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Sends SIGTERM and waits for the end.
    fn stop(mut self) -> (Option<i32>, String) {
        terminate(&self.child);
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).expect("the rest");
        (self.child.wait().expect("it ends").code(), rest)
    }
}

fn terminate(child: &Child) {
    let killed = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    assert!(killed.success());
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already gone if the test went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn without_arguments_it_serves_on_a_file_of_the_users() {
    let data = tempfile::tempdir().expect("a directory");
    // The default port may be taken on the machine that runs this test.
    let service = Service::start(tags_api(data.path()).env("TAGS_LISTEN", "127.0.0.1:0"));
    let banner =
        service.banner.replace(&data.path().display().to_string(), "DATA").replace(&service.address, "ADDRESS");
    let banner = banner.split(" (SQLite ").next().expect("a part").to_owned();
    assert_snapshot!(banner, @r"
    tags-api 0.1.0
      listening  http://ADDRESS
      docs       http://ADDRESS/docs
      database   sqlite://DATA/tags-api/tags.db
    ");
    assert!(service.get("/api/tag").ends_with("\r\n\r\n{\"tags\":[]}"));
    let (code, rest) = service.stop();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains(" method=GET path=\"/api/tag\" status=200"), "{rest}");
    assert!(rest.trim_end().ends_with("stopped"), "{rest}");
}

#[test]
fn what_is_stored_survives_a_restart() {
    let data = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}/my tags.db", data.path().display());
    let mut command = tags_api(data.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", &url]);
    let service = Service::start(&mut command);
    let body = r#"{"tags":[{"tag_id":"Rust"}]}"#;
    let answer = service.post("/api/tags", body);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    // Killed, not stopped.
    drop(service);
    let service = Service::start(&mut command);
    assert!(service.get("/api/tag").ends_with("{\"tags\":[{\"tag_id\":\"Rust\"}]}"));
}

/// Nobody would find what is stored: it goes to a file that has no name any more.
#[test]
fn nothing_is_stored_in_a_file_that_was_deleted() {
    let data = tempfile::tempdir().expect("a directory");
    let (file, aside) = (data.path().join("tags.db"), data.path().join("aside.db"));
    let url = format!("sqlite://{}", file.display());
    let service = Service::start(tags_api(data.path()).args(["--listen", "127.0.0.1:0", "--database-url", &url]));
    let store = || service.post("/api/tags", r#"{"tags":[{"tag_id":"Rust"}]}"#);
    assert!(store().starts_with("HTTP/1.1 201 "));
    std::fs::rename(&file, &aside).expect("it is moved");
    for is_replaced in [false, true] {
        if is_replaced {
            std::fs::write(&file, "another").expect("a file");
        }
        let answer = store();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let answer = service.ask("DELETE", "/api/tag/Rust", "");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let answer = service.get("/readyz");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.ends_with(r#"{"detail":"the database's file was deleted or replaced","status":"unavailable"}"#),
            "{answer}"
        );
        assert!(!answer.contains("tags.db"), "{answer}");
        assert_eq!(file.exists(), is_replaced, "no empty one is made");
    }
    std::fs::rename(&aside, &file).expect("it is put back");
    assert!(service.get("/readyz").starts_with("HTTP/1.1 200 "));
    assert!(store().starts_with("HTTP/1.1 201 "));
    let (code, log) = service.stop();
    assert_eq!(code, Some(0), "{log}");
    let said = format!("`{}` is not the file any more that the service has open", file.display());
    assert_eq!(log.lines().filter(|line| line.contains(&said)).count(), 6, "{log}");
}

/// A connection that is made later would find an empty file that it has made itself.
#[test]
fn a_file_that_was_deleted_is_not_made_anew() {
    let data = tempfile::tempdir().expect("a directory");
    let file = data.path().join("tags.db");
    let url = format!("sqlite://{}", file.display());
    let service = Service::start(tags_api(data.path()).args(["--listen", "127.0.0.1:0", "--database-url", &url]));
    std::fs::remove_file(&file).expect("it is deleted");
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| service.get("/api/tag"));
        }
    });
    assert!(!file.exists());
}

#[test]
fn it_serves_on_a_database_in_memory() {
    let data = tempfile::tempdir().expect("a directory");
    for url in ["sqlite::memory:", "sqlite://tags.db?mode=memory"] {
        let service = Service::start(tags_api(data.path()).args(["--listen", "127.0.0.1:0", "--database-url", url]));
        let answer = service.post("/api/tags", r#"{"tags":[{"tag_id":"Python"}]}"#);
        assert!(answer.starts_with("HTTP/1.1 201 "), "{url}: {answer}");
        assert!(service.get("/api/tag").contains("Python"), "{url}");
        assert_eq!(service.stop().0, Some(0));
    }
    assert_eq!(std::fs::read_dir(data.path()).expect("a directory").count(), 0, "nothing is written");
}

/// A parameter stands behind the first `?`, by its whole name.
#[test]
fn a_path_is_no_parameter() {
    for name in ["mode=memory", "mode=ro", "x%3Fmode=memory"] {
        let data = tempfile::tempdir().expect("a directory");
        let directory = data.path().join(name.replace("%3F", "?"));
        std::fs::create_dir(&directory).expect("a directory");
        for parameters in ["", "?mode=rwc"] {
            let url = format!("sqlite://{}/{name}/tags.db{parameters}", data.path().display());
            let output = tags_api(data.path()).args(["migrate", "--database-url", &url]).output();
            let shown = shown(&output.expect("the command runs"), &data);
            assert!(shown.starts_with("exit code: Some(0)"), "{url}: {shown}");
            let journal = std::fs::read(directory.join("tags.db")).expect("a file")[18];
            assert_eq!(journal, 2, "it has a write-ahead log: {url}");
        }
    }
}

#[test]
fn echo_logs_statements() {
    let data = tempfile::tempdir().expect("a directory");
    let service = Service::start(tags_api(data.path()).args(["--listen", "127.0.0.1:0", "--echo"]));
    service.get("/api/tag");
    let (_, rest) = service.stop();
    assert!(rest.contains("sqlx::query") && rest.contains(r#"FROM \"tags\""#), "{rest}");
}

#[test]
fn a_filter_of_the_log_that_is_none_is_said() {
    let data = tempfile::tempdir().expect("a directory");
    for (filter, is_said) in [("tags_api=debgu", true), ("tags_api=debug", false), ("", false)] {
        let mut command = tags_api(data.path());
        let service = Service::start(command.args(["--listen", "127.0.0.1:0"]).env("RUST_LOG", filter));
        let banner = service.banner.clone();
        let (_, rest) = service.stop();
        let said = format!("{banner}{rest}");
        assert_eq!(said.contains("RUST_LOG is not understood, and is passed over"), is_said, "{filter}: {said}");
    }
}

#[test]
fn the_log_can_be_json_with_the_requests_id() {
    let data = tempfile::tempdir().expect("a directory");
    let mut child = tags_api(data.path())
        .args(["--listen", "127.0.0.1:0", "--log-format", "json"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut line).expect("a line");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let record: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(record["message"], "started");
    assert!(record["listening"].as_str().expect("a text").starts_with("http://127.0.0.1:"), "{record}");
}

/// Each line is an object, whichever way it ends.
#[test]
fn with_a_log_in_json_a_failure_is_json() {
    let data = tempfile::tempdir().expect("a directory");
    let run = |arguments: &[&str]| {
        let mut command = tags_api(data.path());
        // What is logged is chosen; a failure is always said.
        let output = command.args(arguments).env("RUST_LOG", "off").output().expect("the command runs");
        let text = String::from_utf8(output.stderr).expect("text");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {text}"))).collect();
        (output.status.code(), lines)
    };
    for command in [&["serve"][..], &["migrate"], &[]] {
        let arguments = [command, &["--log-format", "json", "--database-url", "sqlite:///nowhere/tags.db"]].concat();
        let (code, lines) = run(&arguments);
        assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
        assert_eq!(lines[0]["level"], "ERROR");
        assert_eq!(lines[0]["error"], "cannot open sqlite:///nowhere/tags.db: the file cannot be opened");
        assert_eq!(lines[0]["hint"], "see that its directory exists and that you may write there");
        assert!(lines[0]["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{lines:?}");
    }
    let (code, lines) = run(&["migrate", "--log-format", "json", "--database-url", "mysql://u:secret@db"]);
    assert_eq!((code, lines.len()), (Some(1), 1));
    assert_eq!(lines[0].get("hint"), None, "{lines:?}");
    let url = format!("sqlite://{}", data.path().join("tags.db").display());
    for _ in 0..2 {
        assert_eq!(run(&["migrate", "--log-format", "json", "--database-url", &url]).0, Some(0));
    }
}

#[test]
fn a_port_in_use_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    assert_snapshot!(run(&["--listen", &address]).replace(&address, "ADDRESS"), @r"
    exit code: Some(1)
    --- stdout
    --- stderr
    error: cannot listen on ADDRESS: another program listens there
    hint: name another address with `--listen`; port 0 takes a free one
    ");
}

#[test]
fn an_address_that_is_none_is_said() {
    assert_snapshot!(run(&["--listen", "8000"]), @r"
    exit code: Some(1)
    --- stdout
    --- stderr
    error: cannot listen on 8000: invalid socket address
    hint: name another address with `--listen`; port 0 takes a free one
    ");
}

/// It is not for the database to answer within it.
#[test]
fn no_time_to_wait_is_no_time() {
    assert_snapshot!(run(&["--pool-wait", "0s"]), @r"
    exit code: Some(2)
    --- stdout
    --- stderr
    error: invalid value '0s' for '--pool-wait <DURATION>': there is no connection in no time

    For more information, try '--help'.
    ");
    assert!(run(&["--pool-wait", "soon"]).contains("expected number at 0"));
}

#[test]
fn a_bad_url_is_said_and_not_repeated() {
    assert_snapshot!(run(&["--database-url", "mysql+aiomysql://u:secret@db/tags"]), @r"
    exit code: Some(1)
    --- stdout
    --- stderr
    error: the database URL has the scheme `mysql+aiomysql`: leave out the driver `+aiomysql` and write `mysql://…`
    ");
}

#[test]
fn a_server_that_is_not_there_is_said() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    for scheme in ["mysql", "mariadb", "postgres"] {
        let url = format!("{scheme}://tags:secret@127.0.0.1:{port}/tags");
        let said =
            run(&["migrate", "--database-url", &url]).replace(&port.to_string(), "PORT").replace(scheme, "SCHEME");
        insta::allow_duplicates! {
            assert_snapshot!(said, @r"
            exit code: Some(1)
            --- stdout
            --- stderr
            error: cannot open SCHEME://tags:***@127.0.0.1:PORT/tags: nothing listens there
            hint: see that the server runs and that host and port are right
            ");
        }
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_said() {
    assert_snapshot!(run(&["--database-url", "sqlite:///nowhere/tags.db"]), @r"
    exit code: Some(1)
    --- stdout
    --- stderr
    error: cannot open sqlite:///nowhere/tags.db: the file cannot be opened
    hint: see that its directory exists and that you may write there
    ");
    let data = tempfile::tempdir().expect("a directory");
    let file = data.path().join("text.db");
    std::fs::write(
        &file,
        "This is no database, but it is long enough to be taken for one at first sight.\n".repeat(20),
    )
    .expect("a file");
    let url = format!("sqlite://{}", file.display());
    let output = tags_api(data.path()).args(["migrate", "--database-url", &url]).output().expect("the command runs");
    assert_snapshot!(shown(&output, &data), @r"
    exit code: Some(1)
    --- stdout
    --- stderr
    error: cannot open sqlite://DATA/text.db: the file is not an SQLite database
    ");
}

#[test]
fn a_database_is_migrated_once() {
    let data = tempfile::tempdir().expect("a directory");
    let migrate = || {
        let output = tags_api(data.path()).args(["migrate"]).output().expect("the command runs");
        let shown = shown(&output, &data);
        // Without the time.
        shown
            .lines()
            .map(|line| line.split_once("  INFO ").map_or(line, |(_, rest)| rest))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_snapshot!(migrate(), @r#"
    exit code: Some(0)
    --- stdout
    --- stderr
    tags_api::cli: applied migration="m20261122_000001_create_tags"
    "#);
    assert_snapshot!(migrate(), @r"
    exit code: Some(0)
    --- stdout
    --- stderr
    sqlite://DATA/tags-api/tags.db is up to date
    ");
}

#[test]
fn the_description_is_data() {
    let data = tempfile::tempdir().expect("a directory");
    let output = tags_api(data.path()).arg("openapi").output().expect("the command runs");
    assert!(output.status.success() && output.stderr.is_empty());
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    assert!(std::fs::read_dir(data.path()).expect("a directory").next().is_none(), "no database is made for that");
}

#[test]
fn the_help_says_everything() {
    assert_snapshot!(run(&["--help"]));
    assert_snapshot!(run(&["migrate", "--help"]));
    assert_snapshot!(run(&["--frobnicate"]));
}

#[test]
fn help_does_not_show_the_password_in_the_environment() {
    let data = tempfile::tempdir().expect("a directory");
    let output = tags_api(data.path())
        .arg("--help")
        .env("DATABASE_URL", "mysql://u:secret@db/tags")
        .output()
        .expect("the command runs");
    assert!(!shown(&output, &data).contains("secret"));
}

#[test]
fn a_signal_ends_it_at_once_when_nothing_is_under_way() {
    let data = tempfile::tempdir().expect("a directory");
    let service = Service::start(tags_api(data.path()).args(["--listen", "127.0.0.1:0"]));
    // A client that keeps its connection open and asks for nothing.
    let idle = TcpStream::connect(&service.address).expect("a connection");
    let started = Instant::now();
    let (code, rest) = service.stop();
    assert_eq!(code, Some(0), "{rest}");
    assert!(started.elapsed() < Duration::from_secs(15), "the grace is for requests: {:?}", started.elapsed());
    drop(idle);
}

/// Here it waits for a server that takes its connection and says nothing.
#[test]
fn a_signal_ends_it_before_it_serves() {
    let data = tempfile::tempdir().expect("a directory");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    for scheme in ["mysql", "postgres"] {
        let url = format!("{scheme}://tags:secret@{address}/tags");
        let mut command = tags_api(data.path());
        command.args(["--pool-wait", "10m", "--database-url", &url]).stderr(Stdio::piped());
        let child = command.spawn().expect("the command starts");
        let connection = silent.accept().expect("it connects");
        terminate(&child);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        drop(connection);
    }
}

/// A request that is cut off has its line in the log, too.
#[test]
fn what_is_cut_off_is_logged() {
    let data = tempfile::tempdir().expect("a directory");
    let service = Service::start(tags_api(data.path()).args(["--listen", "127.0.0.1:0", "--grace", "100ms"]));
    let mut socket = TcpStream::connect(&service.address).expect("a connection");
    let head = "POST /api/tags HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n";
    socket.write_all(head.as_bytes()).expect("sent");
    // When the service says that it may come, it waits for the body.
    socket.read_exact(&mut [0; 25]).expect("an answer");
    let (code, rest) = service.stop();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("requests were still under way and were cut off grace=100ms"), "{rest}");
    assert!(rest.lines().last().expect("a line").contains("not answered") && rest.contains(" status=499 "), "{rest}");
}

/// A reader of standard error that has gone away changes nothing of how it ends.
#[test]
fn nobody_needs_to_listen() {
    let data = tempfile::tempdir().expect("a directory");
    let unheard = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        tags_api(data.path()).args(arguments).stderr(writer).status().expect("the command runs").code()
    };
    assert_eq!(unheard(&["--listen", "8000"]), Some(1));
    assert_eq!(unheard(&["migrate"]), Some(0));
    assert_eq!(unheard(&["migrate"]), Some(0), "it is up to date");
}

/// The `curl` lines of the project's README give what it says, one after another, on a new database.
#[test]
fn readmes_curl_lines_give_what_it_says() {
    let readme = include_str!("../../../README.md");
    let data = tempfile::tempdir().expect("a directory");
    let service = Service::start(tags_api(data.path()).args(["--listen", "127.0.0.1:0"]));
    let mut lines = readme.lines().peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        let Some(arguments) = line.strip_prefix("$ curl ") else { continue };
        let mut expected = String::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('$') && !line.starts_with("```")) {
            expected.push_str(line);
        }
        let answer = curl(&service, arguments);
        assert_eq!(answer.split_once("\r\n\r\n").expect("a body").1, expected, "{line}");
        count += 1;
    }
    assert_eq!(count, 6);
}

/// Does what `curl` does with those of its options that README uses; not every machine that runs the tests has it.
fn curl(service: &Service, arguments: &str) -> String {
    let (mut method, mut path, mut body) = (None, "/", "");
    // Between quotes a space is no end.
    let mut words = arguments.split('\'').enumerate().flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().collect::<Vec<_>>(),
        _ => vec![part],
    });
    while let Some(word) = words.next() {
        match word {
            "-s" => {}
            "-H" => assert_eq!(words.next(), Some("content-type: application/json")),
            "-X" => method = words.next(),
            "-d" => body = words.next().expect("data"),
            url => path = url.strip_prefix("http://127.0.0.1:8000").expect("the default address"),
        }
    }
    service.ask(method.unwrap_or(if body.is_empty() { "GET" } else { "POST" }), path, body)
}
