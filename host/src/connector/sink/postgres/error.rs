//! What a database says when it does not do what was asked, and whether it may the next time.

use std::{error::Error, fmt, io};

use tokio_postgres::error::SqlState;
use wasmill_core::pipeline::{PostgresUrl, Tls, UrlError};

use crate::secret::SecretError;

/// Why a table of PostgreSQL cannot be written. No message holds a secret or a value of a row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// A secret is not to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A secret that should be a URL.
    #[error("{place} holds no URL of a database: {source}")]
    Url {
        /// The variable or the file.
        place: String,
        /// What is wrong with it.
        source: UrlError,
    },
    /// TLS is asked for, and nobody is known who could vouch for a server.
    #[error(
        "this machine knows no authority that vouches for servers; install `ca-certificates`, or \
         name a file of them in SSL_CERT_FILE"
    )]
    Authorities,
    /// It does not answer, or cannot do it now.
    #[error("`{database}` is away")]
    Away {
        /// The database.
        database: String,
        /// What happened.
        source: Cause,
    },
    /// It does not let us in.
    #[error("`{database}` refuses the connection; {remedy}")]
    Login {
        /// The database.
        database: String,
        /// What to look at.
        remedy: &'static str,
        /// What it said.
        source: Cause,
    },
    /// The table is not one for these rows.
    #[error(
        "the table `{table}` of `{database}` does not take the rows: {mistakes}; change it, or \
         write to another table"
    )]
    Table {
        /// The table.
        table: String,
        /// The database.
        database: String,
        /// Everything that is in the way.
        mistakes: String,
    },
    /// Rows that wait for the table have other columns than the pipeline now.
    #[error(
        "rows of an earlier run wait for the table `{table}` with the columns {found}, and the \
         pipeline now has {wanted}; let the earlier pipeline bring them out first, or begin anew \
         with --fresh"
    )]
    Columns {
        /// The table.
        table: String,
        /// The columns of the rows that wait.
        found: String,
        /// Those of the pipeline.
        wanted: String,
    },
    /// A value that the column cannot hold.
    #[error(
        "the column `{column}` of the table `{table}` cannot hold a value: {reason}; give the \
         column a wider type, then start the job again: nothing is lost"
    )]
    Value {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Why.
        reason: String,
    },
    /// A text with a zero byte.
    #[error(
        "a text in the column `{column}` has a zero byte, which PostgreSQL cannot hold; declare \
         the column as `bytes`, or leave such rows out in an operator"
    )]
    ZeroByte {
        /// The column.
        column: String,
    },
    /// The database refuses what was asked.
    #[error(
        "`{database}` refuses to {what}; see to it there, then start the job again: nothing is lost"
    )]
    Refused {
        /// The database.
        database: String,
        /// What was asked.
        what: String,
        /// What it said.
        source: Cause,
    },
}

/// What the database or the way to it said, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(pub(super) String);

impl Error for Cause {}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&tokio_postgres::Error> for Cause {
    /// Of what the database says, the detail is left out: it holds values of rows.
    fn from(error: &tokio_postgres::Error) -> Self {
        if let Some(said) = error.as_db_error() {
            return Self(format!("{} ({})", said.message(), said.code().code()));
        }
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        Self(text)
    }
}

impl PostgresError {
    /// Why a connection does not come about.
    pub(super) fn of_login(url: &PostgresUrl, error: &tokio_postgres::Error) -> Self {
        let (database, source) = (url.to_string(), Cause::from(error));
        if is_away(error) {
            return Self::Away { database, source };
        }
        let remedy = match error.code().map(SqlState::code) {
            Some(code) if code.starts_with("28") => "check `user` and `password`",
            Some("3D000") => "create the database, or name another in `url`",
            Some(_) => "see to it there",
            None if url.tls() == Tls::Disable => "check `user`, `password` and `sslmode`",
            None => {
                "check `user` and `password`, and that the server has a certificate for this host \
                 by an authority that this machine knows (SSL_CERT_FILE names a file of them); if \
                 the way to it is safe, say `sslmode=disable`"
            }
        };
        Self::Login {
            database,
            remedy,
            source,
        }
    }

    /// Why the database has not done `what`.
    pub(super) fn of(database: &str, what: &str, error: &tokio_postgres::Error) -> Self {
        let (database, source) = (database.to_owned(), Cause::from(error));
        if is_away(error) {
            return Self::Away { database, source };
        }
        let what = what.to_owned();
        Self::Refused {
            database,
            what,
            source,
        }
    }
}

/// Whether the same may succeed later: the connection is lost, the server is starting, ending,
/// full or a standby, or somebody else holds a lock.
fn is_away(error: &tokio_postgres::Error) -> bool {
    if let Some(state) = error.code() {
        let code = state.code();
        let class = code.get(..2).unwrap_or_default();
        let passing = [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::QUERY_CANCELED,
        ];
        return matches!(class, "08" | "40" | "53" | "57" | "58") || passing.contains(state);
    }
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    if cause.is_none() {
        // The connection is closed, or there was no answer in time.
        return true;
    }
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // A certificate that does not fit is data that is not valid.
            let kind = error.kind();
            return !matches!(
                kind,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            );
        }
        cause = error.source();
    }
    false
}
