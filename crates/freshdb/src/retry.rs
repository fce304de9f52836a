//! Running work again that may succeed then.

use std::time::Duration;

use crate::error::Error;
use crate::runtime::sleep;
use crate::verdict::Verdict;

/// An error that tells whether the same work may succeed when it is run again.
pub trait HasVerdict {
    /// What it means for the work that met it.
    fn verdict(&self) -> Verdict;
}

impl HasVerdict for crate::Error {
    fn verdict(&self) -> Verdict {
        Self::verdict(self)
    }
}

impl HasVerdict for sqlx::Error {
    fn verdict(&self) -> Verdict {
        Verdict::of(self)
    }
}

/// Runs `work` on `first`, and where it may succeed then, on another, until it does or was run often enough.
pub(crate) async fn run<S, T, E, Another, Work>(
    first: S,
    mut another: impl FnMut() -> Another,
    met: impl Fn(Verdict),
    mut work: impl FnMut(S) -> Work,
) -> Result<T, E>
where
    Another: Future<Output = Result<S, Error>>,
    Work: Future<Output = Result<T, E>>,
    E: From<Error> + HasVerdict,
{
    let mut attempts = Attempts::new();
    let mut next = Ok(first);
    loop {
        let error = match next {
            Ok(session) => match work(session).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            },
            Err(error) => E::from(error),
        };
        let verdict = error.verdict();
        met(verdict);
        if !attempts.may_go_on(verdict) {
            return Err(error);
        }
        if verdict == Verdict::Conflict {
            sleep(attempts.pause()).await;
        }
        tracing::debug!(?verdict, attempt = attempts.0, "running work again");
        next = another().await;
    }
}

/// How often a transaction is run that loses against others.
const MOST_ON_CONFLICT: u32 = 12;

/// How often work is run whose connection turns out dead. All after the first ask the connection before they use it.
const MOST_ON_LOSS: u32 = 3;

/// How often work is run that may not write: the second connection is a new one, and tells where the address leads now.
const MOST_ON_READ_ONLY: u32 = 2;

/// How often some work was run.
#[derive(Debug)]
pub(crate) struct Attempts(u32);

impl Attempts {
    pub(crate) fn new() -> Self {
        Self(1)
    }

    /// Whether work that met this may be run once more, which is counted.
    pub(crate) fn may_go_on(&mut self, verdict: Verdict) -> bool {
        let most = match verdict {
            Verdict::Conflict => MOST_ON_CONFLICT,
            Verdict::Lost => MOST_ON_LOSS,
            Verdict::ReadOnly => MOST_ON_READ_ONLY,
            Verdict::Exhausted | Verdict::Overtime | Verdict::Refused => 0,
        };
        let may = self.0 < most;
        self.0 += 1;
        may
    }

    /// Random, so that those who met do not meet again, and longer each time.
    fn pause(&self) -> Duration {
        let most = 1 << self.0.min(7);
        Duration::from_micros(fastrand::u64(200..=1000 * most))
    }
}
