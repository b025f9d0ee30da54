//! A client's settings, and what it tells meanwhile.

use std::{error::Error, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rdkafka::{
    ClientConfig, ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    error::{KafkaError as ClientError, RDKafkaErrorCode},
    statistics::Statistics,
    types::RDKafkaConfRes,
};
use wasmill_core::{
    pipeline::{
        document::{Brokers, ClientOptions},
        is_broker,
    },
    secret::{SecretReference, TextOrSecret},
};

use super::{KafkaError, error::is_login};
use crate::{clock, format::base64, secret};

/// The option that holds the token of OAUTHBEARER, or says where it is to be found. It is the
/// engine's and not librdkafka's: whoever renews the token writes it to a file, and the client asks
/// for it again before it ends.
const TOKEN: &str = "sasl.oauthbearer.token";
/// A token that does not say how long it lasts is asked for again so soon.
const TOKEN_LASTS: Duration = Duration::from_secs(300);

/// A cluster and how it is reached.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// The addresses of brokers, as people read them.
    pub(super) brokers: String,
    written: Brokers,
    options: ClientOptions,
}

impl Cluster {
    /// The cluster of a source or sink.
    pub(super) fn new(brokers: &Brokers, options: &ClientOptions) -> Self {
        let told = addresses(brokers);
        let place = || brokers.reference().map(SecretReference::place);
        Self {
            brokers: told.unwrap_or_else(|_| place().unwrap_or_default()),
            written: brokers.clone(),
            options: options.clone(),
        }
    }

    /// Settings for a client: `defaults`, over them the options of the document, over them `own`.
    /// Secrets are looked up each time: one that was renewed takes effect.
    pub(super) fn config(
        &self,
        defaults: &[(&str, &str)],
        own: &[(&str, &str)],
    ) -> Result<ClientConfig, KafkaError> {
        let mut config = ClientConfig::new();
        // Some of what must be known is told in the log alone.
        config.set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.options {
            if name == TOKEN {
                continue;
            }
            match value {
                TextOrSecret::Text(text) => config.set(name, text),
                TextOrSecret::Secret(reference) => {
                    config.set(name, secret::find(reference)?.expose())
                }
            };
        }
        for (name, value) in own {
            config.set(*name, *value);
        }
        config.set("bootstrap.servers", addresses(&self.written)?);
        Ok(config)
    }

    /// What a client tells, and asks for.
    pub(super) fn context(&self) -> Context {
        let token = self.options.get(TOKEN);
        Context {
            brokers: self.brokers.as_str().into(),
            token: token.and_then(TextOrSecret::reference).cloned(),
            trouble: Arc::default(),
        }
    }
}

/// The addresses of a cluster's brokers, with commas between them.
///
/// # Errors
/// If they are not where the document says, or are no addresses.
pub fn addresses(brokers: &Brokers) -> Result<String, KafkaError> {
    let Some(reference) = brokers.reference() else {
        return Ok(brokers.written().join(","));
    };
    let found = secret::find(reference)?;
    let addresses: Vec<_> = found.expose().split(',').map(str::trim).collect();
    match addresses.iter().all(|it| is_broker(it)) {
        true => Ok(addresses.join(",")),
        false => Err(KafkaError::Address {
            place: reference.place(),
        }),
    }
}

/// The options that librdkafka does not take, each with its reason. Of a secret only the name is
/// looked at.
pub fn wrong_options(options: &ClientOptions) -> Vec<(&str, KafkaError)> {
    let wrong = |(name, value): (&String, &TextOrSecret)| {
        let mut config = ClientConfig::new();
        let (text, is_secret) = match value {
            TextOrSecret::Text(text) => (text.as_str(), false),
            TextOrSecret::Secret(_) => ("", true),
        };
        let error = config.set(name, text).create_native_config().err()?;
        let is_unknown = matches!(
            &error,
            ClientError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)
        );
        (is_unknown || !is_secret).then(|| KafkaError::of_client(error))
    };
    let known = options.iter().filter(|(name, _)| *name != TOKEN);
    known
        .filter_map(|(name, value)| Some((name.as_str(), wrong((name, value))?)))
        .collect()
}

/// What a client tells, and asks for.
#[derive(Debug, Clone)]
pub(super) struct Context {
    brokers: Arc<str>,
    token: Option<SecretReference>,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

/// What a client said last about what does not work.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// Which kind of trouble.
    pub(super) code: Option<RDKafkaErrorCode>,
    /// In its own words.
    pub(super) reason: String,
}

impl Context {
    /// What was said last; forgotten by [`Context::is_well`].
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().clone()
    }

    /// The cluster has answered.
    pub(super) fn is_well(&self) {
        *self.trouble.lock() = None;
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let brokers = &*self.brokers;
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(brokers, facility, "{message}");
            }
            // What matters of it comes as an error of a call, too.
            _ => tracing::debug!(brokers, facility, "{message}"),
        }
    }

    fn stats(&self, _statistics: Statistics) {}

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(brokers = &*self.brokers, "{error}: {reason}");
        // The client calls it a failure of transport; trying again does not mend it.
        let is_tls = reason.contains("SSL handshake failed");
        let code = error.rdkafka_error_code();
        let code = code.map(|code| if is_tls { RDKafkaErrorCode::SSL } else { code });
        let mut trouble = self.trouble.lock();
        // That all brokers are down says less than why the last one is, and that a connection has
        // ended less than why nobody is let in.
        let is_down = code == Some(RDKafkaErrorCode::AllBrokersDown);
        let known = trouble.as_ref().and_then(|trouble| trouble.code);
        let is_kept = known.is_some_and(is_login) && !code.is_some_and(is_login);
        if trouble.is_none() || !(is_down || is_kept) {
            *trouble = Some(Trouble {
                code,
                reason: reason.into(),
            });
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let Some(reference) = &self.token else {
            let remedy = format!("say `{TOKEN}: {{ file: PATH }}` in the options");
            return Err(remedy.into());
        };
        let token = secret::find(reference)?;
        let ends_ms = ends_ms(token.expose());
        let soon_ms =
            || clock::wall_us() / 1000 + i64::try_from(TOKEN_LASTS.as_millis()).unwrap_or(0);
        Ok(OAuthToken {
            token: token.expose().into(),
            principal_name: String::new(),
            lifetime_ms: ends_ms.unwrap_or_else(soon_ms),
        })
    }
}

/// When a JSON Web Token ends (RFC 7519, `exp`), in milliseconds since 1970.
fn ends_ms(token: &str) -> Option<i64> {
    let claims = token.split('.').nth(1)?;
    let claims = base64::decode(claims.as_bytes())?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp")?.as_i64()?.checked_mul(1000)
}
