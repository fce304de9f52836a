//! What is done to one database, step by step, as it is kept in a file.

use std::fmt;

/// How many sessions a script has at the most.
pub(crate) const SESSIONS: usize = 3;

/// Steps, and how the sessions end that made them, and the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) endings: [Ending; SESSIONS],
    /// The process that has the lease is killed, instead of giving it back.
    pub(crate) killed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) session: usize,
    /// Executed until a statement fails. `{tag}` in it is a word that no other script uses.
    pub(crate) sql: String,
    /// Which kind of dirt it is, and which of its texts; of one that was kept, that is not known.
    pub(crate) origin: Option<(usize, usize)>,
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It says goodbye before the database is given back.
    Closed,
    /// Its socket is closed before that.
    Dropped,
    /// It is still there when the database is another's, and goes on.
    Leaked,
}

impl Ending {
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::Dropped, Self::Leaked];

    fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Dropped => "dropped",
            Self::Leaked => "leaked",
        }
    }
}

const KILLED: &str = " and killed";

/// A step a line, and a last one for how the sessions end, and the lease.
impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(formatter, "{} {}", step.session, step.sql)?;
        }
        let endings: Vec<&str> = self.endings.iter().map(|ending| ending.name()).collect();
        writeln!(formatter, "= {}{}", endings.join(" "), if self.killed { KILLED } else { "" })
    }
}

/// The scripts of a file, with lines between them that begin with `#` or are empty.
pub(crate) fn parse(text: &str) -> Vec<Script> {
    let mut scripts = Vec::new();
    let mut steps = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (session, rest) = line.split_once(' ').expect("a session and its statements");
        if session == "=" {
            let named = |name| Ending::ALL.into_iter().find(|ending| ending.name() == name).expect("an ending");
            let (rest, killed) = rest.strip_suffix(KILLED).map_or((rest, false), |rest| (rest, true));
            let endings: Vec<Ending> = rest.split(' ').map(named).collect();
            let endings = endings.try_into().expect("one for each session");
            scripts.push(Script { steps: std::mem::take(&mut steps), endings, killed });
        } else {
            let session = session.parse().expect("a session's number");
            steps.push(Step { session, sql: rest.to_owned(), origin: None });
        }
    }
    assert!(steps.is_empty(), "the last script has no `=` line");
    scripts
}

#[test]
fn a_script_is_read_as_it_was_written() {
    let steps = vec![
        Step { session: 0, sql: "BEGIN; INSERT INTO \"a b\" VALUES ('#')".into(), origin: None },
        Step { session: 2, sql: "SELECT 1".into(), origin: None },
    ];
    let script = Script { steps, endings: Ending::ALL, killed: false };
    let other = Script { killed: true, ..script.clone() };
    assert_eq!(parse(&format!("# One.\n{script}\n# Another.\n{other}")), [script, other]);
}
