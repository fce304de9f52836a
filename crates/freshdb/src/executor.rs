//! Statements under watch: what a session executes is known to have ended, or known not to have.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryStreamExt};
use sqlx::error::BoxDynError;
use sqlx::{Either, Execute, SqlStr};

use crate::conduct::{Conduct, Undone, Watch, conduct_of, is_select};
use crate::dialect::{Backend, Item};
use crate::lease::Lease;
use crate::verdict::Verdict;

/// A statement whose text can be read before it is executed.
pub struct Query<DB: sqlx::Database> {
    sql: SqlStr,
    statement: Option<DB::Statement>,
    arguments: Result<Option<DB::Arguments>, Option<BoxDynError>>,
    persistent: bool,
}

impl<DB: sqlx::Database> Query<DB> {
    pub(crate) fn of<'q>(mut query: impl Execute<'q, DB>) -> Self {
        let persistent = query.persistent();
        let statement = query.statement().cloned();
        let arguments = query.take_arguments().map_err(Some);
        Self { sql: query.sql(), statement, arguments, persistent }
    }
}

impl<DB: sqlx::Database> Execute<'_, DB> for Query<DB> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.statement.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        match &mut self.arguments {
            Ok(arguments) => Ok(arguments.take()),
            Err(error) => Err(error.take().unwrap_or_else(|| "the arguments were taken before".into())),
        }
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

impl<DB: Backend> Lease<DB> {
    pub(crate) fn fetch_many(&mut self, query: Query<DB>) -> BoxStream<'_, Item<DB>> {
        let (connection, mut watch) = match self.watched() {
            Ok(parts) => parts,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        watch.remember(&query.sql);
        let harm = conduct_of(query.sql.as_str(), DB::SYNTAX);
        let rows = DB::fetch_many(connection, query);
        Watched::<DB> { rows, watch, harm, progress: Progress::NotBegun }.boxed()
    }

    pub(crate) fn fetch_optional(&mut self, query: Query<DB>) -> BoxFuture<'_, Result<Option<DB::Row>, sqlx::Error>> {
        Box::pin(async move {
            let only_reads = !DB::SELECT_MAY_FAIL_LATE && is_select(query.sql.as_str(), DB::SYNTAX);
            let until = if only_reads { Until::NextRow } else { Until::End };
            let mut items = self.fetch_many(query);
            loop {
                match items.try_next().await? {
                    None => return Ok(None),
                    Some(Either::Left(_)) => {}
                    Some(Either::Right(row)) => {
                        read_on::<DB>(&mut items, until).await?;
                        return Ok(Some(row));
                    }
                }
            }
        })
    }

    pub(crate) fn prepare<'c>(
        &'c mut self,
        sql: SqlStr,
        parameters: &'c [DB::TypeInfo],
    ) -> BoxFuture<'c, Result<DB::Statement, sqlx::Error>> {
        Box::pin(async move {
            let (connection, watch) = self.watched()?;
            watch.whole::<DB, _>(Conduct::Clean, DB::prepare(connection, sql, parameters)).await
        })
    }

    pub(crate) fn describe(&mut self, sql: SqlStr) -> BoxFuture<'_, Result<sqlx::Describe<DB>, sqlx::Error>> {
        Box::pin(async move {
            let (connection, watch) = self.watched()?;
            watch.whole::<DB, _>(Conduct::Clean, DB::describe(connection, sql)).await
        })
    }
}

/// How far a statement is read of which just the first row is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// What writes may be refused after its rows were sent: by a row further on, or by a constraint that is looked at in the end.
    End,
    /// Of what only reads, there may be more rows than anybody wants to wait for.
    NextRow,
}

