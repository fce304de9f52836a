//! What a test does, and how it says that it failed.

use std::fmt::Debug;
use std::future::Future;

use super::context::{BuildError, Context, FromContext};

/// What a test may return: nothing, or a `Result` whose error says why it failed.
#[diagnostic::on_unimplemented(
    message = "a test cannot return `{Self}`",
    label = "this does not say whether the test has passed",
    note = "a test returns nothing, or a `Result` of nothing whose error is `Debug`; what it finds out is checked by `assert!` and its like"
)]
pub trait Outcome {
    /// Why it failed, if it did: what `{:?}` shows of the error.
    ///
    /// # Errors
    ///
    /// If it failed.
    fn verdict(self) -> Result<(), String>;
}

impl Outcome for () {
    fn verdict(self) -> Result<(), String> {
        Ok(())
    }
}

impl<T: Outcome, E: Debug> Outcome for Result<T, E> {
    fn verdict(self) -> Result<(), String> {
        match self {
            Ok(outcome) => outcome.verdict(),
            Err(error) => Err(format!("{error:?}")),
        }
    }
}

/// An async function, or a closure that returns a future, whose arguments implement [`FromContext`]: eight at the most.
#[diagnostic::on_unimplemented(
    message = "this cannot be the body of a test",
    note = "it is an `async fn` of at most eight arguments, each of which implements `freshdb::test::FromContext`, that returns \
            nothing or a `Result`"
)]
pub trait Body<Arguments> {
    /// Makes the arguments, in order, and runs it.
    fn run(self, context: &mut Context) -> impl Future<Output = Result<Result<(), String>, BuildError>>;
}

macro_rules! body {
    ($($Argument:ident)*) => {
        impl<Function, Running, $($Argument,)*> Body<($($Argument,)*)> for Function
        where
            Function: FnOnce($($Argument,)*) -> Running,
            Running: Future<Output: Outcome>,
            $($Argument: FromContext,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "a variable for each type, and there may be none")]
            async fn run(self, context: &mut Context) -> Result<Result<(), String>, BuildError> {
                $(let $Argument = context.get::<$Argument>().await?;)*
                context.body_has_begun = true;
                Ok(self($($Argument,)*).await.verdict())
            }
        }
    };
}

body!();
body!(A);
body!(A B);
body!(A B C);
body!(A B C D);
body!(A B C D E);
body!(A B C D E F);
body!(A B C D E F G);
body!(A B C D E F G H);
