//! Where a document says that secrets are to be found.

use super::{Brokers, ClientOptions, Document, EncodeFormat, RegistryDocument};
use crate::secret::{SecretReference, TextOrSecret};
use crate::tree::Path;

impl Document {
    /// Where the document says that secrets are to be found, each with its place in the document.
    pub fn secrets(&self) -> Vec<(Path, &SecretReference)> {
        let mut found = Vec::new();
        for (name, source) in &self.sources {
            let path = Path::keys(&["sources", name, "kafka"]);
            let kafka = source.kafka.iter();
            found.extend(kafka.flat_map(|it| of(&path, &it.brokers, &it.options)));
            let format = source.format.as_ref();
            let registry = format.and_then(|format| format.registry.as_ref());
            let path = Path::keys(&["sources", name, "format", "registry"]);
            found.extend(registry.into_iter().flat_map(|it| of_registry(&path, it)));
        }
        for (name, sink) in &self.sinks {
            let path = Path::keys(&["sinks", name, "kafka"]);
            let kafka = sink.kafka.iter();
            found.extend(kafka.flat_map(|it| of(&path, &it.brokers, &it.options)));
            if let Some(EncodeFormat::Options(options)) = &sink.format {
                let formats = [("avro", &options.avro), ("protobuf", &options.protobuf)];
                for (format, written) in formats {
                    let path = Path::keys(&["sinks", name, "format", format, "registry"]);
                    let registry = written.iter().map(|written| &written.registry);
                    found.extend(registry.flat_map(|it| of_registry(&path, it)));
                }
            }
            let Some(postgres) = &sink.postgres else {
                continue;
            };
            let path = Path::keys(&["sinks", name, "postgres"]);
            let fields = [
                ("url", postgres.url.reference()),
                (
                    "user",
                    postgres.user.as_ref().and_then(TextOrSecret::reference),
                ),
                ("password", postgres.password.as_ref()),
            ];
            let fields = fields.into_iter();
            found.extend(fields.filter_map(|(field, secret)| Some((path.key(field), secret?))));
        }
        found
    }
}

/// Where a cluster's brokers are, and the options that are secrets.
fn of<'a>(
    path: &Path,
    brokers: &'a Brokers,
    options: &'a ClientOptions,
) -> Vec<(Path, &'a SecretReference)> {
    let brokers = brokers.reference().map(|it| (path.key("brokers"), it));
    let path = path.key("options");
    let options = options.iter();
    let options = options.filter_map(|(name, value)| Some((path.key(name), value.reference()?)));
    brokers.into_iter().chain(options).collect()
}

/// Who the user of a registry is.
fn of_registry<'a>(
    path: &Path,
    registry: &'a RegistryDocument,
) -> Vec<(Path, &'a SecretReference)> {
    let user = registry.user.as_ref().and_then(TextOrSecret::reference);
    let fields = [("user", user), ("password", registry.password.as_ref())];
    let fields = fields.into_iter();
    fields
        .filter_map(|(field, secret)| Some((path.key(field), secret?)))
        .collect()
}
