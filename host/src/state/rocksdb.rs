//! The disk behind a cache of keys: RocksDB, without a log. Segments are the truth; what lies here
//! is wiped at the start and gone with the process.
//!
//! One space of keys holds three kinds of entries, told apart by their first byte: records of keys;
//! the keys that changed, by stretch between barriers; and when keys with timers are to be woken.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRawIteratorWithThreadMode, Options,
    ReadOptions, Snapshot, WriteBatch, WriteOptions, compaction_filter::Decision,
};

use super::spill::{Scratch, is_over};

const RECORD: u8 = 0;
const CHANGED: u8 = 1;
const WAKE: u8 = 2;

/// Bits of the filter for each key: one in a hundred keys that are not there is looked for.
const BLOOM_BITS: f64 = 10.0;

/// Records that are passed one by one before a place is searched for: it costs as much as some.
const STEPS: usize = 16;

/// The clocks by which records expire: not ahead of those of any image that is still read, because
/// what expires leaves snapshots too.
#[derive(Debug)]
pub(super) struct DiskClocks {
    event: AtomicI64,
    processing: AtomicI64,
    /// Those of the images.
    frozen: Mutex<Vec<Arc<Clocks>>>,
}

/// Event time, and processing time.
type Clocks = (i64, i64);

impl DiskClocks {
    pub(super) fn new() -> Self {
        Self {
            event: AtomicI64::new(i64::MIN),
            processing: AtomicI64::new(i64::MIN),
            frozen: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn set(&self, event: i64, processing: i64) {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever reads an image has a share of its clocks.
        frozen.retain(|clocks| Arc::strong_count(clocks) > 1);
        let clocks = frozen.iter().map(|clocks| **clocks);
        let (event, processing) = clocks.fold((event, processing), |least, clocks| {
            (least.0.min(clocks.0), least.1.min(clocks.1))
        });
        self.event.store(event, Ordering::Relaxed);
        self.processing.store(processing, Ordering::Relaxed);
    }

    fn get(&self) -> Clocks {
        let event = self.event.load(Ordering::Relaxed);
        (event, self.processing.load(Ordering::Relaxed))
    }

    /// They stay behind where they are now as long as this lives.
    fn freeze(&self) -> Arc<Clocks> {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        let clocks = Arc::new(self.get());
        frozen.push(clocks.clone());
        clocks
    }
}

/// A database.
pub(super) struct Disk {
    open: Arc<Open>,
    write: WriteOptions,
    clocks: Arc<DiskClocks>,
}

/// An open database, and the folder that may go when it is closed: fields are dropped in their
/// order.
struct Open {
    db: DB,
    _scratch: Arc<Scratch>,
}

/// What is written together.
#[derive(Default)]
pub(super) struct Batch(WriteBatch);

/// The disk as it was at a moment.
pub(super) struct Frozen {
    /// It goes before the database that it belongs to: fields are dropped in their order.
    snapshot: Snapshot<'static>,
    _open: Arc<Open>,
    _clocks: Arc<Clocks>,
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Frozen(..)")
    }
}

/// Entries of one kind, in their order.
pub(super) struct Entries<'a> {
    iterator: DBRawIteratorWithThreadMode<'a, DB>,
    skipped: usize,
}

/// An entry's name and value.
type Entry<'a> = (&'a [u8], &'a [u8]);

