//! What a file that follows does to the disk: a step a call, so that tests can stop it between any
//! two, and in the middle of one.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

/// Changes of files.
pub trait Disk: Send {
    /// Opens a file to read and write, and makes it if it is not there.
    fn open(&mut self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true);
        options.truncate(false).open(path)
    }

    /// Writes at an offset.
    fn write(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts a file.
    fn cut(&mut self, file: &File, len: u64) -> io::Result<()>;

    /// Returns when the file's bytes would outlive a power cut.
    fn sync(&mut self, file: &File) -> io::Result<()>;

    /// Gives a file another's name, and returns when that would outlive a power cut.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
}

/// The machine's own file system.
#[derive(Debug, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn write(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn cut(&mut self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}
