//! However it ends, nothing is left.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use test_support::{Proxy, Weather, eventually_blocking as eventually};

/// `freshdb run` with a private server, and a command that waits.
struct Run {
    freshdb: Child,
    command: Pid,
    socket: PathBuf,
    /// Where the server listens, if there is one.
    address: Option<String>,
}

impl Run {
    fn begin(engine: &str) -> Self {
        // Whoever runs the test may ignore some.
        Self::begin_with("--default-signal=HUP,INT,TERM", engine, "")
    }

    /// As `env` has it treat signals, with a command that does something first.
    fn begin_with(signals: &str, engine: &str, first: &str) -> Self {
        let variable = format!("FRESHDB_{}_URL", engine.to_uppercase());
        let mut freshdb = Command::new("env")
            .args([signals, env!("CARGO_BIN_EXE_freshdb")])
            .args(["run", "--quiet", &format!("--{engine}"), "--", "sh", "-c"])
            .arg(format!("{first} echo $$ $FRESHDB_BROKER ${variable}; exec sleep 600"))
            .env_remove(&variable)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut line = String::new();
        BufReader::new(freshdb.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
        let mut words = line.split_whitespace();
        let command = words.next().and_then(|word| word.parse().ok()).and_then(Pid::from_raw).expect("a process");
        let socket = words.next().expect("a socket").into();
        let address = words.next().and_then(|url| url.split(['@', '/']).nth(3)).map(ToOwned::to_owned);
        assert_eq!(address.is_some(), engine != "sqlite", "{line}");
        Self { freshdb, command, socket, address }
    }

    fn process(&self) -> Pid {
        Pid::from_raw(self.freshdb.id().cast_signed()).expect("a process")
    }

    /// Waits for the end, and sees that nothing is left.
    fn end(mut self, what: &str) -> ExitStatus {
        let status = self.freshdb.wait().expect("it ends");
        let directory = self.socket.parent().map(Path::to_owned).expect("a directory");
        eventually(&format!("{what}: the command is gone"), || test_kill_process(self.command).is_err());
        if let Some(address) = &self.address {
            eventually(&format!("{what}: {address} listens no more"), || {
                std::net::TcpStream::connect(address).is_err()
            });
        }
        eventually(&format!("{what}: {} is gone", directory.display()), || !directory.exists());
        status
    }
}

#[test]
fn by_a_signal_to_freshdb() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let run = Run::begin("sqlite");
        kill_process(run.process(), signal).expect("it is there");
        let status = run.end(&format!("{signal:?}"));
        assert_eq!(status.code(), Some(code), "{signal:?}: {status}");
    }
}

/// By `nohup`, or by a shell that has it run beside a script: neither freshdb nor the command hears of it.
#[test]
fn not_by_a_signal_that_is_ignored() {
    for signal in [Signal::HUP, Signal::INT] {
        let name = if signal == Signal::HUP { "HUP" } else { "INT" };
        let run = Run::begin_with(&format!("--ignore-signal={name}"), "sqlite", &format!("kill -s {name} $$;"));
        kill_process(run.process(), signal).expect("it is there");
        kill_process(run.process(), Signal::TERM).expect("it is there");
        let status = run.end(&format!("{signal:?}, and then TERM"));
        assert_eq!(status.code(), Some(143), "{signal:?}: {status}");
    }
}

/// Ten seconds after it was told to end.
#[test]
fn by_the_death_of_a_command_that_does_not_end() {
    let run = Run::begin_with("--default-signal=TERM", "sqlite", "trap '' TERM;");
    kill_process(run.process(), Signal::TERM).expect("it is there");
    assert_eq!(run.end("the command takes no notice").code(), Some(137));
}

#[test]
fn by_the_death_of_the_command() {
    let run = Run::begin("sqlite");
    kill_process(run.command, Signal::KILL).expect("it is there");
    assert_eq!(run.end("the command is killed").code(), Some(137));
}

#[test]
fn by_the_death_of_freshdb() {
    for _ in 0..5 {
        let run = Run::begin("sqlite");
        kill_process(run.process(), Signal::KILL).expect("it is there");
        assert_eq!(run.end("freshdb is killed").signal(), Some(9));
    }
}

/// The command has ended, and nobody reads from the pipe that the report is to go to.
#[test]
fn by_a_signal_while_it_waits_for_a_reader_of_its_report() {
    let directory = tempfile::tempdir().expect("a directory");
    let (pipe, ended) = (directory.path().join("pipe"), directory.path().join("ended"));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("`mkfifo` runs").success());
    let freshdb = Command::new("env")
        .args(["--default-signal=TERM", env!("CARGO_BIN_EXE_freshdb"), "run", "--quiet", "--report"])
        .args([&pipe, Path::new("--"), Path::new("touch"), &ended])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    eventually("the command has ended", || ended.exists());
    let process = Pid::from_raw(freshdb.id().cast_signed()).expect("a process");
    let output = std::thread::spawn(move || freshdb.wait_with_output().expect("it ends"));
    eventually("freshdb ends as well", || {
        // It may have ended since.
        kill_process(process, Signal::TERM).ok();
        output.is_finished()
    });
    let output = output.join().expect("it is waited for");
    let said = String::from_utf8_lossy(&output.stderr).replace(&*pipe.to_string_lossy(), "PIPE");
    assert!(said.contains("error: told to end before the report `PIPE` was written\n"), "{said}");
    assert_eq!(output.status.code(), Some(125));
}

