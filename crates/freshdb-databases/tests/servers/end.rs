//! Nothing is left of a server, however the process ends that started it.

use std::fs;
use std::time::Duration;

use freshdb_databases::{Kind, Server};

use crate::harness::{Other, Place, kill, lives, names, on_every_server, parent, until};

/// What is promised, which a machine that does too much at once may not keep.
const PROMISE: Duration = Duration::from_secs(2);

pub(crate) fn await_end(what: &str, server: u32, place: &Place) {
    let took = until(&format!("{what}: the server's end"), || !lives(server)) + place.await_empty(what);
    assert_eq!(place.shared_memory_of(server), [], "{what}: shared memory is left");
    eprintln!("{what}: gone after {took:?}{}", if took > PROMISE { ", which is too long" } else { "" });
}

on_every_server! {
    async fn a_process_that_is_killed_leaves_nothing(kind: Kind) {
        let place = Place::new();
        let mut other = Other::start(kind, &place.config(), &place);
        let server = other.server();
        assert!(lives(server) && !place.is_empty());

        other.child.kill().unwrap();
        await_end(&format!("{kind}, SIGKILL"), server, &place);
    }
}

on_every_server! {
    async fn a_server_goes_with_its_last_clone(kind: Kind) {
        let place = Place::new();
        let server = Server::of(kind, &place.config()).await.unwrap();
        let process = server.process().unwrap();
        let clone = server.clone();
        drop(server);
        assert!(lives(process));
        drop(clone);
        await_end(&format!("{kind}, dropped"), process, &place);
    }
}

on_every_server! {
    /// The kernel ends the server; the process that started it removes the directory.
    async fn a_server_goes_with_its_keeper(kind: Kind) {
        let place = Place::new();
        let server = Server::of(kind, &place.config()).await.unwrap();
        let process = server.process().unwrap();

        kill("KILL", parent(process));
        await_end(&format!("{kind}, its keeper killed"), process, &place);

        // Of its end this process hears a moment later.
        let next = loop {
            let next = Server::of(kind, &place.config()).await.unwrap();
            if next.process() != server.process() {
                break next;
            }
        };
        assert!(lives(next.process().unwrap()));
        next.stop().await.unwrap();
        server.stop().await.expect("nothing is left of it");
    }
}

/// It goes to the terminal's process group, of which the keeper is not.
#[test]
fn ctrl_c_leaves_nothing() {
    let place = Place::new();
    let mut other = Other::start(Kind::Postgres, &place.config(), &place);
    let server = other.server();
    let group = format!("-{}", other.child.id());
    let sent = std::process::Command::new("kill").args(["-s", "INT", "--", &group]).status().unwrap();
    assert!(sent.success());
    await_end("PostgreSQL, Ctrl-C", server, &place);
    assert!(!other.child.wait().unwrap().success());
}

/// From before the directory is made until after it has its keeper.
#[test]
fn whoever_is_killed_while_it_makes_a_directory_leaves_nothing() {
    let place = Place::new();
    for step in 0..100 {
        let mut other = Other::start(Kind::Sqlite, &place.config(), &place);
        other.begins();
        std::thread::sleep(Duration::from_micros(50 * step));
        other.end();
        place.await_empty(&format!("killed at step {step}"));
    }
}

/// Killed at the same moment, neither the process nor the keeper removes the directory. The next one to start does.
#[tokio::test]
async fn what_was_left_is_swept() {
    let place = Place::new();
    let mut other = Other::start(Kind::Mariadb, &place.config(), &place);
    let server = other.server();
    kill("STOP", other.child.id());
    kill("KILL", parent(server));
    other.child.kill().unwrap();
    other.child.wait().unwrap();
    until("the server ends", || !lives(server));
    assert_eq!(names(&place.run()).len(), 1, "a directory is left");

    // One that is in use stays.
    let living = Server::of(Kind::Sqlite, &place.config()).await.unwrap();
    assert_eq!(names(&place.run()), [living.url().path().unwrap().file_name().unwrap().to_str().unwrap()]);
    let another = Server::of(Kind::Sqlite, &place.cold_config()).await.unwrap();
    assert!(fs::metadata(living.url().path().unwrap()).is_ok());
    living.stop().await.unwrap();
    another.stop().await.unwrap();
    assert!(place.is_empty());
}
