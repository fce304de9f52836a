//! What freshdb made on a server: one row for each database, written before it is made, and taken out after it is dropped.
//!
//! Nothing that has no row here is ever dropped, whatever its name.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::dialect::{Dialect, Fault, REGISTRY, explain};
use crate::server::is_as_asked;
use crate::{DatabaseUrl, Error, names};

/// A row: a database, or a process that uses a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) state: State,
    /// Whose: see `Checkout`.
    pub(crate) checkout: String,
    pub(crate) fingerprint: String,
    /// The template of a slot, or of what was kept; of a template, its own name.
    pub(crate) template: String,
    /// When its state was last changed, or a template last claimed, by the clock of the process that did it.
    pub(crate) since: SystemTime,
    /// Why it was kept; of a slot, its [memo](Dialect::memo).
    pub(crate) note: String,
}

impl Entry {
    /// Held by whoever makes a template of this checkout and schema, or drops it.
    pub(crate) fn lock_of_template(&self) -> String {
        names::template_lock(&self.checkout, &self.fingerprint)
    }
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Template,
    Slot,
    /// A slot that is kept for somebody to look at.
    Kept,
    /// A process that uses a template, for as long as the lock of its name is held. There is no database of that name.
    User,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Whoever finds this without its lock being held finds what was broken off.
    Making,
    /// Of a slot: complete, and perhaps in use, or left as somebody had it who was killed.
    Ready,
    /// Of a slot: put back by its last owner, and proven to be. This is written while the lock is still held, and taken back before
    /// anybody can have it again, so that of a process that is killed it never stays.
    Pristine,
    /// Of a template: it is complete, and somebody looks whether it is used, to drop it if it is not. Nobody gets it meanwhile.
    Doubted,
    /// Of a template: nobody gets it any more. Those who use it keep it, and when it has not been used for long, it is dropped.
    Retired,
}

impl Role {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Template, "template"), (Self::Slot, "slot"), (Self::Kept, "kept"), (Self::User, "user")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("", |(_, word)| word)
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(role, _)| *role)
    }
}

impl State {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Making, "making"),
        (Self::Ready, "ready"),
        (Self::Pristine, "pristine"),
        (Self::Doubted, "doubted"),
        (Self::Retired, "retired"),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(state, _)| *state)
    }
}

/// The statements below are of the kind that every server understands. What stands between their quotes is made of
/// letters, digits and `_`: names and fingerprints are freshdb's own, also those that are read, for a row that has another is passed
/// over; and a note is written in hexadecimal digits.
pub(crate) struct Registry;

