//! From a schema to the database that all others are copied from.
//!
//! A template is made once for each checkout, server and fingerprint, under a name that nobody else uses, and counts only
//! when its row in the registry says that it is ready, which is written last.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::dialect::{Dialect, explain};
use crate::names::Names;
use crate::registry::{Entry, Registry, Role, State, within_limit};
use crate::schema::{self, Schema, Target};
use crate::{DatabaseUrl, Error, ErrorKind, runtime};

/// A template that is ready, and this process's claim on it.
pub(crate) struct Claimed {
    pub(crate) template: String,
    /// The row, and the lock, which tell others that this process uses it.
    pub(crate) user: String,
    /// Whether it was made just now.
    pub(crate) is_new: bool,
}

/// How long one process waits for another to make the template.
const LONGEST_WAIT: Duration = Duration::from_mins(10);
const PAUSE: Duration = Duration::from_millis(10);

/// How exactly it is known when a template was last claimed.
const AN_HOUR: Duration = Duration::from_hours(1);

/// Finds the template, or makes it; `rebuild` makes it in any case.
pub(crate) async fn claim<D: Dialect>(
    connection: &mut D::Connection,
    server: &DatabaseUrl,
    schema: &Arc<dyn Schema>,
    names: &Names,
    rebuild: bool,
) -> Result<Claimed, Error> {
    let mut rebuild = rebuild;
    loop {
        // Whatever is made after this is newer than what is found.
        let asked = SystemTime::now();
        let (template, is_new) = find_or_make::<D>(connection, server, schema, names, rebuild).await?;
        rebuild = false;
        // Whoever collects templates looks for users after it has taken the word `ready` off, and this looks for that word
        // after it has put itself down as a user: one of the two sees the other.
        let user = names.new_user();
        let failed = |error| explain::<D>(format!("cannot use the template `{template}` on `{server}`"), error);
        D::try_lock(connection, &user).await.map_err(failed)?;
        let entry = names.entry(&user, Role::User, State::Ready, &template);
        Registry::insert::<D>(connection, &entry).await.map_err(failed)?;
        let found = Registry::find::<D>(connection, &template).await.map_err(failed)?;
        if let Some(entry) = found.filter(|entry| entry.state == State::Ready) {
            if is_older_than(&entry, AN_HOUR) {
                Registry::set_since::<D>(connection, &template, asked).await.map_err(failed)?;
            }
            return Ok(Claimed { template, user, is_new });
        }
        Registry::remove::<D>(connection, &user).await.map_err(failed)?;
        D::unlock(connection, &user).await.map_err(failed)?;
    }
}

/// What a template holds. The first process reads it; the others are spared that, for nobody writes to a template.
pub(crate) async fn content<D: Dialect>(
    connection: &mut D::Connection,
    server: &DatabaseUrl,
    name: &str,
) -> Result<D::Template, Error> {
    let failed = |error| explain::<D>(format!("cannot use the template `{name}` on `{server}`"), error);
    // Another user of the server may not see all of what this one does.
    let reader = server.to_string();
    if let Some(stored) = Registry::content::<D>(connection, name).await
        && let Some((other, stored)) = stored.split_once('\n')
        && other == reader
    {
        if let Some(template) = D::restore(connection, server, name, stored).await.map_err(failed)? {
            return Ok(template);
        }
        // Or nobody would ever be spared it.
        Registry::forget::<D>(connection, name).await;
    }
    let template = D::read_template(server, name).await?;
    if let Some(content) = D::store(&template) {
        Registry::store::<D>(connection, name, &format!("{reader}\n{content}")).await;
    }
    Ok(template)
}