impl Batch {
    pub(super) fn bytes(&self) -> usize {
        self.0.size_in_bytes()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn put(&mut self, place: &[u8], record: &[u8]) {
        self.0.put(name(RECORD, &[place]), record);
    }

    pub(super) fn delete(&mut self, place: &[u8]) {
        self.0.delete(name(RECORD, &[place]));
    }

    /// The key changed in this stretch.
    pub(super) fn changed(&mut self, generation: u64, place: &[u8]) {
        let name = name(CHANGED, &[&generation.to_be_bytes(), place]);
        self.0.put(name, []);
    }

    /// Nobody asks any more what changed before this stretch.
    pub(super) fn forget_changes(&mut self, before: u64) {
        let (from, to) = (0_u64.to_be_bytes(), before.to_be_bytes());
        self.0
            .delete_range(name(CHANGED, &[&from]), name(CHANGED, &[&to]));
    }

    /// The key is to be woken at a time of a domain.
    pub(super) fn wake(&mut self, domain: u8, time: i64, place: &[u8]) {
        self.0
            .put(name(WAKE, &[&[domain], &ordered(time), place]), []);
    }

    fn delete_wake(&mut self, entry: &[u8]) {
        self.0.delete(name(WAKE, &[entry]));
    }
}

fn name(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut name = vec![kind];
    parts.iter().for_each(|part| name.extend_from_slice(part));
    name
}

/// A time whose bytes sort as times do.
fn ordered(time: i64) -> [u8; 8] {
    (time as u64 ^ 1 << 63).to_be_bytes()
}

impl Disk {
    /// A new database in a folder that is empty, which keeps about so many bytes in memory.
    pub(super) fn create(
        (scratch, folder): (&Arc<Scratch>, &Path),
        bytes: usize,
        clocks: Arc<DiskClocks>,
    ) -> Result<Self, String> {
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&Cache::new_lru_cache(bytes / 2));
        tables.set_bloom_filter(BLOOM_BITS, false);
        tables.set_cache_index_and_filter_blocks(true);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&tables);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size((bytes / 4).clamp(64 << 10, 64 << 20));
        options.set_max_write_buffer_number(2);
        options.set_keep_log_file_num(1);
        let of_filter = clocks.clone();
        options.set_compaction_filter("wasmill.expired", move |_, name, value| {
            match name.first() == Some(&RECORD) && is_over(value, of_filter.get()) {
                true => Decision::Remove,
                false => Decision::Keep,
            }
        });
        let db = DB::open(&options, folder).map_err(|error| error.to_string())?;
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        let open = Open {
            db,
            _scratch: scratch.clone(),
        };
        Ok(Self {
            open: Arc::new(open),
            write,
            clocks,
        })
    }

    pub(super) fn write(&self, batch: Batch) -> Result<(), String> {
        let written = self.open.db.write_opt(batch.0, &self.write);
        written.map_err(|error| error.to_string())
    }

    /// The records of several keys.
    pub(super) fn get(&self, places: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, String> {
        let names = places.iter().map(|place| name(RECORD, &[place]));
        let found = self.open.db.multi_get(names);
        let found = found
            .into_iter()
            .map(|it| it.map_err(|error| error.to_string()));
        found.collect()
    }

    /// Takes out the keys that are to be woken up to a time, the earliest first and at most so
    /// many, and gives when the next one is.
    pub(super) fn take_due(
        &self,
        domain: u8,
        until: i64,
        keys_max: usize,
    ) -> Result<(Vec<Vec<u8>>, Option<i64>), String> {
        let mut entries = Entries {
            iterator: self.open.db.raw_iterator_opt(bounds(WAKE, &[&[domain]])),
            skipped: 1,
        };
        entries.iterator.seek_to_first();
        let (mut due, mut taken, mut next) = (Vec::new(), Batch::default(), None);
        while let Some((entry, _)) = entries.current()? {
            let time = entry.get(1..9).and_then(|bytes| bytes.try_into().ok());
            let time = (u64::from_be_bytes(time.unwrap_or_default()) ^ 1 << 63) as i64;
            if time > until || due.len() == keys_max {
                next = Some(time);
                break;
            }
            due.push(entry.get(9..).unwrap_or_default().to_vec());
            taken.delete_wake(entry);
            entries.advance();
        }
        drop(entries);
        self.write(taken)?;
        Ok((due, next))
    }

    /// The disk as it is now. What has not expired by now stays in it.
    #[expect(unsafe_code, reason = "an image outlives whoever took it")]
    pub(super) fn freeze(&self) -> Frozen {
        let clocks = self.clocks.freeze();
        let snapshot = self.open.db.snapshot();
        // SAFETY: the snapshot borrows the database, which lives as long as the last `Arc` of it:
        // one goes with the snapshot and is dropped after it. The lifetime is never given away: all
        // that borrows from the snapshot borrows from its owner.
        let snapshot = unsafe { std::mem::transmute::<Snapshot<'_>, Snapshot<'static>>(snapshot) };
        Frozen {
            snapshot,
            _open: self.open.clone(),
            _clocks: clocks,
        }
    }
}

