//! The upsert as it is written down and executed.

use sea_orm::sea_query::{DynIden, IntoIden, IntoValueTuple, TableName};
use sea_orm::{
    ConnectionTrait, DbErr, SqliteTransactionMode, TransactionOptions, TransactionSession, TransactionTrait,
    TryGetable, Value,
};

use super::batch::{Row, check_signed, fold};
use super::dialect;
use super::error::UpsertError;
use super::outcome::{Outcome, UpsertedRow};
use super::plan::Plan;
use super::run::{Read, Run, read};

/// Rows to insert, or to update where their key is there.
///
/// ```
/// use freshdb::upsert::{RowOutcome, Upsert};
/// use sea_orm::{ConnectionTrait, Database};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let database = Database::connect("sqlite::memory:").await?;
/// database
///     .execute_unprepared("CREATE TABLE tags (id INTEGER PRIMARY KEY, tag_id TEXT UNIQUE NOT NULL, description TEXT)")
///     .await?;
///
/// let tags = |description: &'static str| {
///     Upsert::into("tags") // or an entity
///         .key(["tag_id"]) // or its columns
///         .columns(["tag_id", "description"])
///         .returning::<i64>("id")
///         .rows([("Python", None), ("Rust", Some(description))])
/// };
/// let outcome = tags("A language").execute(&database).await?;
/// assert_eq!(outcome.inserted(), 2);
///
/// let outcome = tags("The language").execute(&database).await?;
/// let [python, rust] = outcome.rows() else { unreachable!("one for each row of the input") };
/// assert_eq!((python.outcome, python.returned), (RowOutcome::Unchanged, 1));
/// assert_eq!((rust.outcome, rust.returned), (RowOutcome::Updated, 2));
/// # Ok(())
/// # }
/// ```
///
/// # What it promises
///
/// On SQLite, MySQL, MariaDB and PostgreSQL alike:
///
/// - **All or nothing.** [`execute`](Self::execute) runs in a transaction of its own; on a transaction, in a savepoint.
/// - **Each key's outcome is exact**: of all transactions that upsert a key at the same time, one reports that it has
///   inserted it, and no update is lost. It is final when the transaction commits.
/// - **What changed is what is stored differently.** `'a'` to `'A'` is a change under a collation that ignores case too;
///   `1.5` in a column that had `1.50` is none. Rows that are unchanged are not written, unless the server would store one of their
///   values otherwise than it was given, as it does here: whether such a row has changed is seen when it is written, and triggers run.
/// - **Rows of one key count as if they had been upserted one after another**, and have one outcome: before the batch
///   against after it.
/// - **A conflict with another unique key is an error**, [`UpsertError::AnotherKey`], and never takes that key's row for
///   the one that was meant, as `ON DUPLICATE KEY UPDATE` on MySQL and MariaDB does.
/// - **Any number of rows.** Statements are cut to what the engine takes. MySQL and MariaDB take a row of half their `max_allowed_packet`, for
///   its values are sent twice.
///
/// # What it does not
///
/// - The key must be unique and not null in the table. PostgreSQL and SQLite refuse another; MySQL and MariaDB cannot be
///   asked, and there [`UpsertError::NotUnique`] comes only when two rows are met.
/// - Which keys are the same is for the database to say, by the column's type and collation. Rows whose keys differ in
///   Rust and not there (`"a"` and `"A"`, by MySQL's default collation) are [`UpsertError::EqualKeys`] in one batch, for
///   there is no telling which was meant. One after another, they are the same row, and it keeps the key it has.
/// - It is not one statement but three to five for each chunk of up to 1000 rows (200 on MySQL and MariaDB) and 1 MiB, and on MySQL
///   and MariaDB one for each row that is updated. What is updated is also read, before and after.
/// - MySQL and MariaDB must keep the table in InnoDB; and a `FLOAT` there is compared by the six digits that the server
///   shows of it.
/// - Numbers that the database draws for rows may have gaps.
#[derive(Clone, Debug)]
#[must_use = "an upsert does nothing until it is executed"]
pub struct Upsert<T = ()> {
    table: TableName,
    key: Vec<DynIden>,
    columns: Vec<DynIden>,
    update: Option<Vec<DynIden>>,
    returning: Option<DynIden>,
    read: Read<T>,
    rows: Vec<Vec<Value>>,
}

impl Upsert {
    /// Into this table: an entity, a name, or `(schema, name)`. Of an entity in another schema than the connection's, say
    /// both.
    pub fn into(table: impl Into<TableName>) -> Self {
        Self {
            table: table.into(),
            key: Vec::new(),
            columns: Vec::new(),
            update: None,
            returning: None,
            read: |_, _| Ok(()),
            rows: Vec::new(),
        }
    }
}

impl<T> Upsert<T> {
    /// The unique key that says which row is meant; one column or several, all of them among [`columns`](Self::columns).
    pub fn key<N: IntoIden>(mut self, columns: impl IntoIterator<Item = N>) -> Self {
        self.key = columns.into_iter().map(IntoIden::into_iden).collect();
        self
    }

    /// The columns that the rows have values for, in the rows' order. A row that is inserted gets the table's defaults for
    /// the others.
    pub fn columns<N: IntoIden>(mut self, columns: impl IntoIterator<Item = N>) -> Self {
        self.columns = columns.into_iter().map(IntoIden::into_iden).collect();
        self
    }

    /// The columns that are updated in a row that is there; all that are not of the key, unless this says otherwise. If
    /// there are none, rows that are there stay as they are.
    pub fn update<N: IntoIden>(mut self, columns: impl IntoIterator<Item = N>) -> Self {
        self.update = Some(columns.into_iter().map(IntoIden::into_iden).collect());
        self
    }

