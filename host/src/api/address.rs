//! Where jobs listen: sockets in a folder that only their user can enter.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use wasmill_core::checkpoint::Digest;

/// The longest path of a socket, in bytes, that Linux takes.
const PATH_BYTES_MAX: usize = 107;
/// Letters of a job's name in its socket's.
const NAME_MAX: usize = 24;
/// Digits of the digest that tells jobs of one name apart.
const DIGITS: usize = 16;
/// What sockets' names end with.
const SUFFIX: &str = ".sock";

/// Why a job cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no place for sockets.
    #[error("neither XDG_RUNTIME_DIR nor XDG_DATA_HOME nor HOME is set: set one of them")]
    Nowhere,
    /// The folder cannot be used.
    #[error("the folder of sockets `{}` cannot be used: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Too long for a socket.
    #[error(
        "`{}` is longer than the {PATH_BYTES_MAX} bytes that a socket's path may have: set \
         XDG_RUNTIME_DIR to a shorter one", path.display()
    )]
    Long {
        /// The socket.
        path: PathBuf,
    },
    /// Somebody answers there.
    #[error("another process listens at `{}`", path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// The system says no.
    #[error("`{}`", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The folder of this user's sockets: in the runtime folder, which goes with the session, or else
/// among the user's data.
///
/// # Errors
/// If the environment names neither.
pub fn folder() -> Result<PathBuf, AddressError> {
    let variable = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    if let Some(runtime) = variable("XDG_RUNTIME_DIR") {
        return Ok(runtime.join("wasmill"));
    }
    let data = variable("XDG_DATA_HOME");
    let data = data.or_else(|| Some(variable("HOME")?.join(".local/share")));
    Ok(data.ok_or(AddressError::Nowhere)?.join("wasmill/run"))
}

/// What a job's socket is called. Its checkpoints' storage tells jobs of one name apart; one
/// without checkpoints is told apart by its process.
pub fn name(job: &str, storage: Option<&str>, process: u32) -> String {
    let job: String = job.chars().take(NAME_MAX).collect();
    match storage {
        Some(storage) => {
            let digest = Digest::of(storage.as_bytes()).to_string();
            format!("{job}-{}{SUFFIX}", &digest[..DIGITS])
        }
        None => format!("{job}-p{process}{SUFFIX}"),
    }
}

/// A socket that goes when it is dropped.
#[derive(Debug)]
pub struct Listening {
    /// Where it is.
    pub path: PathBuf,
    /// The file itself: another process may have put its own in this place since. While it is
    /// open, the file system gives its number to no other.
    made: File,
}

/// Listens in a folder, which is made if it is not there. A socket that nobody answers at any more
/// is what a process has left that was killed; it is replaced.
///
/// # Errors
/// If the folder is not the user's own, or somebody answers.
pub fn listen(folder: &Path, name: &str) -> Result<(UnixListener, Listening), AddressError> {
    let path = folder.join(name);
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(AddressError::Long { path });
    }
    own(folder)?;
    let _lock = lock(folder)?;
    let wrong = |source| AddressError::Socket {
        path: path.clone(),
        source,
    };
    if answers(&path) {
        return Err(AddressError::Taken { path });
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(wrong(error)),
        _ => {}
    }
    // Nobody else can enter the folder, so nobody connects before the mode is set.
    let listener = UnixListener::bind(&path).map_err(wrong)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(wrong)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::open(&path, flags, Mode::empty());
    let made = File::from(made.map_err(|error| wrong(error.into()))?);
    Ok((listener, Listening { path, made }))
}

