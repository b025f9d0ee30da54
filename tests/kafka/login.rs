//! Brokers where one has to log in: each way of it works in both directions, a wrong word is told
//! at once, and no secret is ever shown.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmill_tests::kafka::{Broker, Logins, PASSWORD, Settings, USER};

use crate::job::{Job, said};
use crate::topics::{Topic, name};

/// Ways of logging in.
const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];
const ROWS: usize = 100;

/// A job that copies a topic with a login; what is secret stands in files.
struct Copy {
    job: Job,
    from: Topic,
    to: Topic,
    /// The password, and the token.
    secrets: [String; 2],
}

impl Copy {
    fn new(broker: &Broker, mechanism: &str, is_tls: bool) -> Self {
        let topic = |stem: &str| Topic::at(broker.direct(), name(stem), 2);
        let (from, to) = (topic("from"), topic("to"));
        from.values(0, (0..ROWS).map(|n| n.to_string()));
        let login = broker.login();
        let (protocol, brokers) = match is_tls {
            true => ("SASL_SSL", login.tls()),
            false => ("SASL_PLAINTEXT", login.clear()),
        };
        let mut options = format!("security.protocol: {protocol}, sasl.mechanism: {mechanism}");
        match mechanism {
            "OAUTHBEARER" => options += ", sasl.oauthbearer.token: { file: token }",
            _ => {
                options += &format!(", sasl.username: {USER}, sasl.password: {{ file: password }}");
            }
        }
        if is_tls {
            options += &format!(", ssl.ca.location: \"{}\"", login.authority().display());
        }
        let options = format!("options: {{ {options} }}");
        let job = Job::new(&format!(
            "name: {}
checkpoint: {{ interval: 50ms, storage: checkpoints }}
restart: none
sources:
  in:
    kafka: {{ topic: {}, stop: end, brokers: \"{brokers}\", {options} }}
    format: {{ raw: {{ value: string }} }}
sinks:
  out:
    input: in
    kafka: {{ topic: {}, decides: true, brokers: {{ file: brokers }}, {options} }}
    format: {{ raw: {{ column: value }} }}
",
            name("copy"),
            from.name,
            to.name
        ));
        let secrets = [PASSWORD.to_owned(), token(Duration::from_secs(3600))];
        let copy = Self {
            job,
            from,
            to,
            secrets,
        };
        copy.write_secrets();
        let brokers = format!("{brokers}, {brokers}\n");
        fs::write(copy.job.path("brokers"), brokers).expect("the folder is writable");
        copy
    }

    fn write_secrets(&self) {
        for (file, secret) in ["password", "token"].iter().zip(&self.secrets) {
            fs::write(self.job.path(file), secret).expect("the folder is writable");
        }
    }

    /// Runs it with all that it has to tell; gives the exit code and what it told.
    fn run(&self) -> (Option<i32>, String) {
        let mut command = self.job.command(1);
        command.env("WASMILL_LOG", "trace").env("NO_COLOR", "1");
        let output = command.output().expect("wasmill starts");
        let shown = said(&output) + &String::from_utf8_lossy(&output.stdout);
        for secret in &self.secrets {
            assert!(!shown.contains(secret), "a secret is shown: {shown}");
        }
        (output.status.code(), shown)
    }
}

/// A token that nobody has signed, good from now on: JSON in the alphabet for URLs, without
/// padding.
#[expect(
    clippy::disallowed_methods,
    reason = "the broker looks at its own clock, too"
)]
fn token(lasts: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("it is later than 1970").as_secs();
    let header = r#"{"alg":"none"}"#.to_owned();
    let claims = format!(
        r#"{{"sub":"{USER}","iat":{now},"exp":{}}}"#,
        now + lasts.as_secs()
    );
    format!("{}.{}.", url_base64(&header), url_base64(&claims))
}

fn url_base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<u8> = text
        .bytes()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let digit = |bits: &[u8]| {
        let value = (0..6).fold(0, |value, bit| value << 1 | bits.get(bit).unwrap_or(&0));
        char::from(DIGITS[usize::from(value)])
    };
    bits.chunks(6).map(digit).collect()
}

#[test]
fn one_logs_in_and_nothing_secret_is_shown() {
    let broker = Broker::start(Settings {
        logins: true,
        ..Settings::default()
    });
    for mechanism in MECHANISMS {
        for is_tls in [false, true] {
            let copy = Copy::new(&broker, mechanism, is_tls);
            let (code, said) = copy.run();
            assert_eq!(code, Some(0), "{mechanism}, {is_tls}: {said}");
            assert_eq!(copy.to.count(), ROWS, "{mechanism}, {is_tls}");
        }
    }
    for mechanism in MECHANISMS {
        let mut copy = Copy::new(&broker, mechanism, false);
        copy.secrets = ["no-such-password".into(), "no.such.token".into()];
        copy.write_secrets();
        let (code, said) = copy.run();
        assert!(matches!(code, Some(1 | 2)), "{mechanism}: {code:?} {said}");
        assert!(said.contains("look at `sasl."), "{mechanism}: {said}");
        assert_eq!(copy.to.count(), 0, "{mechanism}");
    }
    a_certificate_of_nobody(&broker, broker.login());
}

/// Whose certificate is not known is not talked to.
fn a_certificate_of_nobody(broker: &Broker, login: &Logins) {
    let copy = Copy::new(broker, "PLAIN", true);
    let path = copy.job.path("pipeline.yaml");
    let document = fs::read_to_string(&path).expect("it was written");
    let authority = login.authority().display().to_string();
    let without = document.replace(&format!(", ssl.ca.location: \"{authority}\""), "");
    assert_ne!(document, without);
    fs::write(path, without).expect("the folder is writable");
    let (code, said) = copy.run();
    assert!(matches!(code, Some(1 | 2)), "{code:?} {said}");
    assert!(said.contains("`ssl.ca.location`"), "{said}");
    assert_eq!(copy.from.count(), ROWS);
}
