//! What is typed, and the state that the terminal is left in.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};
use test_support::DEADLINE;

/// A terminal, and what a person at it does and sees.
struct Terminal {
    person: File,
    programs: File,
    seen: String,
}

impl Terminal {
    fn open() -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&person).expect("granted");
        unlockpt(&person).expect("unlocked");
        let name = ptsname(&person, Vec::new()).expect("a name").into_string().expect("text");
        let programs = OpenOptions::new().read(true).write(true).open(name).expect("its other end");
        Self { person: person.into(), programs, seen: String::new() }
    }

    /// A session of its own, of which this is the terminal, as a shell in a window has it. Whoever runs the test may ignore
    /// what is typed.
    fn run(&self, script: &str) -> Child {
        let stdio = || Stdio::from(self.programs.try_clone().expect("another one"));
        Command::new("setsid")
            .args(["--ctty", "--wait", "env", "--default-signal=INT,QUIT"])
            .args([env!("CARGO_BIN_EXE_freshdb"), "run", "--quiet", "--", "sh", "-c", script])
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .expect("it runs")
    }

    fn read_until(&mut self, wanted: &str) {
        let limit = Timespec::try_from(DEADLINE).expect("a time");
        while !self.seen.contains(wanted) {
            let mut some = [0; 1000];
            let mut more = [PollFd::new(&self.person, PollFlags::IN)];
            assert!(
                poll(&mut more, Some(&limit)).expect("it can be waited for") > 0,
                "{wanted} is not in {}",
                self.seen
            );
            let count = self.person.read(&mut some).expect("there is more to come");
            self.seen.push_str(&String::from_utf8_lossy(&some[..count]));
        }
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.programs).expect("settings")
    }
}

fn end(mut child: Child) -> Option<i32> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it is there") {
            return status.code();
        }
        assert!(started.elapsed() < DEADLINE, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// It goes to the command and to freshdb at once, and the command decides.
#[test]
fn ctrl_c_reaches_the_command_once() {
    let mut terminal = Terminal::open();
    let child = terminal.run("trap 'echo it got one; got=yes' INT; echo ready; while [ -z \"$got\" ]; do sleep 0.1; done; sleep 0.3; echo end; exit 7");
    terminal.read_until("ready");
    terminal.person.write_all(b"\x03").expect("typed");
    terminal.read_until("end");
    assert_eq!(end(child), Some(7));
    assert_eq!(terminal.seen.matches("it got one").count(), 1, "{}", terminal.seen);
}

/// From another terminal, or from a program: it comes to freshdb alone.
#[test]
fn a_signal_to_freshdb_at_a_terminal_reaches_the_command_once() {
    for (signal, name) in [(Signal::INT, "INT"), (Signal::QUIT, "QUIT")] {
        let mut terminal = Terminal::open();
        let script = "trap 'echo it got one; got=yes' SIGNAL; echo ready $PPID.; while [ -z \"$got\" ]; do sleep 0.1; done; sleep 0.3; echo end; exit 7";
        let child = terminal.run(&script.replace("SIGNAL", name));
        terminal.read_until(".");
        let (_, freshdb) = terminal.seen.trim_end().trim_end_matches('.').rsplit_once(' ').expect("a process");
        let freshdb = freshdb.parse().ok().and_then(Pid::from_raw).expect("a process");
        kill_process(freshdb, signal).expect("it is there");
        terminal.read_until("end");
        assert_eq!(end(child), Some(7), "{name}");
        assert_eq!(terminal.seen.matches("it got one").count(), 1, "{name}: {}", terminal.seen);
    }
}

#[test]
fn a_command_that_dies_of_ctrl_c_is_told_as_a_shell_tells_it() {
    let mut terminal = Terminal::open();
    let child = terminal.run("echo ready; exec sleep 600");
    terminal.read_until("ready");
    terminal.person.write_all(b"\x03").expect("typed");
    assert_eq!(end(child), Some(130));
}

#[test]
fn the_terminal_is_left_as_it_was() {
    let mut terminal = Terminal::open();
    let before = terminal.settings();
    assert!(before.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON));
    let child = terminal.run("stty raw -echo; echo ready; read line; kill -s KILL $$");
    terminal.read_until("ready");
    assert!(!terminal.settings().local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON));
    terminal.person.write_all(b"\n").expect("typed");
    assert_eq!(end(child), Some(137));
    let after = terminal.settings();
    assert_eq!(
        (after.local_modes, after.input_modes, after.output_modes, after.control_modes),
        (before.local_modes, before.input_modes, before.output_modes, before.control_modes)
    );
}
