//! Files and standard input as splits: plain, gzip or zstd, listed or matched, finished or growing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read, Seek},
    os::fd::AsFd,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use wasmill_core::pipeline::document::{self, Compression};

use super::{
    ConnectorError, Position, SplitReader, Waiter,
    reader::{Input, RowReader},
};

pub use super::reader::RowOptions;

/// The files of a source, found again and again: a file is one split.
#[derive(Debug)]
pub struct FileSource {
    paths: Vec<String>,
    compression: Compression,
    follow: bool,
    known: BTreeSet<PathBuf>,
    /// The numbers of files that a checkpoint knows, by name.
    numbered: BTreeMap<String, u32>,
    /// The number of the next file that it does not know.
    next: u32,
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSplit {
    /// Its number within the source: files count from 0 as they are found.
    pub split: u32,
    /// Where it is; this is also the split's name.
    pub path: PathBuf,
}

impl FileSource {
    /// The files of paths, folders (each file in it whose name does not start with a dot) and globs
    /// such as
    /// `in/*.jsonl.gz`; relative ones start at `folder`.
    pub fn new(source: &document::FileSource, folder: &Path) -> Self {
        let full = |path| folder.join(path).to_string_lossy().into_owned();
        Self {
            paths: source.path.iter().map(full).collect(),
            compression: source.compression,
            follow: source.follow,
            known: BTreeSet::new(),
            numbered: BTreeMap::new(),
            next: 0,
        }
    }

    /// Files that had these numbers when a checkpoint was taken; others come behind them.
    pub fn number(&mut self, known: impl IntoIterator<Item = (String, u32)>) {
        for (name, split) in known {
            self.next = self.next.max(split + 1);
            self.numbered.insert(name, split);
        }
    }

    /// The files that are new since the last call: those of a glob or folder by name, lists in
    /// their order.
    pub fn discover(&mut self) -> Result<Vec<FileSplit>, ConnectorError> {
        let mut splits = Vec::new();
        for path in &self.paths {
            for path in self.found(path)? {
                if !self.known.insert(path.clone()) {
                    continue;
                }
                let split = self.numbered.get(&split_name(&path)).copied();
                let split = split.unwrap_or_else(|| {
                    self.next += 1;
                    self.next - 1
                });
                splits.push(FileSplit { split, path });
            }
        }
        Ok(splits)
    }

    /// What is wrong with the source's paths as things stand, by their positions in its list.
    pub fn check(&self) -> Vec<(usize, ConnectorError)> {
        let paths = self.paths.iter().enumerate();
        paths
            .filter_map(|(at, path)| Some((at, self.found(path).err()?)))
            .collect()
    }

    /// Whether a file is one of the source's, or would be if it was there.
    pub fn reads(&self, file: &Path) -> bool {
        if file.exists() && !file.is_file() {
            return false;
        }
        let file = whole(file);
        let (folder, name) = (file.parent(), file.file_name().and_then(|it| it.to_str()));
        self.paths.iter().any(|path| {
            // Links lead there, too.
            if find(path).is_ok_and(|found| found.iter().any(|it| whole(it) == file)) {
                return true;
            }
            let path = Path::new(path);
            if path.is_dir() {
                let is_hidden = name.is_some_and(|name| name.starts_with('.'));
                return !is_hidden && folder == Some(&whole(path));
            }
            !path.exists() && is_like(path, &file)
        })
    }

    /// The files of one of the paths. There must be one, unless the source waits for more.
    fn found(&self, path: &str) -> Result<Vec<PathBuf>, ConnectorError> {
        let found = find(path)?;
        if found.is_empty() && !self.follow {
            return Err(ConnectorError::NoMatch {
                pattern: path.into(),
            });
        }
        Ok(found)
    }

    /// Opens a file, to be read from a position on. With a waiter its reader waits for more rows at
    /// the end, until the waiter says to stop; packed files are read once.
    pub fn open(
        &self,
        split: &FileSplit,
        options: RowOptions,
        waiter: Option<Box<dyn Waiter>>,
        from: Position,
    ) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let path = split.path.clone();
        let read_error = |source| ConnectorError::Read {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(read_error)?;
        let name: Arc<str> = split_name(&path).into();
        let input: Box<dyn Read + Send> = match self.packing(&path) {
            Compression::Gzip => Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(
                1 << 17,
                file,
            ))),
            Compression::Zstd => Box::new(zstd::Decoder::new(file).map_err(read_error)?),
            Compression::Auto | Compression::None => {
                let input = PlainFile {
                    file,
                    path: path.clone(),
                };
                let reader = RowReader::new(input, options, split.split, name, waiter);
                return Ok(Box::new(reader.resume_at(from)?));
            }
        };
        let input = PackedFile { input, path };
        let reader = RowReader::new(input, options, split.split, name, None);
        Ok(Box::new(reader.resume_at(from)?))
    }

    /// Whether a file is read unpacked, so that what is read is longer than it.
    pub fn is_packed(&self, path: &Path) -> bool {
        matches!(self.packing(path), Compression::Gzip | Compression::Zstd)
    }

    fn packing(&self, path: &Path) -> Compression {
        let end = path.extension().and_then(|end| end.to_str());
        match (self.compression, end) {
            (Compression::Auto, Some("gz")) => Compression::Gzip,
            (Compression::Auto, Some("zst" | "zstd")) => Compression::Zstd,
            (declared, _) => declared,
        }
    }
}

