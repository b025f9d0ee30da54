//! `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE`, as the database's own tools read it.

use core::net::IpAddr;
use std::fmt;

use crate::secret::SecretText;
use crate::spelling;

/// What may stand behind the question mark.
const OPTIONS: [&str; 8] = [
    "sslmode",
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "application_name",
    "connect_timeout",
];

/// Where a database is, and who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostgresUrl {
    /// Where it may be, to be tried in this order. At least one.
    pub hosts: Vec<Host>,
    /// The user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<SecretText>,
    /// The database; the user's name if not given.
    pub database: Option<String>,
    /// Whether the connection is encrypted.
    pub tls: Option<Tls>,
    /// What the database's tools call the connection.
    pub application_name: Option<String>,
    /// How long a try to connect may take, in seconds.
    pub connect_timeout_seconds: Option<u64>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// A name, an address, or the folder of a socket, which begins with `/`.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// Whether a connection is encrypted. Where it is, the server's certificate and name are checked:
/// without that it would keep nobody out who can stand between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// It is not.
    Disable,
    /// It is if the server can.
    Prefer,
    /// It is, or there is none.
    Require,
}

/// Why a URL was refused. What is printed repeats nothing of it, since it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlError {
    /// The part that is wrong.
    word: String,
    /// What it is, with `{}` where the part may stand.
    message: &'static str,
    /// What would be right.
    pub remedy: String,
}

impl std::error::Error for UrlError {}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.replace("`{}`", "a part of it");
        write!(f, "{message}; {}", self.remedy)
    }
}

impl UrlError {
    fn new(message: &'static str, word: &str, remedy: impl Into<String>) -> Self {
        Self {
            word: word.into(),
            message,
            remedy: remedy.into(),
        }
    }

    /// What is wrong, with the part that is: for a URL that is no secret.
    pub fn quoting(&self) -> String {
        self.message.replace("{}", &self.word)
    }
}

impl PostgresUrl {
    /// Reads a URL.
    ///
    /// ```
    /// use wasmill_core::pipeline::PostgresUrl;
    ///
    /// let url = PostgresUrl::parse("postgres://bank:a%40b@db:6432/ledger").expect("a URL");
    /// assert_eq!(url.password.as_ref().map(|it| it.expose()), Some("a@b"));
    /// assert_eq!(url.to_string(), "postgres://bank@db:6432/ledger");
    /// ```
    ///
    /// # Errors
    /// If it is none, or says something that is not understood.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let schemes = ["postgres://", "postgresql://"];
        let Some(rest) = schemes.iter().find_map(|it| text.strip_prefix(it)) else {
            let remedy = "write `postgres://USER@HOST:PORT/DATABASE`";
            let message = "the URL of a database begins with `postgres://`";
            return Err(UrlError::new(message, "", remedy));
        };
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (login, hosts),
            None => ("", authority),
        };
        let mut url = Self::default();
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        url.user = Some(decode(user)?).filter(|user| !user.is_empty());
        let password = password.map(decode).transpose()?;
        url.password = password.map(SecretText::new);
        url.database = Some(decode(database)?).filter(|name| !name.is_empty());
        let (mut names, mut ports) = (Vec::new(), Vec::new());
        for host in hosts.split(',').filter(|host| !host.is_empty()) {
            let (name, port) = split_port(host);
            names.push(decode(name)?);
            ports.push(port.map(str::to_owned));
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = decode(value)?;
            match name {
                "host" => names = value.split(',').map(str::to_owned).collect(),
                "port" => ports = value.split(',').map(|it| Some(it.to_owned())).collect(),
                _ => url.option(name, value)?,
            }
        }
        url.hosts = hosts_of(names, &ports)?;
        Ok(url)
    }

    /// Whether every host is this machine.
    pub fn is_local(&self) -> bool {
        self.hosts.iter().all(Host::is_local)
    }

    /// Whether the connection is encrypted: as the URL says, or if it leaves the machine.
    pub fn tls(&self) -> Tls {
        self.tls.unwrap_or(match self.is_local() {
            true => Tls::Disable,
            false => Tls::Require,
        })
    }

    fn option(&mut self, name: &str, value: String) -> Result<(), UrlError> {
        match name {
            "sslmode" => self.tls = Some(tls(&value)?),
            "user" => self.user = Some(value),
            "password" => self.password = Some(SecretText::new(value)),
            "dbname" => self.database = Some(value),
            "application_name" => self.application_name = Some(value),
            "connect_timeout" => {
                let seconds = value.parse().map_err(|_| {
                    let message = "`{}` is not a number of seconds";
                    UrlError::new(message, &value, "write `connect_timeout=5`")
                })?;
                self.connect_timeout_seconds = Some(seconds);
            }
            _ => {
                let known = format!("known are {}", spelling::list(&OPTIONS));
                let hint = spelling::hint(name, OPTIONS).unwrap_or(known);
                return Err(UrlError::new("there is no option `{}`", name, hint));
            }
        }
        Ok(())
    }
}

impl Host {
    fn is_local(&self) -> bool {
        self.name.starts_with('/')
            || self.name == "localhost"
            || self.name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
    }
}

/// Without the password: this is for people.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let name = match host.name.contains(':') {
                true => format!("[{}]", host.name),
                false => host.name.clone(),
            };
            write!(f, "{separator}{name}")?;
            if host.port != 5432 {
                write!(f, ":{}", host.port)?;
            }
        }
        match &self.database {
            Some(database) => write!(f, "/{database}"),
            None => Ok(()),
        }
    }
}

