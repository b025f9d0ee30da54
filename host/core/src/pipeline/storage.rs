//! Where a pipeline keeps its checkpoints.

use std::fmt;

use crate::pipeline::document::{Checkpoint, S3Document};
use crate::secret::SecretReference;
use crate::tree::Path;

use super::build::Builder;

/// Where checkpoints are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In a folder, relative to the one in which wasmill runs.
    Folder(String),
    /// In a bucket of a store that speaks S3.
    S3(S3Storage),
}

/// A bucket, and how its store is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Storage {
    /// The bucket.
    pub bucket: String,
    /// What all names in it begin with; empty, or steps without a slash at either end.
    pub prefix: String,
    /// Where the store listens; none for Amazon's own.
    pub endpoint: Option<String>,
    /// The region, if it matters.
    pub region: Option<String>,
    /// The access key's id and its secret; none if the environment has them.
    pub keys: Option<(SecretReference, SecretReference)>,
    /// The session's token.
    pub session_token: Option<SecretReference>,
}

/// Why a text names no place for checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoStorage {
    /// An address of another kind.
    #[error("checkpoints cannot be kept in `{scheme}://`: give a folder, or `s3://BUCKET/PREFIX`")]
    Scheme {
        /// The kind.
        scheme: String,
    },
    /// No bucket, or a prefix that stores do not agree about.
    #[error(
        "`{text}` names no place in a bucket: write `s3://BUCKET/PREFIX`, of letters, digits and \
         `.-_`, with `/` between"
    )]
    Bucket {
        /// The text.
        text: String,
    },
}

impl Storage {
    /// The place that a text names: a folder, or `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// If it names none.
    pub fn parse(text: &str) -> Result<Self, NoStorage> {
        let Some((scheme, place)) = text.split_once("://") else {
            return Ok(Self::Folder(text.into()));
        };
        if scheme != "s3" {
            let scheme = scheme.into();
            return Err(NoStorage::Scheme { scheme });
        }
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
        let is_bucket = !bucket.is_empty() && bucket.chars().all(is_plain);
        let is_step =
            |step: &str| !step.is_empty() && step.chars().all(is_plain) && !step.starts_with('.');
        if !is_bucket || !(prefix.is_empty() || prefix.split('/').all(is_step)) {
            let text = text.into();
            return Err(NoStorage::Bucket { text });
        }
        Ok(Self::S3(S3Storage {
            bucket: bucket.into(),
            prefix: prefix.into(),
            endpoint: None,
            region: None,
            keys: None,
            session_token: None,
        }))
    }

    /// The place that a document names that has not been checked.
    ///
    /// # Errors
    /// If its text names none.
    pub fn written(checkpoint: &Checkpoint) -> Option<Result<Self, NoStorage>> {
        let place = Self::parse(checkpoint.storage.as_ref()?);
        Some(place.map(|place| match (place, &checkpoint.s3) {
            (Self::S3(place), Some(s3)) => Self::S3(place.reached(s3.clone())),
            (place, _) => place,
        }))
    }

    /// Another place, reached as this one is if both are buckets.
    ///
    /// # Errors
    /// If the text names no place.
    pub fn beside(&self, text: &str) -> Result<Self, NoStorage> {
        let other = Self::parse(text)?;
        Ok(match (other, self) {
            (Self::S3(other), Self::S3(own)) => Self::S3(S3Storage {
                bucket: other.bucket,
                prefix: other.prefix,
                ..own.clone()
            }),
            (other, _) => other,
        })
    }
}

impl S3Storage {
    fn reached(self, s3: S3Document) -> Self {
        Self {
            endpoint: s3.endpoint.map(|url| url.trim_end_matches('/').into()),
            region: s3.region,
            keys: s3.access_key.zip(s3.secret_key),
            session_token: s3.session_token,
            ..self
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => f.write_str(folder),
            Self::S3(s3) if s3.prefix.is_empty() => write!(f, "s3://{}", s3.bucket),
            Self::S3(s3) => write!(f, "s3://{}/{}", s3.bucket, s3.prefix),
        }
    }
}

