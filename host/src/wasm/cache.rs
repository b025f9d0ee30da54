//! Compiled code on disk.
//!
//! Loading code is running it, so a file is believed only if it carries our own authentication
//! code, and the bytes
//! that were checked are the bytes that are loaded. The folder is ours alone.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes of an authentication code.
const MAC_BYTES: usize = 32;

/// A folder of compiled code. Whatever is wrong with it only costs a compilation.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The code under a name, if it is there and ours.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.try_read(name)
            .inspect_err(|error| {
                if error.kind() != io::ErrorKind::NotFound {
                    let folder = self.folder.display();
                    tracing::warn!(%error, %folder, "compiled code not read");
                }
            })
            .ok()
    }

    /// Keeps code under a name.
    pub(super) fn write(&self, name: &str, code: &[u8]) {
        if let Err(error) = self.try_write(name, code) {
            tracing::warn!(%error, folder = %self.folder.display(), "compiled code not kept");
        }
    }

    fn try_read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut file = fs::read(self.folder.join(name))?;
        let mac = self.mac(name)?;
        let code_len = file
            .len()
            .checked_sub(MAC_BYTES)
            .ok_or(io::ErrorKind::InvalidData)?;
        mac.chain_update(&file[..code_len])
            .verify_slice(&file[code_len..])
            .map_err(|_| io::Error::other("the file is not what was written"))?;
        file.truncate(code_len);
        Ok(file)
    }

    fn try_write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let mac = self.mac(name)?.chain_update(code).finalize();
        // Others may read the old file, or write the same one: replace it in one step.
        let fresh = self.folder.join(format!(".{name}.{}", std::process::id()));
        let mut file = private().create(true).truncate(true).open(&fresh)?;
        file.write_all(code)?;
        file.write_all(&mac.into_bytes())?;
        drop(file);
        fs::rename(&fresh, self.folder.join(name))
    }

    /// An authentication code under this folder's key that begins with the file's name.
    fn mac(&self, name: &str) -> io::Result<Hmac<Sha256>> {
        let key = self.key()?;
        let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(io::Error::other)?;
        Ok(mac.chain_update(name.as_bytes()).chain_update([0]))
    }

    /// The folder's key, made once.
    fn key(&self) -> io::Result<Vec<u8>> {
        self.check_folder()?;
        let path = self.folder.join("key");
        if let Some(key) = read_key(&path)? {
            return Ok(key);
        }
        let mut key = [0; MAC_BYTES];
        fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
        let fresh = self.folder.join(format!(".key.{}", std::process::id()));
        private()
            .create(true)
            .truncate(true)
            .open(&fresh)?
            .write_all(&key)?;
        // Of several processes that make a key, the first to link it wins.
        let linked = fs::hard_link(&fresh, &path);
        fs::remove_file(&fresh)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => read_key(&path)?.ok_or_else(|| io::Error::other("the key is gone")),
        }
    }

    fn check_folder(&self) -> io::Result<()> {
        if let Some(parent) = self.folder.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(&self.folder)?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("the folder belongs to somebody else"));
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(&self.folder, Permissions::from_mode(0o700))?;
        }
        Ok(())
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn read_key(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(key) if key.len() == MAC_BYTES => Ok(Some(key)),
        Ok(_) => Err(io::Error::other("the key is damaged: remove the folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