    /// A column whose value is wanted of each row as it is stored afterwards: a key that the database has generated, say.
    pub fn returning<R: TryGetable>(self, column: impl IntoIden) -> Upsert<R> {
        let Self { table, key, columns, update, rows, .. } = self;
        Upsert { table, key, columns, update, returning: Some(column.into_iden()), read: read::<R>, rows }
    }

    /// The rows: each a tuple of values in the order of [`columns`](Self::columns), or `ValueTuple::Many` of any length.
    /// The values of one column must be of one Rust type, and of one that the column is for, from upsert to upsert too:
    /// PostgreSQL prepares a statement for the types of the first, and sqlx knows it again by its text alone.
    pub fn rows<R: IntoValueTuple>(mut self, rows: impl IntoIterator<Item = R>) -> Self {
        self.rows = rows.into_iter().map(|row| row.into_value_tuple().into_iter().collect()).collect();
        self
    }

    /// Upserts the rows, all of them or none.
    ///
    /// It begins a transaction, and commits it: on a transaction that is a savepoint, and the caller's commit is what
    /// counts. So a batch that fails leaves nothing behind, whatever the caller goes on to do. On SQLite a transaction of
    /// its own begins IMMEDIATE; one of the caller's should too, for a transaction that has read before it writes fails
    /// where another has written meanwhile.
    ///
    /// # Errors
    ///
    /// [`UpsertError`] says which. If [`is_conflict`](UpsertError::is_conflict), another transaction won, and the whole
    /// transaction may be run again, the caller's own included. Rows are locked in an order that is the same in every batch,
    /// so that is rare, but for two cases: MySQL and MariaDB lock the gaps between keys, and where many insert the same new
    /// keys at once, about every other one of them ends in a deadlock; and MariaDB with `innodb_snapshot_isolation`, which
    /// is its default from 11.6.2 on, refuses a row that another has written since the transaction began to read, unless
    /// that is READ COMMITTED. So there an upsert that has waited for another's row is in conflict.
    ///
    /// ```
    /// # use freshdb::upsert::Upsert;
    /// # use sea_orm::{ConnectionTrait, Database};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let database = Database::connect("sqlite::memory:").await?;
    /// # database.execute_unprepared("CREATE TABLE tags (tag_id TEXT PRIMARY KEY)").await?;
    /// let upsert = Upsert::into("tags").key(["tag_id"]).columns(["tag_id"]).rows(["Rust", "Python"]);
    /// let outcome = loop {
    ///     match upsert.clone().execute(&database).await {
    ///         Err(error) if error.is_conflict() => {} // once more; a service would stop at some number
    ///         outcome => break outcome?,
    ///     }
    /// };
    /// assert_eq!(outcome.inserted(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// MySQL and MariaDB end a deadlock by rolling back the whole transaction, whatever savepoint it is in: on a
    /// transaction of the caller's, all of that must be run again. freshdb's refuses to go on until it is rolled back. On
    /// SeaORM's own it is [`UpsertError::NotRolledBack`], and the caller's rollback then fails as well, for the savepoint is
    /// gone.
    ///
    /// # Cancellation
    ///
    /// Dropped before its commit was sent, nothing is stored; afterwards, all of it may be. On SeaORM's own connection the
    /// pool may suffer: sqlx 0.9 does not survive every moment at which a statement is dropped (while a transaction begins,
    /// or MySQL prepares). freshdb's sessions do.
    pub async fn execute<C>(self, connection: &C) -> Result<Outcome<T>, UpsertError>
    where
        C: TransactionTrait,
        T: Clone + Send,
    {
        let Self { table, key, columns, update, returning, read, rows } = self;
        let plan = Plan::new(table, &key, columns, update, returning)?;
        let inputs = rows.len();
        let rows = fold(&plan, rows)?;
        if rows.is_empty() {
            return Ok(Outcome::new([], Vec::new()));
        }
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        let transaction = connection.begin_with_options(options).await.map_err(UpsertError::Database)?;
        let dialect = dialect::of(transaction.get_database_backend());
        let checked = if dialect.has_unsigned() { Ok(()) } else { check_signed(&plan, &rows) };
        let outcomes = match checked {
            Ok(()) => Run { connection: &transaction, dialect, plan, read }.run(&rows).await,
            Err(error) => Err(error),
        };
        match outcomes {
            Ok(outcomes) => {
                transaction.commit().await.map_err(UpsertError::Database)?;
                Ok(unfold(&rows, outcomes, inputs))
            }
            Err(error) => match rolled_back(transaction).await {
                Ok(()) => Err(error),
                Err(rollback) => Err(UpsertError::NotRolledBack { error: Box::new(error), rollback }),
            },
        }
    }
}

async fn rolled_back(transaction: impl TransactionSession) -> Result<(), DbErr> {
    transaction.rollback().await
}

/// The outcomes of keys as those of the rows that have them.
fn unfold<T: Clone>(rows: &[Row], outcomes: Vec<UpsertedRow<T>>, inputs: usize) -> Outcome<T> {
    let keys: Vec<_> = outcomes.iter().map(|row| row.outcome).collect();
    let mut unfolded: Vec<Option<UpsertedRow<T>>> = vec![None; inputs];
    for (row, outcome) in rows.iter().zip(outcomes) {
        for input in &row.inputs {
            unfolded[*input] = Some(outcome.clone());
        }
    }
    Outcome::new(keys, unfolded.into_iter().flatten().collect())
}
