//! Asks one registry, with patience where it is away.

use std::{collections::HashMap, sync::Arc, time::Duration};

use reqwest::{Certificate, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{sync::watch, time};
use wasmill_core::pipeline::document::RegistryDocument;

use super::{Known, Registration, RegistryError, SchemaText, told};
use crate::{secret, spawn};

/// So long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// From one attempt to the next, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The longest answer.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How many schemas one may refer to, all in all.
const REFERENCES_MAX: usize = 256;
/// How often they may refer to each other: the text of one is there as often.
const MENTIONS_MAX: usize = 1024;
/// Numbers that nobody knows are remembered up to so many.
const UNKNOWN_MAX: usize = 10_000;
/// How much of a stranger's words a message repeats.
const WORDS_MAX: usize = 300;

/// A schema that another one refers to: the name there, subject and version.
type Reference = (String, String, u64);

/// A registry and what it said so far.
pub(super) struct Client {
    http: reqwest::Client,
    document: RegistryDocument,
    known: HashMap<u32, Known>,
    stopped: watch::Receiver<bool>,
}

/// An answer.
enum Answer {
    /// What was asked for.
    Found(Value),
    /// It says no, with its words.
    No(StatusCode, String),
}

/// Why there is no answer.
enum Failure {
    /// It may answer later.
    Away(String),
    /// It will not.
    Lasting(RegistryError),
}

impl Client {
    pub(super) fn new(
        document: &RegistryDocument,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, RegistryError> {
        let mut http = reqwest::Client::builder().timeout(ANSWER_WITHIN);
        if let Some(ca) = &document.ca {
            let wrong = |reason: String| RegistryError::Certificates {
                path: ca.clone(),
                reason,
            };
            let pem = std::fs::read(ca).map_err(|error| wrong(error.to_string()))?;
            let all = Certificate::from_pem_bundle(&pem);
            let all = all.map_err(|error| wrong(error.to_string()))?;
            if all.is_empty() {
                return Err(wrong("there are none in it".into()));
            }
            http = http.tls_certs_merge(all);
        }
        let http = http.build();
        Ok(Self {
            http: http.map_err(|error| RegistryError::System(chain(&error)))?,
            document: document.clone(),
            known: HashMap::new(),
            stopped,
        })
    }

    /// What is known of a number.
    pub(super) async fn schema(&mut self, number: u32) -> Result<Known, RegistryError> {
        if let Some(known) = self.known.get(&number) {
            return Ok(known.clone());
        }
        if i32::try_from(number).is_err() {
            let reason = format!("no schema registry gives the number {number}");
            return Ok(Known::Nothing(reason));
        }
        let path = format!("schemas/ids/{number}");
        let known = match self.ask(Method::GET, &path, None).await? {
            Answer::No(
                StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY,
                words,
            ) => Known::Nothing(format!(
                "the schema registry has no schema {number}: it says {words}"
            )),
            Answer::No(_, words) => return Err(self.refused(path, words)),
            Answer::Found(found) => match self.whole(&path, &found).await? {
                Ok(schema) => Known::Schema(Arc::new(schema)),
                Err(reason) => Known::Nothing(format!("schema {number}: {reason}")),
            },
        };
        if self.known.len() >= UNKNOWN_MAX {
            self.known
                .retain(|_, known| matches!(known, Known::Schema(_)));
        }
        self.known.insert(number, known.clone());
        Ok(known)
    }

    /// The newest version of a subject, if it has any.
    pub(super) async fn latest(
        &self,
        subject: &str,
    ) -> Result<Option<Arc<SchemaText>>, RegistryError> {
        let path = format!("subjects/{}/versions/latest", encoded(subject));
        match self.ask(Method::GET, &path, None).await? {
            Answer::No(StatusCode::NOT_FOUND, _) => Ok(None),
            Answer::No(_, words) => Err(self.refused(path, words)),
            Answer::Found(found) => match self.whole(&path, &found).await? {
                Ok(schema) => Ok(Some(Arc::new(schema))),
                Err(reason) => Err(self.refused(path, reason)),
            },
        }
    }

    /// The number of a schema, which is added if that is wanted.
    pub(super) async fn register(&mut self, schema: &Registration) -> Result<u32, RegistryError> {
        let subject = encoded(&schema.subject);
        let mut path = format!("subjects/{subject}");
        if schema.add {
            path.push_str("/versions");
        }
        let mut body = json!({ "schema": schema.text });
        if schema.language != "AVRO" {
            body["schemaType"] = schema.language.into();
        }
        let subject = schema.subject.clone();
        match self.ask(Method::POST, &path, Some(body)).await? {
            Answer::Found(found) => {
                let number = found.get("id").and_then(Value::as_u64);
                let number = number.and_then(|number| u32::try_from(number).ok());
                number.ok_or_else(|| self.stranger("it gives a schema no number".into()))
            }
            Answer::No(StatusCode::CONFLICT, words) => {
                Err(RegistryError::Incompatible { subject, words })
            }
            Answer::No(StatusCode::NOT_FOUND, words) if !schema.add => {
                Err(RegistryError::Missing {
                    subject,
                    words,
                    text: schema.text.clone(),
                })
            }
            Answer::No(_, words) => Err(self.refused(path, words)),
        }
    }

    /// A schema with those that it refers to, which come first; or why it cannot be used.
    async fn whole(
        &self,
        path: &str,
        found: &Value,
    ) -> Result<Result<SchemaText, String>, RegistryError> {
        let own = self.text(path, found)?;
        let mut bytes = own.len();
        let language = found.get("schemaType").and_then(Value::as_str);
        // Names, and where their texts are known.
        let mut references: Vec<(String, String)> = Vec::new();
        let mut known: HashMap<String, (String, Vec<Reference>)> = HashMap::new();
        let mut wanted = references_of(found);
        // Breadth first: what is asked for later is needed by what came earlier. What several
        // refer to comes several times.
        let mut next = 0;
        while next < wanted.len() {
            let (name, subject, version) = wanted[next].clone();
            next += 1;
            let path = format!("subjects/{}/versions/{version}", encoded(&subject));
            if !known.contains_key(&path) {
                let Answer::Found(other) = self.ask(Method::GET, &path, None).await? else {
                    return Ok(Err(format!("it refers to `{path}`, which is not there")));
                };
                let text = self.text(&path, &other)?;
                bytes += text.len();
                known.insert(path.clone(), (text, references_of(&other)));
            }
            wanted.extend(known[&path].1.iter().cloned());
            references.push((name, path));
            if bytes > ANSWER_BYTES_MAX {
                let most = ANSWER_BYTES_MAX;
                return Ok(Err(format!("it and its references exceed {most} bytes")));
            }
            if known.len() > REFERENCES_MAX || wanted.len() > MENTIONS_MAX {
                return Ok(Err(format!(
                    "it refers to more than {REFERENCES_MAX} others"
                )));
            }
        }
        references.reverse();
        let mut seen = std::collections::HashSet::new();
        references.retain(|(name, _)| seen.insert(name.clone()));
        let texts = references.iter().map(|(_, path)| known[path].0.len());
        if texts.sum::<usize>() > ANSWER_BYTES_MAX {
            return Ok(Err("it has the same long schema under many names".into()));
        }
        let with_text = |(name, path)| (name, known[&path].0.clone());
        Ok(Ok(SchemaText {
            language: language.unwrap_or("AVRO").into(),
            text: own,
            references: references.into_iter().map(with_text).collect(),
        }))
    }

    fn text(&self, path: &str, found: &Value) -> Result<String, RegistryError> {
        let text = found.get("schema").and_then(Value::as_str);
        let text = text.ok_or_else(|| self.stranger(format!("`{path}` has no `schema`")))?;
        Ok(text.into())
    }

    /// Asks until there is an answer.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, RegistryError> {
        let micros = u64::try_from(self.document.give_up_after_us()).unwrap_or(0);
        let patience = Duration::from_micros(micros);
        let url = &self.document.url;
        let (mut pause, mut waited, since) = (PAUSES.0, false, time::Instant::now());
        let mut stopped = self.stopped.clone();
        loop {
            let cause = match self.once(method.clone(), path, body.as_ref()).await {
                Ok(answer) => {
                    if waited {
                        tracing::info!(%url, "the schema registry is back");
                    }
                    return Ok(answer);
                }
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Away(cause)) => cause,
            };
            if since.elapsed() + pause > patience {
                return Err(RegistryError::Away {
                    url: url.clone(),
                    waited: told(patience),
                    cause,
                });
            }
            if !waited {
                let give_up_after = told(patience);
                tracing::warn!(%url, %cause, %give_up_after,
                    "the schema registry is away; trying again");
                waited = true;
            }
            tokio::select! {
                () = spawn::rest(pause) => {}
                _ = stopped.wait_for(|stopped| *stopped) => {
                    return Err(RegistryError::Stopped { url: url.clone() });
                }
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let address = format!("{}/{path}", self.document.url.trim_end_matches('/'));
        let mut request = self.http.request(method, address);
        if let Some(user) = &self.document.user {
            let lasting = |error: secret::SecretError| Failure::Lasting(error.into());
            let user = secret::find_text(user).map_err(lasting)?;
            let password = self.document.password.as_ref().map(secret::find);
            let password = password.transpose().map_err(lasting)?;
            let password = password.as_ref().map(|password| password.expose());
            request = request.basic_auth(user.expose(), password);
        }
        request = request.header("accept", "application/vnd.schemaregistry.v1+json");
        if let Some(body) = body {
            request = request
                .header("content-type", "application/vnd.schemaregistry.v1+json")
                .body(body.to_string());
        }
        let away = |error: reqwest::Error| Failure::Away(chain(&error.without_url()));
        let mut response = request.send().await.map_err(away)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(more) = response.chunk().await.map_err(away)? {
            bytes.extend_from_slice(&more);
            if bytes.len() > ANSWER_BYTES_MAX {
                let what = format!("`{path}` is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(Failure::Lasting(self.stranger(what)));
            }
        }
        self.judged(path, status, &bytes)
    }

    /// What an answer means.
    fn judged(&self, path: &str, status: StatusCode, bytes: &[u8]) -> Result<Answer, Failure> {
        let value: Option<Value> = serde_json::from_slice(bytes).ok();
        let said = value.as_ref().and_then(|value| value.get("message"));
        let words = match said.and_then(Value::as_str) {
            Some(message) => format!("{} ({})", quoted(message.as_bytes()), status.as_u16()),
            None => status.to_string(),
        };
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Failure::Lasting(RegistryError::Locked {
                url: self.document.url.clone(),
                words,
            }));
        }
        let again = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
        if status.is_server_error() || again.contains(&status) {
            return Err(Failure::Away(words));
        }
        let is_ours = value.as_ref().is_some_and(Value::is_object);
        match value {
            Some(value) if is_ours && status.is_success() => Ok(Answer::Found(value)),
            Some(value) if is_ours && value.get("error_code").is_some() => {
                Ok(Answer::No(status, words))
            }
            _ => {
                let what = format!("it answers `{path}` with {status} and {}", quoted(bytes));
                Err(Failure::Lasting(self.stranger(what)))
            }
        }
    }

    fn stranger(&self, what: String) -> RegistryError {
        RegistryError::Stranger {
            url: self.document.url.clone(),
            what,
        }
    }

    fn refused(&self, path: String, words: String) -> RegistryError {
        RegistryError::Refused {
            url: self.document.url.clone(),
            path,
            words,
        }
    }
}

/// What a schema refers to: name, subject and version.
fn references_of(found: &Value) -> Vec<Reference> {
    let references = found.get("references").and_then(Value::as_array);
    let each = references.into_iter().flatten().filter_map(|reference| {
        let text = |key: &str| reference.get(key)?.as_str().map(str::to_owned);
        Some((
            text("name")?,
            text("subject")?,
            reference.get("version")?.as_u64()?,
        ))
    });
    each.collect()
}

/// A subject as a part of a path.
fn encoded(subject: &str) -> String {
    let mut text = String::new();
    for byte in subject.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// A stranger's words, on one line and not too long.
fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let short: String = text
        .chars()
        .take(WORDS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    format!("`{short}`")
}