impl Registry {
    /// Connects to the books of a server, and opens them where there are none.
    pub(crate) async fn connect<D: Dialect>(server: &DatabaseUrl) -> Result<D::Connection, Error> {
        let failed = |error| explain::<D>(format!("cannot use the server `{server}`"), error);
        // The usual case is that they are there.
        let mut connection = match D::connect(server, REGISTRY).await {
            Ok(connection) => connection,
            Err(error) if matches!(D::fault(&error), Fault::Other) => {
                D::create_registry(server).await.map_err(failed)?;
                D::connect(server, REGISTRY).await.map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        is_as_asked(server, D::engine_of(&mut connection).await.map_err(failed)?)?;
        let table = D::TABLE;
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {table} (name VARCHAR(63) NOT NULL PRIMARY KEY, role VARCHAR(16) NOT NULL, \
             state VARCHAR(16) NOT NULL, checkout VARCHAR(63) NOT NULL, fingerprint VARCHAR(63) NOT NULL, \
             template VARCHAR(63) NOT NULL, since BIGINT NOT NULL, note VARCHAR(2000) NOT NULL)"
        );
        if let Err(error) = D::rows(&mut connection, &format!("SELECT COUNT(*) FROM {table} WHERE 1 = 0")).await {
            // It is there, and it is not for this user: what making it would lack is not what is missing.
            if matches!(D::fault(&error), Fault::Denied { .. }) {
                return Err(failed(error));
            }
            // Two that make it at once can get in each other's way even so.
            if let Err(error) = D::execute(&mut connection, &sql).await
                && D::rows(&mut connection, &format!("SELECT COUNT(*) FROM {table} WHERE 1 = 0")).await.is_err()
            {
                return Err(failed(error));
            }
        }
        Ok(connection)
    }

    pub(crate) async fn entries<D: Dialect>(connection: &mut D::Connection) -> Result<Vec<Entry>, sqlx::Error> {
        Self::select::<D>(connection, "").await
    }

    pub(crate) async fn of_template<D: Dialect>(
        connection: &mut D::Connection,
        template: &str,
    ) -> Result<Vec<Entry>, sqlx::Error> {
        Self::select::<D>(connection, &format!("WHERE template = '{template}'")).await
    }

    pub(crate) async fn find<D: Dialect>(
        connection: &mut D::Connection,
        name: &str,
    ) -> Result<Option<Entry>, sqlx::Error> {
        Ok(Self::select::<D>(connection, &format!("WHERE name = '{name}'")).await?.pop())
    }

    async fn select<D: Dialect>(connection: &mut D::Connection, condition: &str) -> Result<Vec<Entry>, sqlx::Error> {
        let table = D::TABLE;
        let sql = format!(
            "SELECT name, role, state, checkout, fingerprint, template, since, note FROM {table} {condition} ORDER BY since, name"
        );
        let rows = D::rows(connection, &sql).await?;
        Ok(rows.into_iter().filter_map(entry).collect())
    }

    async fn write<D: Dialect>(connection: &mut D::Connection, sql: &str) -> Result<(), sqlx::Error> {
        within_limit(D::execute(connection, sql)).await
    }

    pub(crate) async fn insert<D: Dialect>(connection: &mut D::Connection, entry: &Entry) -> Result<(), sqlx::Error> {
        let Entry { name, role, state, checkout, fingerprint, template, since, note } = entry;
        let table = D::TABLE;
        let sql = format!(
            "INSERT INTO {table} (name, role, state, checkout, fingerprint, template, since, note) \
             VALUES ('{name}', '{}', '{}', '{checkout}', '{fingerprint}', '{template}', {}, '{}')",
            role.word(),
            state.word(),
            millis(*since),
            hex(note),
        );
        Self::write::<D>(connection, &sql).await
    }

    pub(crate) async fn set_ready<D: Dialect>(connection: &mut D::Connection, name: &str) -> Result<(), sqlx::Error> {
        let (table, now) = (D::TABLE, millis(SystemTime::now()));
        Self::write::<D>(
            connection,
            &format!("UPDATE {table} SET state = 'ready', since = {now} WHERE name = '{name}'"),
        )
        .await
    }

    /// A slot is complete, and has this memo. One that does not fit in is left out.
    pub(crate) async fn set_copied<D: Dialect>(
        connection: &mut D::Connection,
        name: &str,
        memo: &str,
    ) -> Result<(), sqlx::Error> {
        let (table, now) = (D::TABLE, millis(SystemTime::now()));
        let memo = if memo.len() > LONGEST_NOTE { "" } else { memo };
        let sql =
            format!("UPDATE {table} SET state = 'ready', since = {now}, note = '{}' WHERE name = '{name}'", hex(memo));
        Self::write::<D>(connection, &sql).await
    }

    /// It was used then.
    pub(crate) async fn set_since<D: Dialect>(
        connection: &mut D::Connection,
        name: &str,
        since: SystemTime,
    ) -> Result<(), sqlx::Error> {
        let (table, since) = (D::TABLE, millis(since));
        Self::write::<D>(connection, &format!("UPDATE {table} SET since = {since} WHERE name = '{name}'")).await
    }

    /// The slot's last owner has put it back, and lets go of it.
    pub(crate) async fn set_pristine<D: Dialect>(
        connection: &mut D::Connection,
        name: &str,
    ) -> Result<(), sqlx::Error> {
        let (table, now) = (D::TABLE, millis(SystemTime::now()));
        Self::write::<D>(
            connection,
            &format!("UPDATE {table} SET state = 'pristine', since = {now} WHERE name = '{name}'"),
        )
        .await
    }

    /// What a template holds, if somebody has stored it.
    pub(crate) async fn content<D: Dialect>(connection: &mut D::Connection, template: &str) -> Option<String> {
        let table = D::CONTENTS.0;
        let sql = format!("SELECT content FROM {table} WHERE name = '{template}'");
        // Where there is no such table, nobody has.
        let rows = D::rows(connection, &sql).await.ok()?;
        Some(from_hex(rows.first()?.first()?.as_deref()?))
    }

    /// Stores what a template holds. What cannot be stored is read from the template by each process.
    pub(crate) async fn store<D: Dialect>(connection: &mut D::Connection, template: &str, content: &str) {
        if content.len() > LONGEST_CONTENT {
            return;
        }
        let (table, long_text) = D::CONTENTS;
        let insert =
            format!("INSERT INTO {table} (name, content) VALUES ('{template}', '{}')", digits(content.bytes()));
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} (name VARCHAR(63) NOT NULL PRIMARY KEY, content {long_text} NOT NULL)"
        );
        let mut stored = Self::write::<D>(connection, &insert).await;
        // Not where the server does not answer.
        if stored.as_ref().is_err_and(|error| error.as_database_error().is_some()) {
            stored = match Self::write::<D>(connection, &create).await {
                Ok(()) => Self::write::<D>(connection, &insert).await,
                Err(error) => Err(error),
            };
        }
        if let Err(error) = stored {
            tracing::debug!(template, "was not stored, or somebody else was quicker: {error}");
        }
    }

    /// Forgets what a template held.
    pub(crate) async fn forget<D: Dialect>(connection: &mut D::Connection, template: &str) {
        let table = D::CONTENTS.0;
        if let Err(error) =
            Self::write::<D>(connection, &format!("DELETE FROM {table} WHERE name = '{template}'")).await
        {
            tracing::debug!(template, "nothing was stored of it: {error}");
        }
    }

    /// From now on it may be less than it was. The time stays as it is.
    pub(crate) async fn set_making<D: Dialect>(connection: &mut D::Connection, name: &str) -> Result<(), sqlx::Error> {
        let table = D::TABLE;
        Self::write::<D>(connection, &format!("UPDATE {table} SET state = 'making' WHERE name = '{name}'")).await
    }

    /// Takes the word `ready` off a template, if it has it, and leaves the time as it is.
    pub(crate) async fn doubt<D: Dialect>(connection: &mut D::Connection, name: &str) -> Result<(), sqlx::Error> {
        Self::replace::<D>(connection, name, State::Ready, State::Doubted).await
    }

    /// Puts the word back that [`doubt`](Self::doubt) took off, unless the template was retired meanwhile.
    pub(crate) async fn trust<D: Dialect>(connection: &mut D::Connection, name: &str) -> Result<(), sqlx::Error> {
        Self::replace::<D>(connection, name, State::Doubted, State::Ready).await
    }

    async fn replace<D: Dialect>(
        connection: &mut D::Connection,
        name: &str,
        old: State,
        new: State,
    ) -> Result<(), sqlx::Error> {
        let (table, old, new) = (D::TABLE, old.word(), new.word());
        let sql = format!("UPDATE {table} SET state = '{new}' WHERE name = '{name}' AND state = '{old}'");
        Self::write::<D>(connection, &sql).await
    }

    /// Nobody gets the template any more who does not use it already.
    pub(crate) async fn retire<D: Dialect>(connection: &mut D::Connection, name: &str) -> Result<(), sqlx::Error> {
        let table = D::TABLE;
        Self::write::<D>(connection, &format!("UPDATE {table} SET state = 'retired' WHERE name = '{name}'")).await
    }

    /// Which of two that are kept is the newer one no clock decides: it may have been set back since, or be that of another machine.
    pub(crate) async fn set_kept<D: Dialect>(
        connection: &mut D::Connection,
        name: &str,
        note: &str,
    ) -> Result<(), sqlx::Error> {
        let table = D::TABLE;
        let sql = format!(
            "SELECT MAX(kept.since) FROM {table} kept JOIN {table} own ON own.checkout = kept.checkout \
             WHERE own.name = '{name}' AND kept.role = 'kept'"
        );
        let newest = D::rows(connection, &sql).await?.into_iter().flatten().flatten().next();
        let newest: u128 = newest.and_then(|since| since.parse().ok()).unwrap_or_default();
        let since = millis(SystemTime::now()).max(newest + 1);
        let sql =
            format!("UPDATE {table} SET role = 'kept', since = {since}, note = '{}' WHERE name = '{name}'", hex(note));
        Self::write::<D>(connection, &sql).await
    }

    pub(crate) async fn remove<D: Dialect>(connection: &mut D::Connection, name: &str) -> Result<(), sqlx::Error> {
        let table = D::TABLE;
        Self::write::<D>(connection, &format!("DELETE FROM {table} WHERE name = '{name}'")).await
    }
}