/// The sockets of a folder, by name. What nobody answers at is removed.
///
/// # Errors
/// If the folder cannot be read.
pub fn sockets(folder: &Path) -> Result<Vec<PathBuf>, AddressError> {
    let wrong = |error: io::Error| AddressError::Folder {
        path: folder.into(),
        reason: error.to_string(),
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(error)),
    };
    let mut sockets = Vec::new();
    for entry in entries {
        let path = entry.map_err(wrong)?.path();
        let is_socket = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()));
        if !is_socket {
            continue;
        }
        if answers(&path) {
            sockets.push(path);
        } else if let Ok(_lock) = lock(folder)
            && !answers(&path)
        {
            // It stays where it cannot be removed: it is only in the way of a listing.
            let _ = fs::remove_file(&path);
        }
    }
    sockets.sort();
    Ok(sockets)
}

/// Whether somebody listens at a path. Where that cannot be told, somebody may.
fn answers(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        ),
    }
}

/// Makes the folder, and makes sure that it is the user's own and nobody else's.
fn own(folder: &Path) -> Result<(), AddressError> {
    let wrong = |reason: String| AddressError::Folder {
        path: folder.into(),
        reason,
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| wrong(error.to_string()))?;
    let found = fs::metadata(folder).map_err(|error| wrong(error.to_string()))?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(wrong("it belongs to another user".into()));
    }
    if found.mode() & 0o077 != 0 {
        let closed = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
        closed.map_err(|error| wrong(error.to_string()))?;
    }
    Ok(())
}

/// One process at a time looks whether a socket is stale and replaces it.
fn lock(folder: &Path) -> Result<File, AddressError> {
    let wrong = |error: io::Error| AddressError::Folder {
        path: folder.into(),
        reason: error.to_string(),
    };
    let file = File::create(folder.join(".lock")).map_err(wrong)?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| wrong(error.into()))?;
    Ok(file)
}

impl Drop for Listening {
    fn drop(&mut self) {
        let (Ok(found), Ok(made)) = (fs::symlink_metadata(&self.path), self.made.metadata()) else {
            return;
        };
        if (found.dev(), found.ino()) == (made.dev(), made.ino()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o777
    }

    #[test]
    fn only_its_user_gets_at_a_socket() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("wasmill");
        DirBuilder::new()
            .mode(0o755)
            .create(&inner)
            .expect("it can be made");
        let (_listener, listening) = listen(&inner, "a.sock").expect("nobody listens");
        assert_eq!((mode(&inner), mode(&listening.path)), (0o700, 0o600));
        let path = listening.path.clone();
        assert!(matches!(
            listen(&inner, "a.sock"),
            Err(AddressError::Taken { .. })
        ));
        drop(listening);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_nobody_answers_at_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (listener, listening) = listen(folder.path(), "a.sock").expect("nobody listens");
        // As after a kill: nobody listens, and the file is there.
        drop(listener);
        let (_again, second) = listen(folder.path(), "a.sock").expect("nobody answers");
        let path = second.path.clone();
        // The first one's end leaves the second one's socket alone.
        drop(listening);
        assert!(path.exists());
        assert_eq!(sockets(folder.path()).expect("a folder"), [path]);
    }

    #[test]
    fn a_listing_clears_away_what_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let (listener, listening) = listen(folder.path(), "a.sock").expect("nobody listens");
        drop(listener);
        fs::write(folder.path().join("notes.txt"), "").expect("a file");
        assert!(sockets(folder.path()).expect("a folder").is_empty());
        assert!(!listening.path.exists());
        assert!(folder.path().join("notes.txt").exists());
        assert!(
            sockets(&folder.path().join("none"))
                .expect("none")
                .is_empty()
        );
    }

    #[test]
    fn names_are_short_and_tell_jobs_apart() {
        let long = "a".repeat(63);
        let name = |storage| name(&long, storage, 7);
        assert_eq!(name(Some("/a")).len(), NAME_MAX + 1 + DIGITS + SUFFIX.len());
        assert_ne!(name(Some("/a")), name(Some("/b")));
        assert!(name(None).ends_with("-p7.sock"));
        let folder = Path::new("/tmp").join("b".repeat(100));
        assert!(matches!(
            listen(&folder, "a.sock"),
            Err(AddressError::Long { .. })
        ));
    }
}
