//! A connection.

use std::{future::Future, pin::Pin, pin::pin, time::Duration};

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use tokio_postgres::{
    Client, Config, NoTls, Socket,
    config::{SslMode, TargetSessionAttrs},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use wasmill_core::{
    pipeline::{PostgresUrl, Tls, document::PostgresSink},
    secret::TextOrSecret,
};

use super::error::{Cause, PostgresError};
use crate::{connector::ConnectorError, secret};

/// A try to connect, if the URL says nothing else.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// What was sent and is not acknowledged by then is lost, and with it the connection.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// An answer may take so long: a large share, a slow disk. Then the connection is given up.
const ANSWER_MAX: Duration = Duration::from_secs(600);

type Driver = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// A connection with all that it does. Dropped, it is closed at once, and the database rolls back
/// what is not committed.
pub(super) struct Session {
    pub(super) client: Client,
    /// Moves bytes while somebody waits for an answer.
    pub(super) driver: Driver,
    /// The database as people read it.
    pub(super) database: String,
}

impl Session {
    /// Connects to a database that can be written. Secrets are looked up each time: one that was
    /// renewed takes effect.
    pub(super) async fn connect(sink: &PostgresSink, name: &str) -> Result<Self, PostgresError> {
        let url = url(sink)?;
        let (config, database) = (config(&url, name), url.to_string());
        let tls = match url.tls() {
            Tls::Disable => None,
            Tls::Prefer | Tls::Require => Some(authorities()?),
        };
        let wait = url.connect_timeout_seconds.map(Duration::from_secs);
        let wait = wait.filter(|it| !it.is_zero()).unwrap_or(CONNECT_MAX);
        let connecting = async {
            match tls {
                None => open(&config, NoTls).await,
                Some(tls) => open(&config, tls).await,
            }
        };
        // The client's own limit is for the socket: not for names, nor for the login.
        let connected = tokio::time::timeout(wait, connecting).await;
        let Ok(connected) = connected else {
            let source = Cause("it does not answer".into());
            return Err(PostgresError::Away { database, source });
        };
        let (client, driver) = connected.map_err(|error| PostgresError::of_login(&url, &error))?;
        Ok(Self {
            client,
            driver,
            database,
        })
    }
}

/// Does something with a connection.
pub(super) async fn drive<T>(
    driver: &mut Driver,
    database: &str,
    work: impl Future<Output = Result<T, ConnectorError>>,
) -> Result<T, ConnectorError> {
    let work = pin!(work);
    let both = async {
        match select(work, driver).await {
            Either::Left((done, _)) => done,
            // The connection has ended: whoever waits for an answer hears of it.
            Either::Right((_, work)) => work.await,
        }
    };
    let done = tokio::time::timeout(ANSWER_MAX, both).await;
    done.unwrap_or_else(|_| {
        let source = Cause("it has not answered for long".into());
        let database = database.into();
        Err(PostgresError::Away { database, source }.into())
    })
}

/// Where the sink's database is, with all secrets.
fn url(sink: &PostgresSink) -> Result<PostgresUrl, PostgresError> {
    let text = secret::find_text(&sink.url)?;
    let mut url = PostgresUrl::parse(text.expose()).map_err(|source| PostgresError::Url {
        place: match &sink.url {
            TextOrSecret::Text(_) => "`url`".into(),
            TextOrSecret::Secret(reference) => reference.place(),
        },
        source,
    })?;
    if let Some(user) = &sink.user {
        url.user = Some(secret::find_text(user)?.expose().into());
    }
    if let Some(password) = &sink.password {
        url.password = Some(secret::find(password)?);
    }
    Ok(url)
}

fn config(url: &PostgresUrl, name: &str) -> Config {
    let mut config = Config::new();
    for host in &url.hosts {
        config.host(&host.name).port(host.port);
    }
    if let Some(user) = &url.user {
        config.user(user);
    }
    if let Some(password) = &url.password {
        config.password(password.expose());
    }
    if let Some(database) = &url.database {
        config.dbname(database);
    }
    config.application_name(url.application_name.as_deref().unwrap_or(name));
    config.ssl_mode(match url.tls() {
        Tls::Disable => SslMode::Disable,
        Tls::Prefer => SslMode::Prefer,
        Tls::Require => SslMode::Require,
    });
    // After a failover, one of several hosts is a standby.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    config.tcp_user_timeout(SILENCE_MAX);
    config.keepalives_idle(SILENCE_MAX);
    config
}

/// Those of this machine, or of the file that SSL_CERT_FILE names.
fn authorities() -> Result<MakeRustlsConnect, PostgresError> {
    let (tls, unread) =
        MakeRustlsConnect::with_native_certs().map_err(|_| PostgresError::Authorities)?;
    for error in unread {
        tracing::debug!(%error, "a certificate of this machine was left out");
    }
    Ok(tls)
}

async fn open<T>(config: &Config, tls: T) -> Result<(Client, Driver), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    Ok((client, Box::pin(connection.fuse())))
}
