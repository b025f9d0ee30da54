//! Where checkpoints lie: objects in a folder of this machine.

use std::{
    fs::File,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, local::LocalFileSystem, path::Path,
};
use sha2::{Digest as _, Sha256};
use wasmill_core::checkpoint::{Created, Digest};

/// Why the storage cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The folder cannot be made or written.
    #[error(
        "checkpoints cannot be kept in `{}`: {reason}; set `checkpoint: {{ storage: FOLDER }}` to \
         one that can be written",
        folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// There is nothing to look at.
    #[error(
        "there is no folder `{}`: name where the job keeps its checkpoints with --storage",
        folder.display()
    )]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process runs the job.
    #[error(
        "`{job}` is running already: another process holds `{}`; stop that one first, or end it \
         from here with --take-over", lock.display()
    )]
    Running {
        /// The job.
        job: String,
        /// Its lock.
        lock: PathBuf,
    },
    /// An object cannot be read or written.
    #[error("{0}")]
    Object(#[from] Error),
}

/// Objects by name. Every write is durable before it is told.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// Held while the job runs.
    lock: Option<Arc<File>>,
}

impl Storage {
    /// The objects below a folder, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn folder(folder: &FilePath) -> Result<Self, StorageError> {
        let wrong = |reason: String| StorageError::Folder {
            folder: folder.into(),
            reason,
        };
        std::fs::create_dir_all(folder).map_err(|error| wrong(error.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(folder);
        let store = store.map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            store: Arc::new(store.with_fsync(true)),
            lock: None,
        })
    }

    /// The objects below a folder, to be looked at: nothing is made or changed.
    ///
    /// # Errors
    /// If it is not there.
    pub fn existing(folder: &FilePath) -> Result<Self, StorageError> {
        if !folder.is_dir() {
            let folder = folder.into();
            return Err(StorageError::Missing { folder });
        }
        let store = LocalFileSystem::new_with_prefix(folder);
        let store = store.map_err(|error| StorageError::Folder {
            folder: folder.into(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            store: Arc::new(store),
            lock: None,
        })
    }

    /// Makes sure that no other process of this machine runs the job: the lock is held until the
    /// storage is dropped, and goes with the process however that ends. With `take_over` another
    /// process loses it: its next entry of the log will be its last.
    ///
    /// # Errors
    /// If another process holds it.
    pub fn lock(
        &mut self,
        folder: &FilePath,
        (job, take_over): (&str, bool),
    ) -> Result<(), StorageError> {
        let lock = folder.join(format!(".{job}.lock"));
        let wrong = |error: std::io::Error| StorageError::Folder {
            folder: folder.into(),
            reason: error.to_string(),
        };
        loop {
            let file = File::create(&lock).map_err(wrong)?;
            match file.try_lock() {
                // Somebody who takes over puts another file in its place.
                Ok(()) if !is_file_at(&file, &lock).map_err(wrong)? => continue,
                Ok(()) => self.lock = Some(Arc::new(file)),
                Err(std::fs::TryLockError::WouldBlock) if take_over => {
                    tracing::warn!(job, "taking over from another process");
                    self.lock = Some(Arc::new(replace(&lock).map_err(wrong)?));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    let job = job.to_owned();
                    return Err(StorageError::Running { job, lock });
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(wrong(error)),
            }
            return Ok(());
        }
    }

    /// Makes an object that must not be there yet.
    pub async fn create(&self, name: &str, bytes: Bytes) -> Created {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let path = Path::from(name);
        match self.store.put_opts(&path, bytes.into(), options).await {
            Ok(_) => Created::Done,
            Err(Error::AlreadyExists { .. }) => Created::Exists,
            Err(error) => {
                tracing::warn!(object = name, %error, "an object may not have been written");
                Created::Unknown
            }
        }
    }

    /// Writes an object whose name nobody else uses.
    ///
    /// # Errors
    /// If it may not have been written.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.store.put(&Path::from(name), bytes.into()).await?;
        Ok(())
    }

    /// Reads an object; none if it is not there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, StorageError> {
        match self.store.get(&Path::from(name)).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A stretch of an object.
    ///
    /// # Errors
    /// If it cannot be read, or ends before the stretch does.
    pub async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        Ok(self.store.get_range(&Path::from(name), range).await?)
    }

    /// The length of an object and the digest of its bytes, read piece by piece; none if it is not
    /// there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn digest(&self, name: &str) -> Result<Option<(u64, Digest)>, StorageError> {
        let mut pieces = match self.store.get(&Path::from(name)).await {
            Ok(found) => found.into_stream(),
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (mut bytes, mut digest) = (0, Sha256::new());
        while let Some(piece) = pieces.try_next().await? {
            bytes += piece.len() as u64;
            digest.update(&piece);
        }
        let digest = Digest::from_bytes(digest.finalize().into());
        Ok(Some((bytes, digest)))
    }

    /// The full names of all objects below a prefix.
    ///
    /// # Errors
    /// If the listing may not be whole.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let listing = self.store.list(Some(&Path::from(prefix)));
        let names: Vec<String> = listing
            .map_ok(|object| object.location.to_string())
            .try_collect()
            .await?;
        Ok(names)
    }

    /// Deletes an object; one that is not there is deleted.
    ///
    /// # Errors
    /// If it may still be there.
    pub async fn delete(&self, name: &str) -> Result<(), StorageError> {
        match self.store.delete(&Path::from(name)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a path still leads to an open file.
fn is_file_at(file: &File, path: &FilePath) -> std::io::Result<bool> {
    let own = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts a locked file into the place of one that another process holds.
fn replace(lock: &FilePath) -> std::io::Result<File> {
    let new = lock.with_extension(format!("lock.{}", std::process::id()));
    let file = File::create(&new)?;
    file.lock()?;
    std::fs::rename(&new, lock)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn an_object_is_created_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::folder(folder.path()).expect("it can be written");
        block_on(async {
            let first = storage.create("default/j/log/1", "a".into()).await;
            let second = storage.create("default/j/log/1", "b".into()).await;
            assert_eq!((first, second), (Created::Done, Created::Exists));
            let read = storage.get("default/j/log/1").await.expect("it is there");
            assert_eq!(read.as_deref(), Some(&b"a"[..]));
            let names = storage.list("default/j/").await.expect("a listing");
            assert_eq!(names, ["default/j/log/1"]);
            storage.delete("default/j/log/1").await.expect("it goes");
            storage.delete("default/j/log/1").await.expect("again");
            assert!(
                storage
                    .get("default/j/log/1")
                    .await
                    .expect("a look")
                    .is_none()
            );
        });
    }

    #[test]
    fn a_job_runs_once_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut first = Storage::folder(folder.path()).expect("it can be written");
        let path = folder.path();
        first.lock(path, ("j", false)).expect("nobody runs it");
        let mut second = Storage::folder(folder.path()).expect("it can be written");
        let refused = second.lock(path, ("j", false)).expect_err("it runs");
        assert!(matches!(refused, StorageError::Running { .. }), "{refused}");
        second.lock(path, ("j", true)).expect("it is taken over");
        let mut third = Storage::folder(folder.path()).expect("it can be written");
        let refused = third
            .lock(path, ("j", false))
            .expect_err("another one runs");
        assert!(matches!(refused, StorageError::Running { .. }), "{refused}");
        drop(first);
        third
            .lock(path, ("j", false))
            .expect_err("it is the second's");
        drop(second);
        third.lock(path, ("j", false)).expect("it is free again");
    }
}
