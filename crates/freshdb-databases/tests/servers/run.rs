//! Servers that the processes of a run share, and that end with it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use freshdb_databases::{Config, ErrorKind, Kind, Pool, Server, schema, variables};

use crate::end::await_end;
use crate::harness::{Other, Place, kill, lives, names, on_every_server, parent, start_time, until};

/// A process that does nothing but live.
struct Run(Child);

impl Run {
    fn start() -> Self {
        Self(Command::new("sleep").arg("3600").stdin(Stdio::null()).spawn().unwrap())
    }

    /// As `FRESHDB_RUN` takes it: it is nobody's ancestor.
    fn name(&self) -> String {
        format!("{}:{}", self.0.id(), start_time(self.0.id()))
    }

    /// Nobody takes note of its death before all has ended.
    fn kill_and_await_end(mut self, what: &str, server: u32, place: &Place) {
        self.0.kill().unwrap();
        await_end(what, server, place);
        self.0.wait().unwrap();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may be dead already, which is no failure.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

on_every_server! {
    /// One story, for a server is not started for each sentence of it.
    async fn the_processes_of_a_run_share_a_server(kind: Kind) {
        let (place, run) = (Place::new(), Run::start());
        let config = place.config();
        let mut others: Vec<_> = (0..4).map(|_| Other::of_run(&run.name(), kind, &config, &place)).collect();
        let servers: Vec<_> = others.iter_mut().map(Other::server_and_url).collect();
        assert!(servers.iter().all(|server| *server == servers[0]), "all who came at once have the same: {servers:?}");
        let server = servers[0].0;
        nobody_else_can_read_where_it_is(&place, kind);

        // Whichever of them started it.
        others.into_iter().for_each(Other::end);
        std::thread::sleep(Duration::from_millis(500));
        assert!(lives(server), "it is the run's");
        let mut later = Other::of_run(&run.name(), kind, &config, &place);
        assert_eq!(later.server_and_url(), servers[0], "for who came later");
        // Sweeping takes nothing from the living.
        Server::of(Kind::Sqlite, &config).await.unwrap().stop().await.unwrap();
        assert!(lives(server));

        // With a process of it that lives on, too.
        run.kill_and_await_end(&format!("{kind}, the run killed"), server, &place);
        assert!(lives(later.child.id()));
    }
}

fn nobody_else_can_read_where_it_is(place: &Place, kind: Kind) {
    let file = meetings(place).pop().unwrap().join(format!("{}.server", kind.name()));
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(metadata.uid(), fs::metadata(place.path()).unwrap().uid());
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
}

/// The directories in which runs have written down where their servers are.
fn meetings(place: &Place) -> Vec<std::path::PathBuf> {
    let directories = names(&place.run()).into_iter().map(|name| place.run().join(name));
    directories
        .filter(|path| names(path).iter().any(|name| Path::new(name).extension().is_some_and(|end| end == "server")))
        .collect()
}

#[test]
fn a_directory_is_shared_too() {
    let (place, run) = (Place::new(), Run::start());
    let other = || Other::of_run(&run.name(), Kind::Sqlite, &place.config(), &place).server_and_url().1;
    let url = other();
    assert_eq!(url, other());
    let directory = url.path().unwrap().to_owned();
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    fs::write(directory.join("file"), "").unwrap();
    drop(run);
    let took = place.await_empty("the run killed");
    eprintln!("SQLite, the run killed: gone after {took:?}");
}

#[test]
fn two_runs_and_two_checkouts_never_share() {
    let (place, runs) = (Place::new(), [Run::start(), Run::start()]);
    let config = place.config();
    let mut others: Vec<_> =
        runs.iter().map(|run| Other::of_run(&run.name(), Kind::Postgres, &config, &place)).collect();
    let checkout = place.path().join("checkout");
    fs::create_dir(&checkout).unwrap();
    fs::write(checkout.join("Cargo.lock"), "").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(Other::ARGUMENTS).env(variables::RUN, runs[0].name()).current_dir(&checkout);
    others.push(Other::run(&mut command, Kind::Postgres, &config, &place));
    others.push(Other::start(Kind::Postgres, &config, &place));

    let servers: Vec<_> = others.iter_mut().map(Other::server).collect();
    for (index, server) in servers.iter().enumerate() {
        assert!(!servers[..index].contains(server), "{servers:?}");
    }
    let [first, second] = runs;
    drop(first);
    until("the first run's end", || !lives(servers[0]) && !lives(servers[2]));
    assert!(lives(servers[1]) && lives(servers[3]));
    drop(others.pop());
    until("the lonely one's end", || !lives(servers[3]));
    assert!(lives(servers[1]));
    second.kill_and_await_end("PostgreSQL, the second run killed", servers[1], &place);
}

/// At any moment of the start, that of the keeper and of the server included.
#[test]
fn whoever_is_killed_while_it_starts_a_server_is_in_nobodys_way() {
    let (place, run) = (Place::new(), Run::start());
    let config = place.config();
    Other::start(Kind::Postgres, &config, &place).server();
    place.await_empty("the cache is filled");
    for milliseconds in [10, 20, 30, 40, 60, 80, 100, 130, 160, 200, 250, 300, 400, 600] {
        let starter = Other::of_run(&run.name(), Kind::Postgres, &config, &place);
        std::thread::sleep(Duration::from_millis(milliseconds));
        starter.end();
    }
    let mut other = Other::of_run(&run.name(), Kind::Postgres, &config, &place);
    let mut next = Other::of_run(&run.name(), Kind::Postgres, &config, &place);
    let server = other.server();
    assert_eq!(server, next.server());
    run.kill_and_await_end("PostgreSQL, starters and the run killed", server, &place);
}

/// Neither the process that is starting a server then, nor those that wait for it and would each start the next.
#[test]
fn a_run_that_has_ended_gets_no_server() {
    let (place, run) = (Place::new(), Run::start());
    let starts = place.path().join("starts");
    fs::write(&starts, "").unwrap();
    fs::set_permissions(&starts, fs::Permissions::from_mode(0o666)).unwrap();
    // One that never answers.
    let script = r#"case "$*" in *--version*) echo "mysqld  Ver 9.7.4 for Linux on x86_64"; exit;; *--initialize-insecure*) exit;; esac"#;
    let bin = place.program("mysqld", &format!("{script}\necho started >>'{}'\nexec sleep 3600", starts.display()));
    let config = place.cold_config();
    let other = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(Other::ARGUMENTS).env(variables::RUN, run.name()).env(variables::PROGRAM_DIRS, &bin);
        Other::run(&mut command, Kind::Mysql, &config, &place)
    };
    let mut others = [(); 4].map(|()| other());
    others.iter_mut().for_each(Other::begins);
    until("a server is started", || !fs::read_to_string(&starts).unwrap().is_empty());

    drop(run);
    for mut other in others {
        until("it fails", || other.child.try_wait().unwrap().is_some());
    }
    assert_eq!(fs::read_to_string(&starts).unwrap(), "started\n");
    let took = place.await_empty("the run killed while its server starts");
    eprintln!("MySQL, the run killed while its server starts: gone after {took:?}");
}

/// As many may wait as the run has tests, and would each prepare a server of its own first.
#[test]
fn who_has_waited_for_a_run_that_has_ended_does_not_begin() {
    let (place, run) = (Place::new(), Run::start());
    // Whoever begins looks for the server's programs, of which there are none.
    let other = |kind| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(Other::ARGUMENTS).env(variables::RUN, run.name()).env(variables::PROGRAM_DIRS, place.path());
        Other::run(command.stderr(Stdio::piped()), kind, &place.config(), &place)
    };
    let mut meets = other(Kind::Sqlite);
    meets.server();
    let places = names(&place.run());
    let [meeting] = &places[..] else { panic!("{places:?}") };
    let starts = fs::File::create(place.run().join(meeting).join("mysql.lock")).unwrap();
    starts.lock().unwrap();
    let mut waits = other(Kind::Mysql);
    let wait = format!("-> FLOCK  ADVISORY  WRITE {} ", waits.child.id());
    until("it waits", || fs::read_to_string("/proc/locks").unwrap().contains(&wait));

