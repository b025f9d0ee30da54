//! Finds secrets where a document says they are. Every connector that needs one asks here.
//!
//! What is found is a [`SecretText`], which nothing prints. A client that opens a connection again
//! asks again, so that a secret that was renewed takes effect without a restart.

use std::{env, fs, io, path::PathBuf};

use wasmill_core::secret::{SecretReference, SecretText, TextOrSecret};

/// The longest secret that a file may hold.
const BYTES_MAX: u64 = 64 << 10;

/// Why a secret is not to be had. No message repeats any of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The variable is not set.
    #[error("the variable `{name}` is not set; set it before wasmill starts")]
    Unset {
        /// The variable.
        name: String,
    },
    /// The file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What stands there is no secret.
    #[error("{place} holds {what}, and not a text")]
    NotText {
        /// The variable or the file.
        place: String,
        /// What it holds.
        what: &'static str,
    },
}

/// Finds a secret. One line end at the end of a file does not belong to it.
///
/// # Errors
/// If it is not there, empty, or no text.
pub fn find(reference: &SecretReference) -> Result<SecretText, SecretError> {
    let not_text = |what| SecretError::NotText {
        place: reference.place(),
        what,
    };
    let text = match reference {
        SecretReference::Env(name) => match env::var(name) {
            Ok(text) => text,
            Err(env::VarError::NotPresent) => {
                let name = name.clone();
                return Err(SecretError::Unset { name });
            }
            Err(env::VarError::NotUnicode(_)) => return Err(not_text("other bytes")),
        },
        SecretReference::File(path) => {
            let unread = |source| SecretError::Unread {
                path: path.into(),
                source,
            };
            if fs::metadata(path).map_err(unread)?.len() > BYTES_MAX {
                return Err(not_text("more than 64 KiB"));
            }
            let bytes = fs::read(path).map_err(unread)?;
            let mut text = String::from_utf8(bytes).map_err(|_| not_text("other bytes"))?;
            if text.ends_with('\n') {
                text.pop();
                if text.ends_with('\r') {
                    text.pop();
                }
            }
            text
        }
    };
    if text.is_empty() {
        return Err(not_text("nothing"));
    }
    Ok(SecretText::new(text))
}

/// Finds a text that may be a secret; until it is known not to be one, it is treated as one.
///
/// # Errors
/// As for [`find`].
pub fn find_text(text: &TextOrSecret) -> Result<SecretText, SecretError> {
    match text {
        TextOrSecret::Text(text) => Ok(SecretText::new(text.clone())),
        TextOrSecret::Secret(reference) => find(reference),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_holds_a_secret() {
        // Cargo sets it for every test.
        let found = find(&SecretReference::Env("CARGO_PKG_NAME".into())).expect("it is set");
        assert_eq!(found.expose(), "wasmill-host");
        let error = find(&SecretReference::Env("WASMILL_NO_SUCH_SECRET".into()));
        let error = error.expect_err("it is not set").to_string();
        assert!(
            error.contains("`WASMILL_NO_SUCH_SECRET` is not set"),
            "{error}"
        );
    }

    #[test]
    fn a_file_holds_a_secret() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("secret");
        let reference = SecretReference::File(path.to_string_lossy().into_owned());
        let check = |bytes: &[u8], expected: Result<&str, &str>| {
            fs::write(&path, bytes).expect("it is ours");
            match (find(&reference), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.expose(), expected),
                (Err(error), Err(part)) => {
                    let error = error.to_string();
                    assert!(error.contains(part), "{error}");
                }
                (found, expected) => panic!("{found:?}, and not {expected:?}"),
            }
        };
        check(b"hunter2", Ok("hunter2"));
        check(b"hunter2\n", Ok("hunter2"));
        check(b"hunter2\r\n", Ok("hunter2"));
        check(b" hunter2\n\n", Ok(" hunter2\n"));
        check(b"\n", Err("holds nothing"));
        check(b"\xff\xfe", Err("holds other bytes"));
        check(&vec![b'a'; 100_000], Err("holds more than 64 KiB"));
        fs::remove_file(&path).expect("it is ours");
        let error = find(&reference).expect_err("it is gone").to_string();
        assert!(error.contains("cannot be read"), "{error}");
    }
}
