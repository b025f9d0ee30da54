use object_store::memory::InMemory;

use super::*;
use crate::checkpoint::storage::faults::{Faulty, FaultyStore, Luck};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

fn bucket() -> S3Storage {
    S3Storage {
        bucket: "bucket".into(),
        prefix: "some/prefix".into(),
        endpoint: Some("http://127.0.0.1:1".into()),
        region: Some("us-east-1".into()),
        keys: None,
        session_token: None,
    }
}

#[test]
fn a_store_that_keeps_its_word_is_known() {
    assert!(block_on(probe(&InMemory::new())).expect("memory answers"));
}

#[test]
fn a_store_that_creates_what_is_there_is_refused() {
    let store = FaultyStore::new(1, Luck::GOOD);
    store.forget_modes();
    let faulty = Faulty(Arc::new(store));
    assert!(!block_on(probe(&faulty)).expect("memory answers"));
}

#[test]
fn nobody_there_is_an_error_that_names_the_place() {
    let mut s3 = bucket();
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "planted-secret\n").expect("it can be written");
    let at = SecretReference::File(secret.path().to_string_lossy().into_owned());
    s3.keys = Some((at.clone(), at));
    let error = block_on(open(&s3))
        .err()
        .expect("nobody listens")
        .to_string();
    for part in [
        "s3://bucket/some/prefix at http://127.0.0.1:1",
        "`endpoint`",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("planted-secret"), "{error}");
}

#[test]
fn a_secret_that_is_not_there_is_named_by_where_it_should_be() {
    let empty = tempfile::NamedTempFile::new().expect("a file");
    let empty = empty.path().to_string_lossy().into_owned();
    let cases = [
        (
            SecretReference::Env("WASMILL_NO_SUCH".into()),
            "variable `WASMILL_NO_SUCH`",
        ),
        (
            SecretReference::File("/no/such/file".into()),
            "`/no/such/file`",
        ),
        (SecretReference::File(empty), "holds nothing"),
    ];
    for (at, part) in cases {
        let mut s3 = bucket();
        s3.keys = Some((at.clone(), at));
        let error = builder(&s3).expect_err(part).to_string();
        assert!(
            error.contains(part) && error.contains("`access-key`"),
            "{error}"
        );
    }
}

#[test]
fn what_a_store_says_is_explained() {
    let source = || "the store said no".into();
    let path = || "log/1".to_owned();
    let cases = [
        (
            Error::NotFound {
                path: path(),
                source: "404: XAdminUserNotFound".into(),
            },
            "refuses the credentials",
        ),
        (
            Error::NotFound {
                path: path(),
                source: source(),
            },
            "there is no bucket `bucket`",
        ),
        (
            Error::PermissionDenied {
                path: path(),
                source: source(),
            },
            "refuses the credentials",
        ),
        (
            Error::Unauthenticated {
                path: path(),
                source: source(),
            },
            "refuses the credentials",
        ),
        (
            Error::Generic {
                store: "S3",
                source: "501: NotImplemented".into(),
            },
            "If-None-Match",
        ),
        (
            Error::Generic {
                store: "S3",
                source: source(),
            },
            "does `endpoint` lead to it?",
        ),
    ];
    for (error, part) in cases {
        let said = explain(&bucket(), &error);
        assert!(said.contains(part), "{said}");
    }
}