    drop(run);
    drop(starts);
    let mut said = String::new();
    waits.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("the run that a server is to end with has ended"), "{said}");
    drop((meets, waits));
    place.await_empty("the run killed while somebody waits for its server");
}

/// From before the directory in which the run's processes meet is made until after it is the run's.
#[test]
fn whoever_is_killed_while_it_makes_the_place_to_meet_is_in_nobodys_way() {
    let place = Place::new();
    for step in 0..50 {
        let run = Run::start();
        let start = || Other::of_run(&run.name(), Kind::Sqlite, &place.config(), &place);
        let mut other = start();
        other.begins();
        std::thread::sleep(Duration::from_micros(100 * step));
        other.end();
        let mut others = [start(), start()];
        let urls = others.each_mut().map(|other| other.server_and_url().1);
        assert_eq!(urls[0], urls[1], "killed at step {step}");
        drop(run);
        place.await_empty(&format!("killed at step {step}"));
    }
}

on_every_server! {
    async fn a_server_that_broke_is_replaced(kind: Kind) {
        let (place, run) = (Place::new(), Run::start());
        let config = place.config();
        let mut others = [(); 2].map(|()| Other::of_run(&run.name(), kind, &config, &place));
        let first = others[0].server();
        assert_eq!(others[1].server(), first);
        // Once the server, and once whoever keeps it.
        kill("KILL", first);
        until("it ends", || !lives(first));
        let second = Other::of_run(&run.name(), kind, &config, &place).server();
        assert_ne!(first, second);
        kill("KILL", parent(second));
        until("it ends with its keeper", || !lives(second));
        let third = Other::of_run(&run.name(), kind, &config, &place).server();
        assert_ne!(second, third);
        // Without its keeper, the directory stays until somebody sweeps, whom the keeper's own last child keeps off for a moment.
        until("what the keeper left is swept", || {
            Other::start(Kind::Sqlite, &config, &place).server();
            names(&place.run()).len() <= 2
        });
        run.kill_and_await_end(&format!("{kind}, the third"), third, &place);
    }
}

