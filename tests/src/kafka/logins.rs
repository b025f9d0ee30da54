//! Listeners of a broker where one has to log in, in the clear and through TLS.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::broker::free_port;

/// Who may log in.
pub const USER: &str = "wasmill";
/// With which password.
pub const PASSWORD: &str = "correct-horse-battery";
/// What the file of keys is locked with.
const STORE_PASSWORD: &str = "not-a-secret";

/// Where one has to log in as [`USER`] with [`PASSWORD`], by PLAIN, SCRAM with either digest, or a
/// token of OAUTHBEARER that nobody has signed.
#[derive(Debug)]
pub struct Logins {
    clear: u16,
    tls: u16,
    keys: PathBuf,
    authority: PathBuf,
}

impl Logins {
    /// What the user's record is made with, when a broker's folder is.
    pub(super) fn format() -> [String; 4] {
        let option = || "--add-scram".to_owned();
        let user = |digest: &str| format!("SCRAM-{digest}=[name={USER},password={PASSWORD}]");
        [option(), user("SHA-256"), option(), user("SHA-512")]
    }

    /// Makes a key and a certificate for this machine's own address.
    pub(super) fn new(folder: &Path) -> Self {
        let (keys, authority) = (folder.join("keys.p12"), folder.join("authority.pem"));
        let store = |verb: &str| {
            let mut tool = Command::new("keytool");
            tool.args([verb, "-alias", "broker", "-storetype", "PKCS12"]);
            tool.args(["-storepass", STORE_PASSWORD, "-keystore"]);
            tool.arg(&keys);
            tool
        };
        let mut make = store("-genkeypair");
        make.args([
            "-keyalg",
            "EC",
            "-groupname",
            "secp256r1",
            "-validity",
            "30",
        ]);
        make.args(["-dname", "CN=broker", "-ext", "SAN=ip:127.0.0.1"]);
        let mut show = store("-exportcert");
        show.args(["-rfc", "-file"]).arg(&authority);
        for mut command in [make, show] {
            let output = command.output().expect("keytool comes with Java");
            assert!(output.status.success(), "{output:?}");
        }
        Self {
            clear: free_port(),
            tls: free_port(),
            keys,
            authority,
        }
    }

    /// Has a broker listen there.
    pub(super) fn add_to(&self, properties: &mut String) {
        let Self {
            clear, tls, keys, ..
        } = self;
        let more = [
            (
                "listeners",
                format!(",CLEAR://127.0.0.1:{clear},TLS://127.0.0.1:{tls}"),
            ),
            (
                "advertised.listeners",
                format!(",CLEAR://127.0.0.1:{clear},TLS://127.0.0.1:{tls}"),
            ),
            (
                "listener.security.protocol.map",
                ",CLEAR:SASL_PLAINTEXT,TLS:SASL_SSL".to_owned(),
            ),
        ];
        for (name, more) in more {
            // The last line of a name counts.
            let start = format!("\n{name}=");
            let line = properties.rfind(&start).expect("every broker listens") + 1;
            let end = properties[line..].find('\n').expect("lines end") + line;
            properties.insert_str(end, &more);
        }
        let module = "org.apache.kafka.common.security";
        let mechanisms = [
            (
                "plain",
                format!("{module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"),
            ),
            (
                "scram-sha-256",
                format!("{module}.scram.ScramLoginModule required;"),
            ),
            (
                "scram-sha-512",
                format!("{module}.scram.ScramLoginModule required;"),
            ),
            (
                "oauthbearer",
                format!("{module}.oauthbearer.OAuthBearerLoginModule required;"),
            ),
        ];
        let mut line = |text: String| writeln!(properties, "{text}").expect("a text takes all");
        line("sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".into());
        for listener in ["clear", "tls"] {
            for (mechanism, with) in &mechanisms {
                line(format!(
                    "listener.name.{listener}.{mechanism}.sasl.jaas.config={with}"
                ));
            }
        }
        line(format!(
            "listener.name.tls.ssl.keystore.location={}",
            keys.display()
        ));
        line(format!(
            "listener.name.tls.ssl.keystore.password={STORE_PASSWORD}"
        ));
        line("listener.name.tls.ssl.keystore.type=PKCS12".into());
    }

    /// Where it listens in the clear.
    pub fn clear(&self) -> String {
        format!("127.0.0.1:{}", self.clear)
    }

    /// Where it listens through TLS.
    pub fn tls(&self) -> String {
        format!("127.0.0.1:{}", self.tls)
    }

    /// The certificate by which one knows it, as PEM.
    pub fn authority(&self) -> &Path {
        &self.authority
    }
}
