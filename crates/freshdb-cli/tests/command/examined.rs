//! What `status` and `doctor` find.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

fn freshdb(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_freshdb"))
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// When the test fails, too.
struct EndsWithThis(Child);

impl Drop for EndsWithThis {
    fn drop(&mut self) {
        // As a rule it has ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_broker_is_found_and_its_leases_are_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = [("FRESHDB_RUN_DIR", directory.path().to_str().expect("text"))];
    let none = freshdb(&["status"], &place);
    assert_eq!((none.status.code(), none.stdout.len()), (Some(1), 0));
    assert_eq!(text(&none.stderr), "freshdb: no broker is running\n");

    let mut broker = EndsWithThis(
        Command::new(env!("CARGO_BIN_EXE_freshdb"))
            .args(["serve", "--quiet", "--sqlite"])
            .envs(place)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a broker"),
    );
    let mut lines = BufReader::new(broker.0.stdout.take().expect("it is piped")).lines();
    let mut value = || lines.next().expect("a line").expect("text").split_once('=').expect("a variable").1.to_owned();
    let (socket, _, token) = (value(), value(), value());
    let body = r#"{"note": "a test\u001b[2J"}"#;
    let mut client = UnixStream::connect(&socket).expect("a connection");
    let request = format!(
        "POST /v1/leases HTTP/1.1\r\nhost: broker\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(request.as_bytes()).expect("it is sent");
    client.read_exact(&mut [0; 12]).expect("an answer");

    let shown = freshdb(&["status"], &place);
    let said = text(&shown.stdout);
    assert!(shown.status.success(), "{said}{}", text(&shown.stderr));
    assert!(said.starts_with(&format!("broker at {socket}\n  sqlite     sqlite:///")), "{said}");
    // A note does not clear the screen.
    assert!(said.contains("  lease      freshdb_s_") && said.ends_with(": a test\\u{1b}[2J\n"), "{said}");
    let json = freshdb(&["status", "--json"], &place).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["leases"][0]["note"], "a test\u{1b}[2J");

    let process = Pid::from_raw(broker.0.id().cast_signed()).expect("a process");
    kill_process(process, Signal::TERM).expect("it is there");
    assert!(broker.0.wait().expect("it ends").success());
    assert_eq!(freshdb(&["status"], &place).status.code(), Some(1));
}

/// It is stopped, by Ctrl-Z or by a debugger, and not the others.
#[test]
fn a_broker_that_does_not_answer_is_told_of_in_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = [("FRESHDB_RUN_DIR", directory.path().to_str().expect("text"))];
    let brokers = [(); 3].map(|()| {
        let mut broker = EndsWithThis(
            Command::new(env!("CARGO_BIN_EXE_freshdb"))
                .args(["serve", "--quiet", "--sqlite"])
                .envs(place)
                .stdout(Stdio::piped())
                .spawn()
                .expect("a broker"),
        );
        let mut line = String::new();
        BufReader::new(broker.0.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
        (broker, line.trim().split_once('=').expect("a variable").1.to_owned())
    });
    let [(answers, its_socket), silent @ ..] = &brokers;
    let process = |broker: &EndsWithThis| Pid::from_raw(broker.0.id().cast_signed()).expect("a process");
    for (broker, _) in silent {
        kill_process(process(broker), Signal::STOP).expect("it is there");
    }
    let started = Instant::now();
    let shown = freshdb(&["status"], &place);
    // Not so long for each of them.
    assert!(started.elapsed() < Duration::from_secs(6), "after {:?}", started.elapsed());
    let said = text(&shown.stdout);
    assert!(shown.status.success(), "{said}{}", text(&shown.stderr));
    assert!(said.contains(&format!("broker at {its_socket}\n  sqlite ")), "{said}");
    let json = text(&freshdb(&["status", "--json"], &place).stdout);
    for (broker, socket) in silent {
        let id = broker.0.id();
        assert!(said.contains(&format!("broker at {socket}\n  does not answer: process {id}\n")), "{said}");
        let told = serde_json::json!({"error": "does not answer", "socket": socket, "process": id});
        let lines: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(lines.contains(&told), "{json}");
    }
    kill_process(process(answers), Signal::KILL).expect("it is there");
    let shown = freshdb(&["status"], &place);
    assert_eq!((shown.status.code(), text(&shown.stdout).lines().count()), (Some(1), 4), "{}", text(&shown.stdout));
}

/// Whoever listens there would learn the token.
#[test]
fn what_others_may_have_put_there_is_not_asked() {
    let (place, elsewhere) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let directory = place.path().join("freshdb-run.x");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::write(directory.join("broker.token"), "0123456789abcdef").expect("written");
    let listener = UnixListener::bind(directory.join("broker.sock")).expect("a socket");
    let (asked, is_asked) = mpsc::channel();
    // Each is told of before it is closed, which ends whoever asks.
    std::thread::spawn(move || listener.incoming().all(|connection| asked.send(connection.is_ok()).is_ok()));
    let is_asked = || {
        let status = freshdb(&["status"], &[("FRESHDB_RUN_DIR", place.path().to_str().expect("text"))]);
        assert_eq!(status.status.code(), Some(1), "{}", text(&status.stdout));
        is_asked.try_recv().is_ok()
    };
    let mode = |mode| std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(mode)).expect("permissions");
    mode(0o700);
    assert!(is_asked(), "it is ours alone");
    mode(0o750);
    assert!(!is_asked(), "others may enter");
    mode(0o700);
    // Only root can give it away.
    if chown(&directory, Some(1), None).is_ok() {
        assert!(!is_asked(), "it is somebody else's");
        chown(&directory, Some(0), None).expect("it is root's again");
    }
    let moved = elsewhere.path().join("x");
    std::fs::rename(&directory, &moved).expect("renamed");
    symlink(&moved, &directory).expect("a link");
    assert!(!is_asked(), "it may be anybody's link");
}

#[test]
fn an_engine_that_can_be_used_is_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = freshdb(&["doctor", "--sqlite"], &[("FRESHDB_RUN_DIR", directory.path().to_str().expect("text"))]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.contains("SQLite       ok: sqlite:///") && said.contains("put back in "), "{said}");
    assert!(said.contains(&format!("private data {}", directory.path().display())), "{said}");
}

