//! A bucket of a store that speaks S3.

use std::{error::Error as _, sync::Arc, time::Duration};

use bytes::Bytes;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    path::Path,
    prefix::PrefixStore,
};
use wasmill_core::{
    checkpoint::Digest,
    pipeline::{self, S3Storage},
    secret::SecretReference,
};

use super::{Storage, StorageError};
use crate::{clock, secret};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may be silent, and how long one may take in all.
const SILENCE: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(300);
/// A request that fails is sent again so often, for so long, after rests that grow.
const RETRIES_MAX: usize = 6;
const RETRY: Duration = Duration::from_secs(60);
const REST: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(5);
/// Bytes of what a store says that are shown.
const REASON_BYTES_MAX: usize = 400;

/// Opens a bucket, and makes sure that its store keeps its word.
///
/// # Errors
/// If it cannot be reached, refuses, or does not create objects only if they are absent.
pub(super) async fn open(s3: &S3Storage) -> Result<Storage, StorageError> {
    let store = store(s3)?;
    let place = place(s3);
    match probe(&*store).await {
        Ok(true) => Ok(Storage::durable(store)),
        Ok(false) => Err(StorageError::Unconditional { place }),
        Err(error) => {
            let reason = explain(s3, &error);
            Err(StorageError::Bucket { place, reason })
        }
    }
}

/// A bucket to be looked at. Whether it is there shows at the first look.
///
/// # Errors
/// If what is said of it makes no sense, or a secret is not to be had.
pub(super) fn look(s3: &S3Storage) -> Result<Storage, StorageError> {
    Ok(Storage::durable(store(s3)?))
}

fn store(s3: &S3Storage) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let bucket = builder(s3)?.build().map_err(|error| StorageError::Bucket {
        place: place(s3),
        reason: explain(s3, &error),
    })?;
    Ok(match s3.prefix.as_str() {
        "" => Arc::new(bucket),
        prefix => Arc::new(PrefixStore::new(bucket, prefix)),
    })
}

/// The bucket, and where its store listens, for people.
fn place(s3: &S3Storage) -> String {
    let place = pipeline::Storage::S3(s3.clone());
    match &s3.endpoint {
        None => place.to_string(),
        Some(endpoint) => format!("{place} at {endpoint}"),
    }
}

fn builder(s3: &S3Storage) -> Result<AmazonS3Builder, StorageError> {
    let mut builder = match &s3.keys {
        None => AmazonS3Builder::from_env(),
        Some((key, secret)) => AmazonS3Builder::new()
            .with_access_key_id(resolve(s3, "access-key", key)?)
            .with_secret_access_key(resolve(s3, "secret-key", secret)?),
    };
    if let Some(token) = &s3.session_token {
        builder = builder.with_token(resolve(s3, "session-token", token)?);
    }
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    // Who says `http` means it, in the document as in the environment.
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let options = ClientOptions::new()
        .with_connect_timeout(CONNECT)
        .with_read_timeout(SILENCE)
        .with_timeout(ANSWER)
        .with_allow_http(is_plain);
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: REST,
            max_backoff: REST_MAX,
            base: 2.0,
        },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY,
    };
    if let Some(region) = &s3.region {
        builder = builder.with_region(region);
    }
    Ok(builder
        .with_bucket_name(&s3.bucket)
        .with_client_options(options)
        .with_retry(retry))
}

/// Finds a secret where the document says that it is. What it is stands in no message.
fn resolve(s3: &S3Storage, field: &str, at: &SecretReference) -> Result<String, StorageError> {
    let found = secret::find(at);
    let found = found.map_err(|error| StorageError::Bucket {
        place: place(s3),
        reason: match error.source() {
            None => format!("its `{field}` is not to be had: {error}"),
            Some(cause) => format!("its `{field}` is not to be had: {error}: {cause}"),
        },
    })?;
    Ok(found.expose().trim().to_owned())
}

/// Whether the store refuses to create an object that is there.
async fn probe(store: &dyn ObjectStore) -> Result<bool, Error> {
    let nobody_else = format!("{} {}", std::process::id(), clock::wall_us());
    let path = Path::from(format!(
        "wasmill-probe/{}",
        Digest::of(nobody_else.as_bytes())
    ));
    let create = async || {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let payload = Bytes::from_static(b"may be deleted\n").into();
        store.put_opts(&path, payload, options).await
    };
    // That it exists already can only be the answer to a request that was sent again.
    let first = match create().await {
        Ok(_) | Err(Error::AlreadyExists { .. }) => create().await,
        Err(error) => return Err(error),
    };
    // What is left of it harms nobody.
    let _ = store.delete(&path).await;
    match first {
        Ok(_) => Ok(false),
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// What a store's refusal means, and what to do about it.
fn explain(s3: &S3Storage, error: &Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            said += &format!(": {more}");
        }
        cause = error.source();
    }
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    // Some stores answer that they find no such user.
    let is_unknown = ["InvalidAccessKeyId", "UserNotFound"]
        .iter()
        .any(|it| said.contains(it));
    let end = said.floor_char_boundary(REASON_BYTES_MAX);
    let said = &said[..end];
    let bucket = &s3.bucket;
    if said.contains("RequestTimeTooSkewed") {
        return format!("this machine's clock is wrong, so the store believes no request ({said})");
    }
    match error {
        Error::NotFound { .. } if !is_unknown => format!(
            "there is no bucket `{bucket}`; make it first, or correct `storage` and `s3` ({said})"
        ),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::NotFound { .. } => {
            format!(
                "the store refuses the credentials; check what `access-key` and `secret-key` \
                 lead to, and that they may read, write, list and delete in it ({said})"
            )
        }
        Error::NotImplemented { .. } => format!(
            "its store cannot create an object only if it is absent, which decides which of two \
             runs of a job goes on; use a store that can ({said})"
        ),
        _ if said.contains("NotImplemented") => format!(
            "its store cannot create an object only if it is absent (`If-None-Match: *`), which \
             decides which of two runs of a job goes on; use a store that can ({said})"
        ),
        _ => {
            format!("the store does not answer as it should; does `endpoint` lead to it? ({said})")
        }
    }
}

#[cfg(test)]
mod tests;