/// How long it may take to write a row. MySQL waits for whoever makes room, where the disk of its log is full, and says so in that log alone:
/// <https://dev.mysql.com/doc/refman/9.7/en/full-disk.html>.
const LONGEST_WRITE: Duration = Duration::from_secs(30);

/// Does what takes the server a moment, as to write a row. Of a connection that was not answered in time the next answer is never the right one.
pub(crate) async fn within_limit(done: impl Future<Output = Result<(), sqlx::Error>>) -> Result<(), sqlx::Error> {
    tokio::time::timeout(LONGEST_WRITE, done).await.unwrap_or_else(|_| {
        let fact = format!("no answer after {} s, as of a server whose disk is full", LONGEST_WRITE.as_secs());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, fact)))
    })
}

/// A row that another version wrote, and that says what this one does not know, is left alone. So is one that freshdb cannot have
/// written: whoever may write to the registry may not thereby have others drop what they may not drop themselves.
fn entry(row: Vec<Option<String>>) -> Option<Entry> {
    let mut columns = row.into_iter();
    let mut next = || columns.next().flatten();
    let entry = Entry {
        name: next()?,
        role: Role::of(&next()?)?,
        // What this one cannot make sense of is not trusted.
        state: State::of(&next()?).unwrap_or(State::Making),
        checkout: next()?,
        fingerprint: next()?,
        template: next()?,
        since: UNIX_EPOCH + Duration::from_millis(next()?.parse().ok()?),
        note: from_hex(&next().unwrap_or_default()),
    };
    let is_ours = names::is_ours(&entry.name)
        && names::is_ours(&entry.template)
        && names::is_digest(&entry.checkout)
        && names::is_digest(&entry.fingerprint);
    is_ours.then_some(entry)
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// At the most so many bytes of a note are kept: what two digits each leave room for.
const LONGEST_NOTE: usize = 1000;

/// More is not worth it to store: a server may refuse it, and a template that holds so much is read in another time.
const LONGEST_CONTENT: usize = 2 << 20;

fn hex(text: &str) -> String {
    digits(text.bytes().take(LONGEST_NOTE))
}

fn digits(bytes: impl Iterator<Item = u8>) -> String {
    let digit = |number: u8| char::from_digit(number.into(), 16).unwrap_or_default();
    bytes.flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(digits: &str) -> String {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?);
    let bytes: Vec<u8> = digits.as_bytes().chunks(2).filter_map(byte).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_any_text_comes_back() {
        for note in ["", "tags::create", "'; DROP TABLE \"x\" -- \\ `", "täst 🦀\0\n"] {
            assert!(hex(note).chars().all(|digit| digit.is_ascii_hexdigit()));
            assert_eq!(from_hex(&hex(note)), note);
        }
        assert_eq!(hex(&"x".repeat(5000)).len(), 2 * LONGEST_NOTE);
    }

    #[test]
    fn a_row_of_another_version_is_left_alone() {
        assert_eq!(entry(row(SLOT, "kept")).map(|entry| (entry.role, entry.note)), Some((Role::Kept, "a".into())));
        assert_eq!(entry(row(SLOT, "something new")), None);
        let mut slot = row(SLOT, "slot");
        slot[2] = Some("something new".to_owned());
        assert_eq!(entry(slot).map(|entry| entry.state), Some(State::Making));
    }

    #[test]
    fn a_row_that_is_not_freshdbs_is_left_alone() {
        assert!(entry(row(SLOT, "slot")).is_some());
        for other in ["payroll", "freshdb_registry", "freshdb_s_abcdef_abcdef_x`; DROP", ""] {
            assert_eq!(entry(row(other, "slot")), None, "{other}");
        }
        for column in [3, 4, 5] {
            let mut slot = row(SLOT, "slot");
            slot[column] = Some("x' OR '1' = '1".to_owned());
            assert_eq!(entry(slot), None, "column {column}");
        }
    }

    const SLOT: &str = "freshdb_s_abcdef_abcdef_0123456789";

    fn row(name: &str, role: &str) -> Vec<Option<String>> {
        [name, role, "ready", "c", "f", SLOT, "7", "61"].map(|value| Some(value.to_owned())).to_vec()
    }
}