on_every_server!(what_is_executed_on_a_server_is_told_to_whoever_asks);

fn what_is_executed_on_a_server_is_told_to_whoever_asks(engine: &str) {
    let output = freshdb(&["doctor", &format!("--{engine}")], &[("FRESHDB_LOG", "debug")]);
    let told = text(&output.stderr);
    assert!(output.status.success(), "{}{told}", text(&output.stdout));
    assert!(told.contains("freshdb_databases (name"), "{told}");
}

#[test]
fn a_server_that_is_not_installed_is_named_with_what_to_do() {
    let nothing = tempfile::tempdir().expect("a directory");
    let directory = nothing.path().to_str().expect("text");
    for engine in ["mysql", "mariadb", "postgres"] {
        let output = Command::new(env!("CARGO_BIN_EXE_freshdb"))
            .args(["doctor", &format!("--{engine}")])
            .env("FRESHDB_PROGRAM_DIRS", directory)
            .env_remove(format!("FRESHDB_{}_URL", engine.to_uppercase()))
            .output()
            .expect("it runs");
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("CANNOT BE USED: ") && said.contains("hint: "), "{said}");
        assert!(said.contains(&format!("FRESHDB_{}_URL", engine.to_uppercase())), "{said}");
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_named_without_its_password() {
    for (engine, url) in [
        ("mysql", "mysql://root:secret-word@127.0.0.1:1"),
        ("mariadb", "mariadb://root:secret-word@127.0.0.1:1"),
        ("postgres", "postgres://postgres:secret-word@127.0.0.1:1/postgres"),
    ] {
        let variable = format!("FRESHDB_{}_URL", engine.to_uppercase());
        let output = freshdb(&["doctor", &format!("--{engine}")], &[(&variable, url)]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("127.0.0.1:1") && said.contains("refused"), "{said}");
        assert!(!said.contains("secret-word") && !text(&output.stderr).contains("secret-word"), "{said}");
    }
}

on_every_server!(a_user_who_may_only_connect_is_told_what_to_ask_for);

fn a_user_who_may_only_connect_is_told_what_to_ask_for(engine: &str) {
    let variable = format!("FRESHDB_{}_URL", engine.to_uppercase());
    let administrator = std::env::var(&variable).expect("run by `scripts/test`");
    let user = format!("doctor_{}", std::process::id());
    let make = match engine {
        "postgres" => format!("CREATE ROLE {user} LOGIN PASSWORD 'secret-word'"),
        _ => format!("CREATE USER {user} IDENTIFIED BY 'secret-word'"),
    };
    let execute = |sql: &str| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let mut client = test_support::Client::connect(&administrator).await;
            client.execute(sql).await;
            client.close().await;
        });
    };
    execute(&make);
    let mut url = url::Url::parse(&administrator).expect("a URL");
    url.set_username(&user).expect("a user");
    url.set_password(Some("secret-word")).expect("a password");
    let output = freshdb(&["doctor", &format!("--{engine}")], &[(&variable, url.as_str())]);
    execute(&format!("DROP {} {user}", if engine == "postgres" { "ROLE" } else { "USER" }));
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("CANNOT BE USED: "), "{said}");
    assert!(said.contains("hint: as an administrator of the server, run `"), "{said}");
    assert!(!said.contains("secret-word") && !text(&output.stderr).contains("secret-word"), "{said}");
}