/// With all that it has started, while it makes the schema.
#[test]
fn by_the_end_of_freshdb_a_schema_command_ends_too() {
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().expect("a directory");
        let processes = directory.path().join("processes");
        let script = "sleep 600 & echo $$ $! >started; mv started processes; wait";
        let mut freshdb = Command::new("env")
            .args(["--default-signal=INT,TERM", env!("CARGO_BIN_EXE_freshdb")])
            .args(["run", "--quiet", "--sqlite", "--schema-command", script, "--watch", "/dev/null", "--", "true"])
            .current_dir(directory.path())
            .spawn()
            .expect("it runs");
        eventually("the command is there", || processes.exists());
        let started = std::fs::read_to_string(&processes).expect("text");
        let started: Vec<Pid> =
            started.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().expect("a number"))).collect();
        assert_eq!(started.len(), 2, "{started:?}");
        kill_process(Pid::from_raw(freshdb.id().cast_signed()).expect("a process"), signal).expect("it is there");
        let status = freshdb.wait().expect("it ends");
        assert!(!status.success(), "{status}");
        // A zombie has ended: whoever has taken it over may take its time.
        let is_gone = |process: &Pid| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()));
            status.map_or(true, |status| status.contains("State:\tZ"))
        };
        eventually(&format!("{signal:?}: all that it has started is gone"), || started.iter().all(is_gone));
    }
}

/// Killed, or told to end, while it starts, before or after its directories, its server and its command are there, 200 times.
#[test]
fn by_death_at_any_moment() {
    let directory = tempfile::tempdir().expect("a directory");
    let left = || std::fs::read_dir(directory.path()).expect("a directory").count();
    for moment in 0..200 {
        let mut freshdb = Command::new(env!("CARGO_BIN_EXE_freshdb"))
            .args(["run", "--quiet", "--sqlite", "--", "sleep", "600"])
            .env("FRESHDB_RUN_DIR", directory.path())
            .spawn()
            .expect("it runs");
        std::thread::sleep(Duration::from_micros(400 * moment));
        // Not the others: whoever runs this may have them ignored until freshdb listens for them.
        let signal = if moment % 2 == 0 { Signal::KILL } else { Signal::TERM };
        kill_process(Pid::from_raw(freshdb.id().cast_signed()).expect("a process"), signal).expect("it is there");
        freshdb.wait().expect("it ends");
    }
    eventually("no file is left", || left() == 0);
    eventually("no process is left", || !is_in_an_environment(directory.path()));
}

/// Whether any process was started with this directory in its environment.
fn is_in_an_environment(directory: &Path) -> bool {
    let wanted = directory.as_os_str().as_encoded_bytes();
    let entries = std::fs::read_dir("/proc").expect("it is mounted").flatten();
    // What ends meanwhile cannot be read.
    let environments = entries.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
    environments.into_iter().any(|text| text.windows(wanted.len()).any(|part| part == wanted))
}

on_every_server!(by_a_signal_while_it_waits_for_a_server, by_the_death_of_freshdb_with_a_private_server);

/// The command has ended, but its database cannot be put back.
fn by_a_signal_while_it_waits_for_a_server(engine: &str) {
    let variable = format!("FRESHDB_{}_URL", engine.to_uppercase());
    let mut url = url::Url::parse(&std::env::var(&variable).expect("run by `scripts/test`")).expect("a URL");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
    let proxy = runtime.block_on(Proxy::before(server));
    url.set_host(Some("127.0.0.1")).expect("a host");
    url.set_port(Some(proxy.port)).expect("a port");
    let mut freshdb = Command::new("env")
        .args(["--default-signal=TERM", env!("CARGO_BIN_EXE_freshdb")])
        .args(["run", "--quiet", &format!("--{engine}"), "--", "sh", "-c"])
        .arg("echo $$ $FRESHDB_BROKER $FRESHDB_BROKER_TOKEN; read end; exit 7")
        .env(&variable, url.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut line = String::new();
    BufReader::new(freshdb.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
    let words: Vec<&str> = line.split_whitespace().collect();
    let [command, socket, token] = words[..] else { panic!("{line}") };
    let mut client = UnixStream::connect(socket).expect("a connection");
    let request = format!(
        "POST /v1/leases HTTP/1.1\r\nhost: broker\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    client.write_all(request.as_bytes()).expect("it is sent");
    let mut answer = [0; 12];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 201");

    proxy.set(Weather::Stall);
    drop(freshdb.stdin.take());
    let command = command.parse().ok().and_then(Pid::from_raw).expect("a process");
    eventually("the command is gone", || test_kill_process(command).is_err());
    let process = Pid::from_raw(freshdb.id().cast_signed()).expect("a process");
    let mut status = None;
    eventually("freshdb ends as well", || {
        kill_process(process, Signal::TERM).expect("it is not waited for yet");
        status = freshdb.try_wait().expect("it is there");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(7));
}

fn by_the_death_of_freshdb_with_a_private_server(engine: &str) {
    let run = Run::begin(engine);
    kill_process(run.process(), Signal::KILL).expect("it is there");
    run.end(&format!("freshdb with {engine} is killed"));
}