impl Frozen {
    /// All records: places and what is kept.
    pub(super) fn records(&self) -> Entries<'_> {
        self.entries(RECORD, &[])
    }

    /// The places of the keys that changed in a stretch and left memory.
    pub(super) fn changed(&self, generation: u64) -> Entries<'_> {
        self.entries(CHANGED, &[&generation.to_be_bytes()])
    }

    fn entries(&self, kind: u8, prefix: &[&[u8]]) -> Entries<'_> {
        let mut iterator = self.snapshot.raw_iterator_opt(bounds(kind, prefix));
        iterator.seek_to_first();
        let skipped = name(kind, prefix).len();
        Entries { iterator, skipped }
    }
}

/// Reads what begins with a prefix, past the cache of blocks.
fn bounds(kind: u8, prefix: &[&[u8]]) -> ReadOptions {
    let from = name(kind, prefix);
    let mut to = from.clone();
    // A prefix whose last byte is the largest is followed by a shorter one.
    while let Some(last) = to.pop() {
        if last < u8::MAX {
            to.push(last + 1);
            break;
        }
    }
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    options
}

impl Entries<'_> {
    /// The entry's name behind the prefix, and its value; none at the end.
    pub(super) fn current(&self) -> Result<Option<Entry<'_>>, String> {
        match self.iterator.item() {
            Some((name, value)) => Ok(Some((name.get(self.skipped..).unwrap_or_default(), value))),
            None => self
                .iterator
                .status()
                .map(|()| None)
                .map_err(|error| error.to_string()),
        }
    }

    pub(super) fn advance(&mut self) {
        self.iterator.next();
    }

    /// Goes on to the first record that does not stand before a place, which is not before the
    /// last one that was asked for.
    pub(super) fn advance_to(&mut self, place: &[u8]) -> Result<(), String> {
        for _ in 0..STEPS {
            match self.current()? {
                Some((name, _)) if name < place => self.iterator.next(),
                _ => return Ok(()),
            }
        }
        self.iterator.seek(name(RECORD, &[place]));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places that an image of the disk has records of.
    fn places(frozen: &Frozen) -> Vec<Vec<u8>> {
        let mut entries = frozen.records();
        let mut places = Vec::new();
        while let Some((place, _)) = entries.current().expect("a disk") {
            places.push(place.to_vec());
            entries.advance();
        }
        places
    }

    #[test]
    fn what_expires_behind_a_barrier_stays_in_its_image() {
        let root = tempfile::tempdir().expect("a folder");
        let scratch = crate::state::scratch(root.path(), "job").expect("a folder");
        let clocks = Arc::new(DiskClocks::new());
        let folder = root.path().join("disk");
        let disk = Disk::create((&scratch, &folder), 1 << 20, clocks.clone()).expect("a disk");
        let record = |until: i64| [until.to_le_bytes(), i64::MIN.to_le_bytes()].concat();
        let mut batch = Batch::default();
        batch.put(b"00first", &record(10));
        batch.put(b"00second", &record(20));
        disk.write(batch).expect("a disk");
        let tidy = || {
            disk.open.db.flush().expect("a disk");
            disk.open.db.compact_range(None::<&[u8]>, None::<&[u8]>);
        };
        clocks.set(15, 0);
        let frozen = disk.freeze();
        clocks.set(30, 0);
        tidy();
        assert_eq!(places(&frozen), [b"00second".to_vec()]);
        drop(frozen);
        clocks.set(30, 0);
        // Tables that are tidy already are left alone.
        let mut batch = Batch::default();
        batch.put(b"00third", &record(40));
        disk.write(batch).expect("a disk");
        tidy();
        let found = disk.get(&[b"00second".to_vec(), b"00third".to_vec()]);
        let found = found.expect("a disk");
        assert_eq!(found, [None, Some(record(40))]);
    }
}
