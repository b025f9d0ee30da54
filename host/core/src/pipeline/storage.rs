//! Where a pipeline keeps its checkpoints.

use crate::pipeline::document::{S3Document, SecretDocument};
use crate::tree::Path;

use super::Checkpointing;
use super::build::Builder;

/// What S3 calls the region of those who do not care.
const REGION: &str = "us-east-1";

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
    /// The region.
    pub region: String,
    /// The access key's id and its secret; none if the environment has them.
    pub keys: Option<(SecretDocument, SecretDocument)>,
    /// The session's token.
    pub session_token: Option<SecretDocument>,
}

impl Builder<'_> {
    /// How checkpoints are taken, if they are.
    pub(super) fn checkpointing(&mut self) -> Option<Checkpointing> {
        let document = self.document.checkpoint.as_ref()?;
        let mut checkpointing = Checkpointing::from(document);
        let path = Path::keys(&["checkpoint"]);
        checkpointing.storage =
            self.storage(&path, document.storage.as_deref(), document.s3.as_ref());
        Some(checkpointing)
    }

    fn storage(
        &mut self,
        path: &Path,
        storage: Option<&str>,
        s3: Option<&S3Document>,
    ) -> Option<Storage> {
        let Some((scheme, place)) = storage.and_then(|storage| storage.split_once("://")) else {
            if s3.is_some() {
                let remedy = "say `storage: s3://BUCKET/PREFIX`, or remove `s3`";
                self.wrong(
                    &path.key("s3"),
                    "checkpoints are kept in a folder",
                    Some(remedy),
                );
            }
            return storage.map(|folder| Storage::Folder(folder.into()));
        };
        if scheme != "s3" {
            let message = format!("checkpoints cannot be kept in `{scheme}://`");
            let remedy = "give a folder, or `s3://BUCKET/PREFIX`";
            self.wrong(&path.key("storage"), &message, Some(remedy));
            return None;
        }
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
        let is_bucket = !bucket.is_empty() && bucket.chars().all(is_plain);
        let is_step =
            |step: &str| !step.is_empty() && step.chars().all(is_plain) && !step.starts_with('.');
        if !is_bucket || !(prefix.is_empty() || prefix.split('/').all(is_step)) {
            let remedy =
                "write `s3://BUCKET/PREFIX`, of letters, digits and `.-_`, with `/` between";
            self.wrong(
                &path.key("storage"),
                "this names no place in a bucket",
                Some(remedy),
            );
            return None;
        }
        let s3 = s3.cloned().unwrap_or_default();
        self.reachable(&path.key("s3"), &s3)?;
        Some(Storage::S3(S3Storage {
            bucket: bucket.into(),
            prefix: prefix.into(),
            endpoint: s3.endpoint.map(|url| url.trim_end_matches('/').into()),
            region: s3.region.unwrap_or_else(|| REGION.into()),
            keys: s3.access_key.zip(s3.secret_key),
            session_token: s3.session_token,
        }))
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
        assert_eq!(s3.region, REGION);
        let (key, secret) = s3.keys.expect("both are given");
        assert_eq!(key, SecretDocument::Env("KEY".into()));
        assert_eq!(secret, SecretDocument::File("secret.txt".into()));
        for (text, bucket, prefix) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("s3://b/c", "b", "c"),
        ] {
            let pipeline = checked(&format!("checkpoint: {{ storage: \"{text}\" }}\n"));
            let Some(Storage::S3(s3)) = pipeline.checkpoint.and_then(|it| it.storage) else {
                panic!("{text}");
            };
            assert_eq!((&*s3.bucket, &*s3.prefix), (bucket, prefix));
            assert_eq!(s3.keys, None);
        }
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
