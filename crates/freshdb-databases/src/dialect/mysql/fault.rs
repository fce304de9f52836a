//! What the servers' errors mean. Their numbers: <https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html>.

use super::super::{Fault, refuses_certificate};
use super::connection::{identifier, number};
use crate::{Error, ErrorKind};

const FULL: [u16; 5] = [1021, 1026, 1114, 3019, 3675];
const LOST: [u16; 7] = [1053, 1077, 1079, 1152, 1158, 1159, 1927];

/// What freshdb itself has found out, as an error of the driver's. One about privileges has the missing GRANT for its hint.
pub(super) fn carry(error: Error) -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(error))
}

pub(super) fn carried(error: &sqlx::Error) -> Option<&Error> {
    match error {
        sqlx::Error::AnyDriverError(error) => error.downcast_ref(),
        _ => None,
    }
}

pub(super) fn fault(error: &sqlx::Error) -> Fault {
    if let Some(carried) = carried(error).filter(|error| error.kind() == ErrorKind::Privileges) {
        return Fault::Denied { grant: carried.advice().unwrap_or_default().to_owned(), within: None };
    }
    match error {
        error if refuses_certificate(error) => return Fault::Untrusted { parameter: "ssl-ca" },
        // A protocol error: the server hung up in the middle of an answer.
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed | sqlx::Error::Protocol(_) => {
            return Fault::Lost;
        }
        _ => {}
    }
    let Some(number) = number(error) else { return Fault::Other };
    let message = error.as_database_error().map_or("", |error| error.message());
    match number {
        1040 => Fault::TooManyConnections { limit: "the server's `max_connections`" },
        1203 => Fault::TooManyConnections { limit: "the server's `max_user_connections`" },
        1226 => Fault::TooManyConnections {
            limit: "the account's limit, such as by `ALTER USER <user> WITH MAX_USER_CONNECTIONS <number>`",
        },
        1044 | 1142 | 1143 | 1227 | 1370 | 1401 | 1410 | 1419 => {
            Fault::Denied { grant: grant(number, message), within: None }
        }
        1205 => Fault::Locked {
            list: "`SHOW PROCESSLIST`, and `XA RECOVER` for the prepared transactions whose session has ended",
        },
        // `require_secure_transport`.
        3159 => Fault::Unencrypted { parameter: "ssl-mode=required" },
        // KILL: the session, or just its statement.
        1317 | 3169 => Fault::Lost,
        _ if LOST.contains(&number) => Fault::Lost,
        _ if FULL.contains(&number)
            || message.contains("No space left on device")
            || message.contains("(errno: 28") =>
        {
            Fault::Full
        }
        _ => Fault::Other,
    }
}

/// What an administrator has to say so that it is permitted. Where the server does not tell whom it refused, `<user>` is the
/// one in the URL.
fn grant(number: u16, message: &str) -> String {
    let user = user(message).unwrap_or_else(|| "<user>".to_owned());
    let (privilege, on) = match number {
        // Access denied for user 'u'@'h' to database 'd'
        1044 => (
            "ALL PRIVILEGES".to_owned(),
            between(message, "to database '", "'").map(|name| format!("{}.*", identifier(name))),
        ),
        // SELECT, INSERT command denied to user 'u'@'h' for table `d`.`t` (MySQL: for table 't')
        1142 | 1143 | 1370 => {
            let privilege = message.split(" command denied").next().unwrap_or("ALL").to_uppercase();
            let database = between(message, "for table `", "`.`").or_else(|| between(message, "for routine '", "."));
            (privilege, database.map(|name| format!("{}.*", identifier(name))))
        }
        // Access denied; you need (at least one of) the SUPER, XA_RECOVER_ADMIN privilege(s) for this operation
        1227 => {
            let listed = between(message, "(at least one of) the ", " privilege").unwrap_or("SUPER");
            let mut names = listed.split(',').flat_map(|names| names.split(" or ")).map(str::trim);
            let first = names.clone().find(|name| *name != "SUPER").or_else(|| names.next());
            (first.unwrap_or("SUPER").to_owned(), None)
        }
        // What XA RECOVER says to who may not, instead of naming a privilege.
        1401 => ("XA_RECOVER_ADMIN".to_owned(), None),
        // CREATE FUNCTION with the binary log on and without log_bin_trust_function_creators.
        1419 => ("SUPER".to_owned(), None),
        _ => ("CREATE USER".to_owned(), None),
    };
    format!("GRANT {privilege} ON {} TO {user}", on.as_deref().unwrap_or("*.*"))
}

/// `'u'@'h'`, as the message says it.
fn user(message: &str) -> Option<String> {
    let from = message.find("user '")? + "user ".len();
    let host = from + message[from..].find("'@'")? + "'@'".len();
    let to = host + message[host..].find('\'')? + 1;
    Some(message[from..to].to_owned())
}

fn between<'a>(message: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let from = message.find(before)? + before.len();
    let to = from + message[from..].find(after)?;
    Some(&message[from..to])
}