/// Opens standard input as split 0.
pub fn open_stdin(options: RowOptions) -> Box<dyn SplitReader> {
    Box::new(RowReader::new(
        Handle(io::stdin()),
        options,
        0,
        "stdin".into(),
        None,
    ))
}

/// Whether a pattern matches a file that may not be there yet.
fn is_like(pattern: &Path, file: &Path) -> bool {
    let pattern = std::path::absolute(pattern).unwrap_or_else(|_| pattern.into());
    let pattern = pattern.to_str().and_then(|it| glob::Pattern::new(it).ok());
    let options = glob::MatchOptions {
        require_literal_separator: true,
        ..glob::MatchOptions::new()
    };
    pattern.is_some_and(|pattern| pattern.matches_path_with(file, options))
}

/// A path from the root, its links followed as far as it is there.
fn whole(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize();
    match (folder, path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.into(),
    }
}

/// The files that a path, folder or glob means.
fn find(path: &str) -> Result<Vec<PathBuf>, ConnectorError> {
    let literal = Path::new(path);
    if literal.is_dir() {
        return folder(literal);
    }
    if literal.exists() {
        return Ok(vec![literal.into()]);
    }
    let matches = glob::glob(path).map_err(|error| ConnectorError::Pattern {
        pattern: path.into(),
        reason: error.msg.into(),
    })?;
    let mut files = Vec::new();
    for found in matches {
        let found = found.map_err(|error| ConnectorError::Read {
            path: error.path().into(),
            source: error.into(),
        })?;
        if found.is_file() {
            files.push(found);
        }
    }
    Ok(files)
}

fn folder(path: &Path) -> Result<Vec<PathBuf>, ConnectorError> {
    let error = |source| ConnectorError::Read {
        path: path.into(),
        source,
    };
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(error)? {
        let entry = entry.map_err(error)?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// A file as it stands on the disk.
struct PlainFile {
    file: File,
    path: PathBuf,
}

impl Input for PlainFile {
    fn read(&mut self, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        read_once(&self.file, into, bytes_max)
    }

    fn skip(&mut self, _count: u64, to: u64) -> Result<(), ConnectorError> {
        let metadata = self.file.metadata().map_err(|error| self.error(error))?;
        if metadata.is_file() && metadata.len() < to {
            return Err(self.changed(metadata.len(), to));
        }
        let sought = self.file.seek(io::SeekFrom::Start(to));
        sought.map(drop).map_err(|error| self.error(error))
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn check(&mut self) -> Result<(), ConnectorError> {
        let at = self
            .file
            .stream_position()
            .map_err(|error| self.error(error));
        // A pipe has no position, and cannot shrink.
        let Ok(at) = at else { return Ok(()) };
        let metadata = self.file.metadata().map_err(|error| self.error(error))?;
        if metadata.is_file() && metadata.len() < at {
            return Err(ConnectorError::Shrunk {
                path: self.path.clone(),
            });
        }
        Ok(())
    }
}

/// A compressed file.
struct PackedFile {
    input: Box<dyn Read + Send>,
    path: PathBuf,
}

impl Input for PackedFile {
    fn read(&mut self, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        self.input.by_ref().take(bytes_max as u64).read_to_end(into)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// An open handle that gives what there is: standard input.
struct Handle<F>(F);

impl<F: AsFd + Send> Input for Handle<F> {
    fn read(&mut self, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        read_once(&self.0, into, bytes_max)
    }

    /// What comes now has not been read before.
    fn skip(&mut self, _count: u64, _to: u64) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn path(&self) -> &Path {
        Path::new("stdin")
    }
}

/// One read into the vector's spare room, which need not be zeroed for it.
fn read_once(from: impl AsFd, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
    debug_assert!(
        into.capacity() - into.len() >= bytes_max,
        "the reader has made room"
    );
    loop {
        match rustix::io::read(&from, rustix::buffer::spare_capacity(into)) {
            Err(rustix::io::Errno::INTR) => (),
            other => return Ok(other?),
        }
    }
}

/// A file's name as a split: its path without detours, `b` for `a/../b`.
pub fn split_name(path: &Path) -> String {
    direct(path).to_string_lossy().into_owned()
}

fn direct(path: &Path) -> PathBuf {
    let mut direct = PathBuf::new();
    for part in path.components() {
        match (part, direct.components().next_back()) {
            (Component::ParentDir, Some(Component::Normal(_))) => {
                direct.pop();
            }
            _ => direct.push(part),
        }
    }
    direct
}

#[cfg(test)]
mod tests;
