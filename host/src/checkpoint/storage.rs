//! Where checkpoints lie: objects in a folder of this machine, or in a bucket of a store that
//! speaks S3.

#[cfg(test)]
pub(crate) mod faults;
mod s3;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{
    Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    local::LocalFileSystem, path::Path,
};
use sha2::{Digest as _, Sha256};
use wasmill_core::{
    checkpoint::{Created, Digest},
    pipeline::Storage as Place,
};

use crate::crash_point::{CrashPoint, is_armed, reach};

/// A larger object goes into a store in parts of so many bytes.
const PART_BYTES: usize = 8 << 20;
/// So many of them at once.
const PARTS_AT_ONCE: usize = 4;
/// The folder of a user's data folder where checkpoints are kept if nobody says otherwise.
const FOLDER: &str = "checkpoints";
/// The one for rows that wait and locks, where checkpoints are kept elsewhere.
const SPOOL: &str = "spool";
/// Digits of a place's digest that tell its folder there from others.
const SPOOL_DIGITS: usize = 16;

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
    /// There is no folder for it.
    #[error(
        "neither XDG_DATA_HOME nor HOME is set: say where checkpoints are kept with --storage \
         FOLDER, or `checkpoint: off`"
    )]
    NoHome,
    /// A bucket cannot be used.
    #[error("checkpoints cannot be kept in `{place}`: {reason}")]
    Bucket {
        /// The bucket, and where its store listens.
        place: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A store in which two runs of a job could both decide.
    #[error(
        "checkpoints cannot be kept in `{place}`: its store creates an object that is there \
         already, so it does not keep to `If-None-Match: *`, and two runs of a job could both \
         decide; use a store that does"
    )]
    Unconditional {
        /// The bucket, and where its store listens.
        place: String,
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
    /// An object that is there may not outlive a power cut.
    #[error("`{name}` cannot be synced: {reason}")]
    Unsettled {
        /// The object.
        name: String,
        /// What the system said.
        reason: String,
    },
    /// An object cannot be read or written.
    #[error("{0}")]
    Object(#[from] Error),
}

/// What settles an object of a name.
type Settle = dyn Fn(&str) -> std::io::Result<()> + Send + Sync;

/// Objects by name. Every write is durable before it is told.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// Makes sure that an object that was found, and by whoever written, would outlive a power cut.
    settle: Arc<Settle>,
    /// Held while the job runs.
    lock: Option<Arc<File>>,
}

impl Storage {
    /// The objects of a place; and a folder of this machine for locks and rows that wait.
    ///
    /// # Errors
    /// If it cannot be used.
    pub async fn open(place: &Place) -> Result<(Self, PathBuf), StorageError> {
        let s3 = match place {
            Place::Folder(folder) => return Ok((Self::folder(folder.as_ref())?, folder.into())),
            Place::S3(s3) => s3,
        };
        // Jobs of one name in two buckets are two jobs.
        let digest = Digest::of(place.to_string().as_bytes()).to_string();
        let spool = data_folder()?.join(SPOOL).join(&digest[..SPOOL_DIGITS]);
        std::fs::create_dir_all(&spool).map_err(|error| StorageError::Folder {
            folder: spool.clone(),
            reason: error.to_string(),
        })?;
        Ok((s3::open(s3).await?, spool))
    }

    /// The objects of a place, to be looked at: nothing is made or changed.
    ///
    /// # Errors
    /// If it is not there.
    pub fn existing(place: &Place) -> Result<Self, StorageError> {
        match place {
            Place::Folder(folder) => Self::existing_folder(folder.as_ref()),
            Place::S3(s3) => s3::look(s3),
        }
    }