async fn find_or_make<D: Dialect>(
    connection: &mut D::Connection,
    server: &DatabaseUrl,
    schema: &Arc<dyn Schema>,
    names: &Names,
    rebuild: bool,
) -> Result<(String, bool), Error> {
    let failed = |error| explain::<D>(format!("cannot look for a template on `{server}`"), error);
    let lock = names.template_lock();
    let deadline = Instant::now() + LONGEST_WAIT;
    loop {
        if !rebuild && let Some(found) = ready_one::<D>(connection, names).await.map_err(failed)? {
            return Ok((found, false));
        }
        if D::try_lock(connection, &lock).await.map_err(failed)? {
            break;
        }
        if Instant::now() > deadline {
            let waited = LONGEST_WAIT.as_secs();
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("another process has been making the template of this schema on `{server}` for {waited} s"),
            )
            .hint("look what its migrations wait for, and end it"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let made = make_locked::<D>(connection, server, schema, names, rebuild).await;
    // Without a template the connection is given up, and the lock ends with it: a server that has not answered would be waited for twice.
    let made = made?;
    within_limit(D::unlock(connection, &lock)).await.map_err(failed)?;
    Ok(made)
}

async fn ready_one<D: Dialect>(connection: &mut D::Connection, names: &Names) -> Result<Option<String>, sqlx::Error> {
    let entries = Registry::entries::<D>(connection).await?;
    let mut ready = entries.into_iter().filter(|entry| names.is_template(entry) && entry.state == State::Ready);
    Ok(ready.next_back().map(|entry| entry.name))
}

/// Whoever is here is alone: what others began is broken off for good.
async fn make_locked<D: Dialect>(
    connection: &mut D::Connection,
    server: &DatabaseUrl,
    schema: &Arc<dyn Schema>,
    names: &Names,
    rebuild: bool,
) -> Result<(String, bool), Error> {
    let failed = |error| explain::<D>(format!("cannot make a template on `{server}`"), error);
    let entries = Registry::entries::<D>(connection).await.map_err(failed)?;
    for entry in entries.iter().filter(|entry| names.is_template(entry)) {
        match entry.state {
            State::Making => remove::<D>(connection, &entry.name).await.map_err(failed)?,
            // Somebody may use it, which whoever doubted that did not live to see.
            State::Doubted => Registry::trust::<D>(connection, &entry.name).await.map_err(failed)?,
            State::Ready | State::Pristine | State::Retired => {}
        }
    }
    if !rebuild && let Some(found) = ready_one::<D>(connection, names).await.map_err(failed)? {
        return Ok((found, false));
    }
    let name = names.new_template();
    let entry = Entry { template: name.clone(), ..names.entry(&name, Role::Template, State::Making, &name) };
    Registry::insert::<D>(connection, &entry).await.map_err(failed)?;
    D::create(connection, &name).await.map_err(failed)?;
    let started = Instant::now();
    if let Err(cause) = apply(server, schema, &name).await {
        if let Err(error) = remove::<D>(connection, &name).await {
            tracing::warn!(template = name, "what failed is still there, until this schema is applied again: {error}");
        }
        return Err(cause);
    }
    // Which of two is the newer one no clock is asked: that of another machine may be fast. Of a process that ends between these, none
    // is ready.
    for entry in Registry::entries::<D>(connection).await.map_err(failed)? {
        if names.is_template(&entry) && entry.state == State::Ready {
            Registry::retire::<D>(connection, &entry.name).await.map_err(failed)?;
        }
    }
    Registry::set_ready::<D>(connection, &name).await.map_err(failed)?;
    tracing::info!(%server, template = name, "made a template in {:.3} s", started.elapsed().as_secs_f64());
    Ok((name, true))
}

async fn remove<D: Dialect>(connection: &mut D::Connection, name: &str) -> Result<(), sqlx::Error> {
    D::drop(connection, name).await?;
    Registry::remove::<D>(connection, name).await
}

async fn apply(server: &DatabaseUrl, schema: &Arc<dyn Schema>, name: &str) -> Result<(), Error> {
    let (target, schema) = (Target::new(server.with_database(name)), schema.clone());
    runtime::apart(async move {
        schema::apply(&*schema, &target).await.map_err(|cause| {
            let fact = format!("the schema could not be applied to an empty {} database", target.kind());
            Error::new(ErrorKind::Schema, fact).because(cause)
        })
    })
    .await
}

/// When a template was last claimed, which decides in which order they are collected.
pub(crate) fn is_older_than(entry: &Entry, age: Duration) -> bool {
    SystemTime::now().duration_since(entry.since).is_ok_and(|elapsed| elapsed >= age)
}