/// Waits for what comes after the first row: mostly the end, and sometimes the error that takes the row back. A driver that
/// was asked for it must not be left half-way. Of further rows, those are read in any case that are there already.
async fn read_on<DB: Backend>(items: &mut BoxStream<'_, Item<DB>>, until: Until) -> Result<(), sqlx::Error> {
    let mut is_row = false;
    let mut waited = false;
    poll_fn(|context| {
        loop {
            if until == Until::NextRow && waited && is_row {
                return Poll::Ready(Ok(()));
            }
            match items.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(item))) => is_row = item.is_right(),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    waited = true;
                    is_row = false;
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

/// The answers to one statement. Dropped before their end, they leave a mark on the session.
struct Watched<'c, DB: Backend> {
    rows: BoxStream<'c, Item<DB>>,
    watch: Watch<'c>,
    harm: Conduct,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    NotBegun,
    UnderWay { before: Conduct },
    Ended,
}

impl<DB: Backend> Stream for Watched<'_, DB> {
    type Item = Item<DB>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let before = match this.progress {
            Progress::Ended => return Poll::Ready(None),
            Progress::UnderWay { before } => before,
            Progress::NotBegun => {
                let before = this.watch.conduct();
                this.progress = Progress::UnderWay { before };
                this.watch.set(Conduct::Cut);
                before
            }
        };
        let polled = this.rows.as_mut().poll_next(context);
        match &polled {
            // MySQL's driver forgets a packet's head when it is dropped while it waits for the rest of it, and notes the end
            // of a statement only when it is asked for what comes after the result.
            Poll::Pending | Poll::Ready(Some(Ok(Either::Left(_)))) => this.watch.set(Conduct::Cut),
            // The driver knows how to get over the rows that nobody reads; whether the server still works is open.
            Poll::Ready(Some(Ok(Either::Right(_)))) => this.watch.set(before.max(Conduct::Unknown)),
            Poll::Ready(None) => {
                this.progress = Progress::Ended;
                this.watch.set(before.max(this.harm));
            }
            Poll::Ready(Some(Err(error))) => {
                this.progress = Progress::Ended;
                this.watch.failed::<DB>(before.max(this.harm), error);
            }
        }
        polled
    }
}

impl Watch<'_> {
    /// Work with the driver that leaves a mark on the session if it is dropped before its end.
    pub(crate) async fn whole<DB, T>(
        mut self,
        harm: Conduct,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error>
    where
        DB: Backend,
    {
        let before = self.conduct();
        self.set(Conduct::Cut);
        let result = work.await;
        match &result {
            Ok(_) => self.set(before.max(harm)),
            Err(error) => self.failed::<DB>(before.max(harm), error),
        }
        result
    }

    /// Of several statements the first may have been executed.
    fn failed<DB: Backend>(&mut self, before: Conduct, error: &sqlx::Error) {
        #[cfg(feature = "test")]
        self.take_boundary_back(error.as_database_error().is_some_and(DB::refuses_commit));
        let after = match error {
            sqlx::Error::Database(error) => {
                match DB::undoes(&**error, self.signs) {
                    Undone::No => {}
                    how => self.transaction_undone(how, &**error),
                }
                if DB::spoils(&**error) { Conduct::Spoiled } else { Conduct::Doubtful }
            }
            // Nothing was sent: the values could not be written.
            sqlx::Error::Encode(_) => Conduct::Doubtful,
            error if DB::confuses(error) => Conduct::Confused,
            error if DB::garbles(error) => Conduct::Garbled,
            _ => Conduct::Unknown,
        };
        let after = match Verdict::of(error) {
            Verdict::Lost => after.max(Conduct::Broken),
            Verdict::ReadOnly => Conduct::ReadOnly,
            _ => after,
        };
        self.set(before.max(after));
    }
}

/// Everything that has a session executes statements on it in the same way.
macro_rules! executes {
    ($executor:ty) => {
        impl<'c, DB: $crate::dialect::Dialect> ::sqlx::Executor<'c> for &'c mut $executor {
            type Database = DB;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> ::futures_util::stream::BoxStream<'e, $crate::dialect::Item<DB>>
            where
                'c: 'e,
                E: 'q + ::sqlx::Execute<'q, DB>,
            {
                self.lease().fetch_many($crate::executor::Query::of(query))
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> ::futures_util::future::BoxFuture<'e, Result<Option<DB::Row>, ::sqlx::Error>>
            where
                'c: 'e,
                E: 'q + ::sqlx::Execute<'q, DB>,
            {
                self.lease().fetch_optional($crate::executor::Query::of(query))
            }

            fn prepare_with<'e>(
                self,
                sql: ::sqlx::SqlStr,
                parameters: &'e [DB::TypeInfo],
            ) -> ::futures_util::future::BoxFuture<'e, Result<DB::Statement, ::sqlx::Error>>
            where
                'c: 'e,
            {
                self.lease().prepare(sql, parameters)
            }

            fn describe<'e>(
                self,
                sql: ::sqlx::SqlStr,
            ) -> ::futures_util::future::BoxFuture<'e, Result<::sqlx::Describe<DB>, ::sqlx::Error>>
            where
                'c: 'e,
            {
                self.lease().describe(sql)
            }
        }
    };
}
pub(crate) use executes;