    /// The folder among a user's data where checkpoints are kept if nobody says otherwise.
    ///
    /// # Errors
    /// If there is no folder for a user's data.
    pub fn usual() -> Result<Place, StorageError> {
        let folder = data_folder()?.join(FOLDER);
        Ok(Place::Folder(folder.display().to_string()))
    }

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
        let folder = folder.to_owned();
        // The file itself was synced before it got its name.
        let settle = move |name: &str| match folder.join(name).parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        };
        Ok(Self::on(Arc::new(store.with_fsync(true)), Arc::new(settle)))
    }

    /// The objects of a store that shows only what is durable.
    fn durable(store: Arc<dyn ObjectStore>) -> Self {
        Self::on(store, Arc::new(|_: &str| Ok(())))
    }

    fn on(store: Arc<dyn ObjectStore>, settle: Arc<Settle>) -> Self {
        Self {
            store,
            settle,
            lock: None,
        }
    }

    /// The objects of a store with bad luck.
    #[cfg(test)]
    pub(super) fn faulty(store: &Arc<faults::FaultyStore>) -> Self {
        let (objects, own) = (faults::Faulty(Arc::clone(store)), Arc::clone(store));
        let settle = move |name: &str| {
            own.settle(&Path::from(name));
            Ok(())
        };
        Self::on(Arc::new(objects), Arc::new(settle))
    }

    fn existing_folder(folder: &FilePath) -> Result<Self, StorageError> {
        if !folder.is_dir() {
            let folder = folder.into();
            return Err(StorageError::Missing { folder });
        }
        let store = LocalFileSystem::new_with_prefix(folder);
        let store = store.map_err(|error| StorageError::Folder {
            folder: folder.into(),
            reason: error.to_string(),
        })?;
        Ok(Self::durable(Arc::new(store)))
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
                tracing::warn!(object = name, %error, "whether an object was written is not known");
                Created::Unknown
            }
        }
    }

    /// Writes an object whose name nobody else uses; a large one in parts.
    ///
    /// # Errors
    /// If it may not have been written.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        let path = Path::from(name);
        let part = match is_armed(CrashPoint::MidObject) {
            // Then each object has a middle.
            true => bytes.len().div_ceil(2).max(1),
            false => PART_BYTES,
        };
        if bytes.len() <= part {
            self.store.put(&path, bytes.into()).await?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(&path).await?;
        let put = put_parts(&mut *upload, &bytes, part).await;
        if put.is_err() {
            // What is left of it costs room, and nothing else.
            let _ = upload.abort().await;
        }
        Ok(put?)
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

    /// Reads an object that another process may have written, or a request without an answer, and
    /// makes sure that it stays.
    ///
    /// # Errors
    /// If it cannot be read, or may not stay.
    pub async fn get_settled(&self, name: &str) -> Result<Option<Bytes>, StorageError> {
        let found = self.get(name).await?;
        if found.is_some() {
            let (settle, own) = (Arc::clone(&self.settle), name.to_owned());
            let settled = tokio::task::spawn_blocking(move || settle(&own)).await;
            let settled = settled.map_err(std::io::Error::other).flatten();
            settled.map_err(|error| StorageError::Unsettled {
                name: name.into(),
                reason: error.to_string(),
            })?;
        }
        Ok(found)
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

/// Sends an object in parts; it is there once all are.
async fn put_parts(
    upload: &mut dyn MultipartUpload,
    bytes: &Bytes,
    part: usize,
) -> Result<(), Error> {
    let starts = (0..bytes.len()).step_by(part);
    let slices = starts.map(|start| bytes.slice(start..bytes.len().min(start + part)));
    // The order of these calls is the order of the parts.
    let parts: Vec<_> = slices.map(|slice| upload.put_part(slice.into())).collect();
    let mut sending = stream::iter(parts).buffer_unordered(PARTS_AT_ONCE);
    while let Some(sent) = sending.next().await {
        sent?;
        reach(CrashPoint::MidObject);
    }
    drop(sending);
    upload.complete().await.map(drop)
}

/// Where a user's programs keep their data.
fn data_folder() -> Result<PathBuf, StorageError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let data = variable("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/share")));
    Ok(data.ok_or(StorageError::NoHome)?.join("wasmill"))
}
