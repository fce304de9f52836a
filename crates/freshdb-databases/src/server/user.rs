//! The user that servers run as. MySQL and PostgreSQL refuse to be root.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Access, AtFlags};
use rustix::process::geteuid;

use crate::{Error, ErrorKind};

/// Who runs a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// Whoever we are.
    Ourselves,
    /// Somebody else, as only root can.
    Other { name: String, uid: u32, gid: u32 },
}

const ACCOUNTS: &str = "/etc/passwd";

/// Best first. That of a server that is installed need not be there.
const UNPRIVILEGED: [&str; 3] = ["postgres", "mysql", "nobody"];

impl User {
    /// The user for a server.
    ///
    /// # Errors
    ///
    /// If we are root, and there is nobody else, or it cannot be read who there is.
    pub(super) fn for_server() -> Result<Self, Error> {
        if !geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        let accounts = match fs::read_to_string(ACCOUNTS) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::new(ErrorKind::NoServer, format!("cannot read `{ACCOUNTS}`")).because(error));
            }
            read => read.unwrap_or_default(),
        };
        let found = UNPRIVILEGED.iter().find_map(|name| Self::in_accounts(name, &accounts));
        found.ok_or_else(|| {
            Error::new(ErrorKind::NoServer, "there is no unprivileged user to run a database server as")
                .hint("run this as a user other than root, or add a user `nobody`")
        })
    }

    fn in_accounts(name: &str, accounts: &str) -> Option<Self> {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then_some(())?;
            let uid = fields.nth(1)?.parse().ok().filter(|uid| *uid != 0)?;
            Some(Self::Other { name: name.to_owned(), uid, gid: fields.next()?.parse().ok()? })
        })
    }

    /// The user's number.
    pub(super) fn uid(&self) -> u32 {
        match self {
            Self::Ourselves => geteuid().as_raw(),
            Self::Other { uid, .. } => *uid,
        }
    }

    /// Has a program run as this user. Of root's groups, nothing is left.
    pub(super) fn run(&self, command: &mut Command) {
        if let &Self::Other { uid, gid, .. } = self {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives a file to this user.
    pub(super) fn own(&self, path: &Path) -> std::io::Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            &Self::Other { uid, gid, .. } => std::os::unix::fs::lchown(path, Some(uid), Some(gid)),
        }
    }

    /// Whether this user can make files in a directory.
    pub(super) fn can_write(&self, path: &Path) -> bool {
        match self {
            Self::Ourselves => {
                let access = Access::WRITE_OK | Access::EXEC_OK;
                rustix::fs::accessat(rustix::fs::CWD, path, access, AtFlags::EACCESS).is_ok()
            }
            // Only a process of theirs can ask for somebody else.
            Self::Other { .. } => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", r#"test -w "$1" && test -x "$1""#, "sh"]).arg(path);
                command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                self.run(&mut command);
                command.status().is_ok_and(|status| status.success())
            }
        }
    }

    /// `user \`postgres\``
    pub(super) fn title(&self) -> String {
        match self {
            Self::Ourselves => "this user".to_owned(),
            Self::Other { name, .. } => format!("the user `{name}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read() {
        let accounts = "root:x:0:0::/root:/bin/sh\nmysql:x:0:0:not really\nnobody:x:65534:65533:nobody:/:/bin/false\n";
        let nobody = User::Other { name: "nobody".into(), uid: 65534, gid: 65533 };
        assert_eq!(User::in_accounts("nobody", accounts), Some(nobody));
        assert_eq!(User::in_accounts("mysql", accounts), None);
        assert_eq!(User::in_accounts("postgres", accounts), None);
    }
}