on_every_server!(a_place_without_room_is_told_with_what_to_do);

/// A file system in memory that is soon full, which only root can mount.
struct SmallPlace(tempfile::TempDir);

impl SmallPlace {
    /// Nothing where none can be mounted, which is said.
    fn mounted(engine: &str) -> Option<Self> {
        let place = tempfile::tempdir().expect("a directory");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0777", "freshdb-test"])
            .arg(place.path())
            .output()
            .expect("`mount` runs");
        if !mount.status.success() {
            let sentence = "a full disk was NOT tested, for no file system can be mounted";
            test_support::say(&format!("warning: {engine}: {sentence}: {}", text(&mount.stderr)));
            return None;
        }
        Some(Self(place))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallPlace {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status().expect("`umount` runs");
        assert!(unmounted.success() || std::thread::panicking());
    }
}

fn a_place_without_room_is_told_with_what_to_do(engine: &str) {
    let Some(place) = SmallPlace::mounted(engine) else { return };
    let output = Command::new(env!("CARGO_BIN_EXE_freshdb"))
        .args(["doctor", &format!("--{engine}")])
        .env("FRESHDB_RUN_DIR", place.path())
        .env_remove(format!("FRESHDB_{}_URL", engine.to_uppercase()))
        .output()
        .expect("it runs");
    let left = std::fs::read_dir(place.path()).expect("a directory").count();
    drop(place);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("hint: set FRESHDB_RUN_DIR to a directory with more room"), "{said}");
    assert_eq!(left, 0, "what was begun is gone");
}

on_every_server!(a_cache_without_room_is_left_as_it_was);

/// But for what others left there who are gone.
fn a_cache_without_room_is_left_as_it_was(engine: &str) {
    let Some(cache) = SmallPlace::mounted(engine) else { return };
    let make = |name: &str| std::fs::create_dir_all(cache.path().join(name).join("data")).expect("a directory");
    for name in [
        "server-mysql-1.0-user0-1.part",
        "server-postgres-2.0-user0-1.old",
        "server-mariadb-3.0-user0-1.part",
        "other.part",
    ] {
        make(name);
    }
    // Of a process that is still there.
    let lock = std::fs::File::create(cache.path().join("server-mariadb-3.0-user0-1.lock")).expect("a file");
    lock.lock().expect("nobody has it");
    let output = Command::new(env!("CARGO_BIN_EXE_freshdb"))
        .args(["doctor", &format!("--{engine}")])
        .env("FRESHDB_CACHE_DIR", cache.path())
        .env_remove(format!("FRESHDB_{}_URL", engine.to_uppercase()))
        .output()
        .expect("it runs");
    let entries = std::fs::read_dir(cache.path()).expect("a directory").map(|entry| entry.expect("it is there"));
    let mut left: Vec<_> = entries.map(|entry| entry.file_name().into_string().expect("text")).collect();
    drop(cache);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("hint: set FRESHDB_CACHE_DIR to a directory with room"), "{said}");
    left.retain(|name| Path::new(name).extension().is_none_or(|end| end != "lock"));
    left.sort();
    assert_eq!(left, ["other.part", "server-mariadb-3.0-user0-1.part"]);
}

#[test]
fn a_place_for_data_that_cannot_be_written_to_is_named() {
    let output = freshdb(&["doctor", "--sqlite"], &[("FRESHDB_RUN_DIR", "/proc/1")]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("CANNOT BE USED: ") && said.contains("/proc/1"), "{said}");
}

/// What a shell has for one database of its user's applies to every other, too.
#[test]
fn a_search_path_of_the_environment_is_named() {
    let environment = [("PGOPTIONS", "-c search_path=app")];
    let output = freshdb(&["doctor", "--postgres"], &environment);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no schema has been selected to create in"), "{said}");
    assert!(said.contains("hint: the variable PGOPTIONS sets a `search_path`, "), "{said}");
}

#[test]
fn a_umask_that_leaves_nothing_is_named() {
    let script = format!("umask 777; exec {} run --quiet --postgres -- true", env!("CARGO_BIN_EXE_freshdb"));
    let mut command = Command::new("sh");
    let output = command.args(["-c", &script]).env_remove("FRESHDB_POSTGRES_URL").output().expect("it runs");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("caused by: the umask takes from whoever makes a directory what they need"), "{said}");
    assert!(said.ends_with("hint: run `umask 022` first\n"), "{said}");
}