/// The hosts with their ports: one port each, one for all, or none.
fn hosts_of(mut names: Vec<String>, ports: &[Option<String>]) -> Result<Vec<Host>, UrlError> {
    if names.is_empty() {
        names.push("localhost".into());
    }
    let number = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| UrlError::new("`{}` is not a port", text, "write a number up to 65535"))
    };
    let mut hosts = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let port = match ports {
            [one] => one.as_deref(),
            several => several.get(index).and_then(|port| port.as_deref()),
        };
        let port = port.filter(|port| !port.is_empty()).map(number);
        let port = port.transpose()?.unwrap_or(5432);
        hosts.push(Host { name, port });
    }
    Ok(hosts)
}

fn tls(word: &str) -> Result<Tls, UrlError> {
    match word {
        "disable" => Ok(Tls::Disable),
        "prefer" => Ok(Tls::Prefer),
        "require" | "verify-full" => Ok(Tls::Require),
        "allow" => Err(UrlError::new(
            "`sslmode={}` prefers a connection that is not encrypted",
            word,
            "use `prefer`",
        )),
        "verify-ca" => Err(UrlError::new(
            "`sslmode={}` does not check whom the certificate is for",
            word,
            "use `verify-full`",
        )),
        _ => {
            let words = ["disable", "prefer", "require", "verify-full"];
            let known = format!("known are {}", spelling::list(&words));
            let hint = spelling::hint(word, words).unwrap_or(known);
            Err(UrlError::new("`{}` is not an `sslmode`", word, hint))
        }
    }
}

/// `HOST:PORT`, where the host may be an address in brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((name, rest)) = text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        return (name, rest.strip_prefix(':'));
    }
    match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    }
}

/// Turns `%41` into `A`.
fn decode(text: &str) -> Result<String, UrlError> {
    let remedy = "write `%25` for a percent sign";
    let wrong = || {
        UrlError::new(
            "a `%` is not followed by two hexadecimal digits",
            "",
            remedy,
        )
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, others) = rest.split_at_checked(2).ok_or_else(wrong)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (Some(high), Some(low)) = (digit(digits[0]), digit(digits[1])) else {
            return Err(wrong());
        };
        bytes.push((high * 16 + low) as u8);
        rest = others;
    }
    String::from_utf8(bytes)
        .map_err(|_| UrlError::new("what `%` stands for is not UTF-8", "", "encode UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        let name = name.into();
        Host { name, port }
    }

    #[test]
    fn urls_are_read_as_the_tools_of_the_database_do() {
        let parse =
            |text: &str| PostgresUrl::parse(text).unwrap_or_else(|it| panic!("{text}: {it}"));
        let whole = parse(
            "postgresql://us%2Fer:p%3Aw@a:1,[::1]:2,c/data%20base?application_name=x\
             &sslmode=prefer&connect_timeout=3",
        );
        assert_eq!(whole.hosts, [host("a", 1), host("::1", 2), host("c", 5432)]);
        assert_eq!(whole.user.as_deref(), Some("us/er"));
        assert_eq!(whole.password, Some(SecretText::new("p:w")));
        assert_eq!(whole.database.as_deref(), Some("data base"));
        assert_eq!(whole.tls, Some(Tls::Prefer));
        assert_eq!(whole.connect_timeout_seconds, Some(3));
        assert_eq!(
            whole.to_string(),
            "postgres://us/er@a:1,[::1]:2,c/data base"
        );
        let socket = parse("postgres:///bank?host=/run/postgresql&port=6000&user=u&password=p");
        assert_eq!(socket.hosts, [host("/run/postgresql", 6000)]);
        assert_eq!(socket.user.as_deref(), Some("u"));
        assert_eq!(parse("postgres://").hosts, [host("localhost", 5432)]);
        assert_eq!(
            parse("postgres://a,b?port=7").hosts,
            [host("a", 7), host("b", 7)]
        );
    }

    #[test]
    fn what_leaves_the_machine_is_encrypted_unless_it_is_said_otherwise() {
        for (text, expected) in [
            ("postgres://localhost/a", Tls::Disable),
            ("postgres://127.0.0.1/a", Tls::Disable),
            ("postgres://[::1]/a", Tls::Disable),
            ("postgres:///a?host=/tmp", Tls::Disable),
            ("postgres://localhost,db/a", Tls::Require),
            ("postgres://db/a", Tls::Require),
            ("postgres://db/a?sslmode=disable", Tls::Disable),
            ("postgres://db/a?sslmode=verify-full", Tls::Require),
        ] {
            let url = PostgresUrl::parse(text).expect("a URL");
            assert_eq!(url.tls(), expected, "{text}");
        }
    }

    #[test]
    fn a_refusal_repeats_nothing_of_a_url_that_is_secret() {
        for text in [
            "postgres://u:hunter2",
            "postgres://u:hunter2@h/d?hunter2=3",
            "postgres://u:p@h:hunter2/d",
            "postgres://u:p@h/d?sslmode=hunter2",
            "postgres://u:p@h/d?connect_timeout=hunter2",
            "postgres://u:hunter2%@h/d",
            "hunter2",
        ] {
            let error = PostgresUrl::parse(text).expect_err(text);
            let remedy = error.remedy.clone();
            for told in [error.to_string(), remedy] {
                assert!(!told.contains("hunter2"), "{told}");
            }
        }
    }
}