impl Builder<'_> {
    /// Where checkpoints are kept, if the document says it.
    pub(super) fn storage(
        &mut self,
        storage: Option<&str>,
        s3: Option<&S3Document>,
    ) -> Option<Storage> {
        let path = Path::keys(&["checkpoint"]);
        let parsed = storage.map(Storage::parse).transpose();
        let place = match parsed {
            Ok(place) => place,
            Err(error) => {
                let message = error.to_string();
                let (message, remedy) = message.rsplit_once(": ").unwrap_or((&message, ""));
                self.wrong(&path.key("storage"), message, Some(remedy));
                return None;
            }
        };
        let Some(Storage::S3(place)) = place else {
            if s3.is_some() {
                let remedy = "say `storage: s3://BUCKET/PREFIX`, or remove `s3`";
                self.wrong(
                    &path.key("s3"),
                    "checkpoints are kept in a folder",
                    Some(remedy),
                );
            }
            return place;
        };
        let s3 = s3.cloned().unwrap_or_default();
        self.reachable(&path.key("s3"), &s3)?;
        Some(Storage::S3(place.reached(s3)))
    }

    /// What is given beside the bucket makes sense.
    fn reachable(&mut self, path: &Path, s3: &S3Document) -> Option<()> {
        let is_url = |url: &String| {
            let rest = url
                .strip_prefix("http://")
                .or_else(|| url.strip_prefix("https://"));
            rest.is_some_and(|rest| !rest.is_empty())
        };
        let (mut is_fine, endpoint) = (true, s3.endpoint.as_ref());
        if endpoint.is_some_and(|url| !is_url(url)) {
            let remedy = "write one such as `https://storage.example.com`";
            self.wrong(&path.key("endpoint"), "this is no address", Some(remedy));
            is_fine = false;
        }
        let (given, missing) = match (&s3.access_key, &s3.secret_key) {
            (Some(_), None) => ("access-key", "secret-key"),
            (None, Some(_)) => ("secret-key", "access-key"),
            _ => return is_fine.then_some(()),
        };
        let message = format!("`{given}` is of no use without `{missing}`");
        let remedy = format!("add `{missing}: {{ env: NAME }}` or `{{ file: PATH }}`");
        self.wrong(&path.key(given), &message, Some(&remedy));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Pipeline, tests};

    const S3: &str = "checkpoint:
  storage: s3://bucket/some/prefix/
  s3:
    endpoint: http://127.0.0.1:7070/
    access-key: { env: KEY }
    secret-key: { file: secret.txt }
";

    fn document(checkpoint: &str) -> String {
        tests::SOURCE.replacen("sources:", &format!("{checkpoint}sources:"), 1)
    }

    fn checked(checkpoint: &str) -> Pipeline {
        tests::pipeline(&document(checkpoint)).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn mistakes(checkpoint: &str) -> String {
        let errors = tests::pipeline(&document(checkpoint)).map(drop);
        errors.expect_err(checkpoint).to_string()
    }

    #[test]
    fn a_bucket_is_a_place() {
        let Some(Storage::S3(s3)) = checked(S3).checkpoint.and_then(|it| it.storage) else {
            panic!("a bucket");
        };
        assert_eq!((&*s3.bucket, &*s3.prefix), ("bucket", "some/prefix"));
        assert_eq!(s3.endpoint.as_deref(), Some("http://127.0.0.1:7070"));
        assert_eq!(s3.region, None);
        let (key, secret) = s3.keys.expect("both are given");
        assert_eq!(key, SecretReference::Env("KEY".into()));
        assert_eq!(secret, SecretReference::File("secret.txt".into()));
        for (text, bucket, prefix) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("s3://b/c", "b", "c"),
        ] {
            let pipeline = checked(&format!("checkpoint: {{ storage: \"{text}\" }}\n"));
            let Some(Storage::S3(s3)) = pipeline.checkpoint.and_then(|it| it.storage) else {
                panic!("{text}");
            };
            let place = Storage::S3(s3.clone()).to_string();
            assert_eq!(place, text.trim_end_matches('/'));
            assert_eq!((&*s3.bucket, &*s3.prefix), (bucket, prefix));
            assert_eq!(s3.keys, None);
        }
    }

    #[test]
    fn another_bucket_is_reached_alike() {
        let own = checked(S3).checkpoint.and_then(|it| it.storage);
        let own = own.expect("a bucket");
        let other = own.beside("s3://other/place").expect("a place");
        assert_eq!(other.to_string(), "s3://other/place");
        let (Storage::S3(own), Storage::S3(other)) = (&own, &other) else {
            panic!("two buckets");
        };
        assert_eq!((&own.endpoint, &own.keys), (&other.endpoint, &other.keys));
    }

    #[test]
    fn what_is_no_place_is_a_mistake() {
        let cases = [
            ("storage: gs://bucket", "gs://"),
            ("storage: \"s3://\"", "no place in a bucket"),
            ("storage: s3://b/../c", "no place in a bucket"),
            ("storage: s3://b/c//d", "no place in a bucket"),
            ("storage: folder, s3: { region: r }", "in a folder"),
            ("s3: { region: r }", "in a folder"),
            (
                "storage: s3://b, s3: { endpoint: \"ftp://x\" }",
                "no address",
            ),
            (
                "storage: s3://b, s3: { access-key: { env: A } }",
                "without `secret-key`",
            ),
            (
                "storage: s3://b, s3: { secret-key: { env: A } }",
                "without `access-key`",
            ),
            ("storage: s3://b, s3: { access-key: plain }", "access-key"),
        ];
        for (text, expected) in cases {
            let errors = mistakes(&format!("checkpoint: {{ {text} }}\n"));
            assert!(errors.contains(expected), "{text}: {errors}");
        }
    }
}