/// A number that is another process's now, or that of one which this one does not descend from, is no run: it may have been anybody's.
/// Nor is the machine's first one, with which a server would never end.
#[test]
fn a_process_that_is_not_the_runs_is_not_taken_for_it() {
    let (place, run) = (Place::new(), Run::start());
    let config = place.config();
    let number = run.0.id();
    let mut names = vec![format!("{number}:1"), number.to_string(), format!("{}", u32::MAX), "1:1".to_owned()];
    // In a container it is the container's command.
    if fs::read_link("/proc/self/ns/pid").unwrap() == Path::new("pid:[4026531836]") {
        names.push("1".to_owned());
    }
    for name in names {
        let mut other = Other::of_run(&name, Kind::Postgres, &config, &place);
        let server = other.server();
        other.child.kill().unwrap();
        await_end(&format!("{name}: its own server"), server, &place);
    }
    // And one that has ended, whoever gets its number.
    let name = run.name();
    drop(run);
    let mut other = Other::of_run(&name, Kind::Postgres, &config, &place);
    let server = other.server();
    other.child.kill().unwrap();
    await_end("a run that has ended: its own server", server, &place);
}

/// The number alone will do of one that it descends from.
#[test]
fn a_shell_can_be_a_run() {
    let place = Place::new();
    let mut shell = shell("sh", r#"FRESHDB_RUN=$$; export FRESHDB_RUN; "$@" & "$@" & wait"#, &place);
    let server = two_of_one_server(&mut shell);
    shell.child.kill().unwrap();
    await_end("the shell killed", server, &place);
}

/// Its tests are told the run's id, and it is not. They may be run by something that stands between.
#[test]
fn nextest_is_a_run() {
    let place = Place::new();
    let bin = place.path().join("bin");
    fs::create_dir(&bin).unwrap();
    test_support::copy_program("/bin/sh", bin.join("cargo-nextest"));
    let script = r#"set -- env NEXTEST=1 NEXTEST_RUN_ID=one "$@"; "$@" & env NEXTEST=1 NEXTEST_RUN_ID=one sh -c '"$@"; true' wrapper "$@" & wait"#;
    let mut nextest = shell(&bin.join("cargo-nextest").to_string_lossy(), script, &place);
    let server = two_of_one_server(&mut nextest);
    nextest.child.kill().unwrap();
    await_end("nextest killed", server, &place);

    // Another program's child does not become nextest's by saying so.
    let mut other = shell("sh", r#"NEXTEST=1 NEXTEST_RUN_ID=one "$@" & wait"#, &place);
    let process = other.server();
    assert!(lives(process));
    let tests = fs::read_to_string(format!("/proc/{0}/task/{0}/children", other.child.id())).unwrap();
    kill("KILL", tests.trim().parse().unwrap());
    await_end("a test of nobody's killed", process, &place);
}

/// A shell's script, whose arguments are those of [`Other`]'s program.
fn shell(program: &str, script: &str, place: &Place) -> Other {
    let mut command = Command::new(program);
    command.args(["-c", script, "run"]).arg(std::env::current_exe().unwrap()).args(Other::ARGUMENTS);
    for name in [variables::RUN, "NEXTEST", "NEXTEST_RUN_ID"] {
        command.env_remove(name);
    }
    Other::run(&mut command, Kind::Postgres, &place.config(), place)
}

fn two_of_one_server(other: &mut Other) -> u32 {
    use std::io::{BufRead, BufReader};

    let lines = BufReader::new(other.child.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = lines.filter(|line| line.contains("its server: ")).take(2).collect();
    assert_eq!(said.len(), 2);
    assert_eq!(said[0].split_once("its server: ").unwrap().1, said[1].split_once("its server: ").unwrap().1);
    said[0].split_once("its server: ").unwrap().1.split_once(' ').unwrap().0.parse().unwrap()
}

/// Of this process itself, which is a run like another.
#[tokio::test]
async fn a_run_of_one_process_ends_with_it_and_not_before() {
    let place = Place::new();
    let config: Config = place.config().with_run(std::process::id());
    let server = Server::of(Kind::Postgres, &config).await.unwrap();
    let process = server.process().unwrap();
    assert!(server.is_throwaway());
    server.stop().await.unwrap();
    drop(server);
    assert!(lives(process));
    let again = Server::of(Kind::Postgres, &config).await.unwrap();
    assert_eq!(again.process(), Some(process));
    // This process goes on, and its place is removed with this test.
    kill("TERM", parent(process));
    until("its keeper was told to end it", || !lives(process));
    kill_keepers_of(&place);
    place.await_empty("its keeper was told to end it");
}

/// A test may outlive its run. What it does with its database then is not kept by anybody.
#[tokio::test]
async fn a_directory_that_went_with_its_run_is_not_made_again() {
    let place = Place::new();
    let config = place.config().with_run(std::process::id());
    let server = Server::of(Kind::Sqlite, &config).await.unwrap();
    let pool = Pool::builder(server.clone(), schema::sql("CREATE TABLE t (n INTEGER)")).open().await.unwrap();
    let lease = pool.lease().await.unwrap();

    // As its keeper does, who would look once more if this process had ended.
    kill_keepers_of(&place);
    place.await_empty("its keeper was told to end it");
    let error = lease.changes().await.unwrap_err();
    assert!(error.to_string().contains("has ended"), "{error:?}");
    let error = lease.give_back().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Files, "{error:?}");
    drop(pool.close().await);
    assert!(place.is_empty(), "{:?}", names(&place.run()));
}

/// What keeps the place at which the run's processes meet. One that ends by itself meanwhile is as welcome.
fn kill_keepers_of(place: &Place) {
    for process in
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok())
    {
        let arguments = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
        if arguments.contains("freshdb-keeper") && arguments.contains(place.run().to_str().unwrap()) {
            let told = Command::new("kill").args(["-s", "TERM", "--", &process.to_string()]).status().unwrap();
            assert!(told.success() || !lives(process), "SIGTERM for {process}");
        }
    }
}
