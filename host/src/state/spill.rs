//! State that is larger than memory: the keys in memory are a write-back cache of those on disk.
//!
//! A key is in memory with all that its task keeps of it, or on disk as one record. Keys that a
//! batch needs and that are not here are fetched together by a thread of the subtask, while the
//! task is parked; keys that were not used lately leave when the memory is full. The disk has older
//! records of keys that are here: whoever reads both believes memory.
//!
//! What checkpoints need is kept track of on both sides: keys that changed and left are noted on
//! disk, by the stretch between two barriers in which they did, and so are the timers of keys that
//! are not here.

mod image;
mod record;
mod resident;
mod thread;

use std::{path::Path, sync::Arc};

use wasmill_core::timer::TimeDomain;

use super::image::KeyRows;
use super::index::KeyIndex;
use super::rocksdb::{Batch, DiskClocks};
use super::{BatchKeys, RestoreError};
use crate::allocator;
use crate::crash_point::{CrashPoint, reach};
use crate::segment::SegmentError;
use record::{About, keys_of, place};
use thread::{Answer, DiskThread, Order};

pub use image::DiskImage;
pub(super) use image::{Lookups, Places};
pub(super) use record::is_over;
pub use resident::{Kept, Resident, Residents};
pub use thread::Scratch;

/// So much is written together.
const WRITE_BYTES: usize = 1 << 20;
/// Keys that are woken from disk together.
const WOKEN_KEYS_MAX: usize = 1_024;
/// Keys that leave memory between two looks at how much is left.
const LEAVE_TOGETHER: usize = 32;

/// Why state cannot leave memory or come back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpillError {
    /// The disk does not do what it should.
    #[error(
        "state cannot be kept in `{folder}`: {reason}; make room, or set `state: {{ directory: \
         FOLDER }}` to another one"
    )]
    Disk {
        /// The folder.
        folder: String,
        /// What is wrong.
        reason: String,
    },
    /// A record that this process wrote cannot be read.
    #[error("a record of state in `{folder}` is damaged")]
    Damaged {
        /// The folder.
        folder: String,
    },
    /// A key's state is more than can be written.
    #[error(transparent)]
    Row(#[from] SegmentError),
    /// What was read is no state of these operators.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// The keys of a subtask that are not in memory.
pub struct Spill {
    /// Bytes that keys in memory may take.
    budget: usize,
    disk: DiskThread,
    /// By address, over all residents.
    about: Vec<About>,
    /// The first address of each resident.
    bases: Vec<usize>,
    batch: Batch,
    /// Whether the disk may have any record.
    has_records: bool,
    /// Keys on disk that are not in memory.
    cold: usize,
    /// No key on disk is to be woken before, by domain.
    wakes: [i64; 2],
    /// What is due before this event-time clock has been done for the keys in memory.
    done: i64,
    clocks: Arc<DiskClocks>,
    folder: String,
}

impl Spill {
    /// For a subtask that may use so many bytes of memory; its keys leave for a new folder below
    /// `scratch`.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn new(
        scratch: &Arc<Scratch>,
        (name, bytes): (&str, usize),
        index: &mut KeyIndex,
        residents: &mut Residents<'_>,
    ) -> Result<Self, SpillError> {
        let (mut about, mut bases) = (Vec::new(), Vec::new());
        for resident in residents {
            resident.begin();
            bases.push(about.len());
            let kept = resident.kept().into_iter();
            about.extend(kept.map(|kept| About {
                ttl: kept.ttl,
                timer: kept.timer,
            }));
        }
        index.spill();
        let folder = scratch.folder(name);
        let text = folder.display().to_string();
        let clocks = Arc::new(DiskClocks::new());
        // A quarter is for what the disk has under way and in its own cache.
        let disk = DiskThread::start(scratch, folder, bytes / 4, clocks.clone());
        let disk = disk.map_err(|reason| disk_error(&text, reason))?;
        Ok(Self {
            budget: bytes - bytes / 4,
            disk,
            about,
            bases,
            batch: Batch::default(),
            has_records: false,
            cold: 0,
            wakes: [i64::MAX; 2],
            done: i64::MIN,
            clocks,
            folder: text,
        })
    }

    /// The clocks by which what is on disk expires.
    pub fn set_clocks(&self, event: i64, processing: i64) {
        self.clocks.set(event, processing);
    }

    /// Brings the keys of a batch into memory that have just become known and are on disk. Called
    /// right after their lookup, before which [`KeyIndex::recycle`] was called.
    ///
    /// # Errors
    /// If the disk does not give them.
    pub async fn fetch(
        &mut self,
        batch: &BatchKeys,
        index: &mut KeyIndex,
        residents: &mut Residents<'_>,
    ) -> Result<(), SpillError> {
        self.bring_in((batch, None), index, residents).await
    }

    /// Where a time has passed: of event time, what is due before has not been done for keys that
    /// left when all before an earlier one had been.
    async fn bring_in(
        &mut self,
        (batch, passed): (&BatchKeys, Option<(TimeDomain, i64)>),
        index: &mut KeyIndex,
        residents: &mut Residents<'_>,
    ) -> Result<(), SpillError> {
        self.forget_gone(index);
        index.use_all(&batch.ids);
        if !self.has_records || index.newcomers().is_empty() {
            return Ok(());
        }
        // In the order in which they lie on disk.
        let ids = index.newcomers().iter();
        let mut places: Vec<(Vec<u8>, u32)> = ids.map(|id| (index.place_of(*id), *id)).collect();
        places.sort_unstable();
        let (places, ids): (Vec<_>, Vec<u32>) = places.into_iter().unzip();
        self.send_batch().await?;
        let Answer::Records(records) = self.ask(Order::Get(places)).await? else {
            return Err(self.lost());
        };
        let records = ids.into_iter().zip(records);
        let records = records.filter_map(|(id, record)| Some((id, record?)));
        let is_due = |(_, record): &(u32, Vec<u8>)| match passed {
            Some((TimeDomain::Event, clock)) => record::done(record).is_none_or(|at| at < clock),
            Some((TimeDomain::Processing, _)) => true,
            None => false,
        };
        let (due, others): (Vec<_>, Vec<_>) = records.partition(is_due);
        let has_come_back = !due.is_empty() || !others.is_empty();
        for (records, due) in [(others, None), (due, passed.map(|(domain, _)| domain))] {
            for (id, record) in records {
                self.take_record(id, &record, index, residents)?;
            }
            for resident in residents.iter_mut() {
                resident.taken(due)?;
            }
        }
        if has_come_back {
            reach(CrashPoint::KeysFetched);
        }
        Ok(())
    }

    /// Has the keys leave that are too many. Called between two batches.
    ///
    /// # Errors
    /// If the disk does not take them.
    pub async fn settle(
        &mut self,
        index: &mut KeyIndex,
        residents: &mut Residents<'_>,
    ) -> Result<(), SpillError> {
        while self.leave(index, residents)? {
            self.send_batch().await?;
        }
        if self.batch.bytes() >= WRITE_BYTES {
            self.send_batch().await?;
        }
        Ok(())
    }

    /// As [`Spill::settle`], where a thread may wait: before the first row.
    ///
    /// # Errors
    /// If the disk does not take them.
    pub fn settle_now(
        &mut self,
        index: &mut KeyIndex,
        residents: &mut Residents<'_>,
    ) -> Result<(), SpillError> {
        loop {
            let has_more = self.leave(index, residents)?;
            if self.batch.bytes() >= WRITE_BYTES {
                let batch = std::mem::take(&mut self.batch);
                let written = self.disk.send_now(Order::Write(batch));
                written.map_err(|reason| disk_error(&self.folder, reason))?;
            }
            if !has_more {
                return Ok(());
            }
        }
    }

    /// Keys on disk that are due at a clock, at most some, made known and brought into memory; none
    /// if no key is. Called again until there is none.
    ///
    /// # Errors
    /// If the disk does not give them.
    pub async fn wake(
        &mut self,
        (domain, clock): (TimeDomain, i64),
        index: &mut KeyIndex,
        residents: &mut Residents<'_>,
    ) -> Result<bool, SpillError> {
        if domain == TimeDomain::Event {
            self.done = self.done.max(clock);
        }
        if !domain.is_due(self.wakes[place(domain)], clock) {
            return Ok(false);
        }
        self.send_batch().await?;
        // Due is what lies before the clock in one domain, and what lies at it too in the other.
        let until = match domain {
            TimeDomain::Event => clock.saturating_sub(1),
            TimeDomain::Processing => clock,
        };
        let order = Order::TakeDue(place(domain) as u8, until, WOKEN_KEYS_MAX);
        let Answer::Due(due, next) = self.ask(order).await? else {
            return Err(self.lost());
        };
        self.wakes[place(domain)] = next.unwrap_or(i64::MAX);
        if !due.is_empty() {
            reach(CrashPoint::KeysWoken);
        }
        let mut batch = BatchKeys::default();
        index.recycle();
        let keys = keys_of(&due, index.is_word()).ok_or_else(|| self.damaged())?;
        index.lookup(&keys, &keys.hashes(), &mut batch);
        let passed = Some((domain, clock));
        self.bring_in((&batch, passed), index, residents).await?;
        Ok(!due.is_empty())
    }

    /// The earliest processing time at which a key on disk may be due.
    pub fn next_tick(&self) -> Option<i64> {
        let next = self.wakes[place(TimeDomain::Processing)];
        (next < i64::MAX).then_some(next)
    }

    /// The disk as of a barrier, for the images that are taken with it.
    ///
    /// # Errors
    /// If the disk has failed.
    pub async fn image(&mut self, index: &mut KeyIndex) -> Result<DiskImage, SpillError> {
        self.forget_gone(index);
        self.batch.forget_changes(index.oldest_changes());
        self.send_batch().await?;
        let Answer::Frozen(frozen) = self.ask(Order::Freeze).await? else {
            return Err(self.lost());
        };
        reach(CrashPoint::DiskTaken);
        Ok(DiskImage::new(frozen, self.cold, self.bases.clone()))
    }

    /// Removes the records of keys that are gone.
    fn forget_gone(&mut self, index: &mut KeyIndex) {
        for place in index.take_gone() {
            self.batch.delete(&place);
        }
    }

    /// Writes keys into the batch until few enough are left, or the batch is full: true then.
    fn leave(
        &mut self,
        index: &mut KeyIndex,
        residents: &mut Residents<'_>,
    ) -> Result<bool, SpillError> {
        if live_bytes(index, residents) <= self.budget {
            return Ok(false);
        }
        // Some more, so that not each batch has keys leave.
        let wanted = self.budget - self.budget / 16;
        let mut busy = 0;
        while live_bytes(index, residents) > wanted {
            for _ in 0..LEAVE_TOGETHER {
                let Some(id) = index.victim().filter(|_| busy <= index.len()) else {
                    return Ok(false);
                };
                match residents.iter().any(|resident| resident.is_busy(id)) {
                    true => busy += 1,
                    false => self.put_away(id, index, residents)?,
                }
            }
            if self.batch.bytes() >= WRITE_BYTES {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn put_away(
        &mut self,
        id: u32,
        index: &mut KeyIndex,
        residents: &mut Residents<'_>,
    ) -> Result<(), SpillError> {
        let place_on_disk = index.place_of(id);
        let (group, key) = split(&place_on_disk).ok_or_else(|| self.damaged())?;
        let mut record = record::Writer::new(&self.about);
        for (resident, base) in residents.iter().zip(&self.bases) {
            let mut rows = KeyRows::new(&mut record, (group, key), *base);
            resident.write_key(id, &mut rows)?;
        }
        // To let go of what is kept counts as a change too.
        let is_unsaved = index.is_unsaved(id);
        for resident in residents.iter_mut() {
            resident.drop_key(id, index);
        }
        if record.is_empty() {
            // What was kept of it is over: it is gone, not away.
            index.recycle();
            return Ok(());
        }
        let changed_in = index.evict(id);
        let wakes = record.wakes;
        if is_unsaved || record.is_timely {
            let record = record.finish(self.done);
            self.batch.put(&place_on_disk, &record);
        }
        if let Some(generation) = changed_in {
            self.batch.changed(generation, &place_on_disk);
        }
        for domain in [TimeDomain::Event, TimeDomain::Processing] {
            let at = place(domain);
            if let Some(time) = wakes[at] {
                self.batch.wake(at as u8, time, &place_on_disk);
                self.wakes[at] = self.wakes[at].min(time);
            }
        }
        self.cold += 1;
        self.has_records = true;
        Ok(())
    }

    fn take_record(
        &mut self,
        id: u32,
        record: &[u8],
        index: &mut KeyIndex,
        residents: &mut Residents<'_>,
    ) -> Result<(), SpillError> {
        let place = index.place_of(id);
        let place = split(&place).ok_or_else(|| self.damaged())?;
        for row in record::rows(place, record) {
            let mut row = row.ok_or_else(|| self.damaged())?;
            let owner = self.bases.partition_point(|base| *base <= row.address);
            let owner = owner.checked_sub(1).ok_or_else(|| self.damaged())?;
            row.address -= self.bases[owner];
            residents[owner].take_row((id, &row), index)?;
        }
        index.loaded(id);
        self.cold = self.cold.saturating_sub(1);
        Ok(())
    }

    async fn send_batch(&mut self) -> Result<(), SpillError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let sent = self.disk.send(Order::Write(batch)).await;
        sent.map_err(|reason| disk_error(&self.folder, reason))
    }

    async fn ask(&mut self, order: Order) -> Result<Answer, SpillError> {
        let answer = self.disk.ask(order).await;
        answer.map_err(|reason| disk_error(&self.folder, reason))
    }

    fn damaged(&self) -> SpillError {
        SpillError::Damaged {
            folder: self.folder.clone(),
        }
    }

    fn lost(&self) -> SpillError {
        disk_error(&self.folder, "an answer is to another question".into())
    }
}

fn disk_error(folder: &str, reason: String) -> SpillError {
    SpillError::Disk {
        folder: folder.to_owned(),
        reason,
    }
}

/// What the keys in memory take: of the pages that keys share, as much as there are keys.
fn live_bytes(index: &KeyIndex, residents: &Residents<'_>) -> usize {
    let (mut shared, mut own) = (index.bytes(), 0);
    for resident in residents {
        let (pages, content) = resident.bytes();
        shared += pages;
        own += content;
    }
    let ids = index.ids_end().max(1);
    own + (shared as u128 * index.len() as u128 / ids as u128) as usize
}

/// A place's key group and key.
fn split(place: &[u8]) -> Option<(u16, &[u8])> {
    let (group, key) = place.split_first_chunk()?;
    Some((u16::from_be_bytes(*group), key))
}

/// Makes a folder for scratch, after removing what dead processes left there. Keys come into memory
/// and leave it from now on.
///
/// # Errors
/// If it cannot be written.
pub fn scratch(folder: &Path, job: &str) -> Result<Arc<Scratch>, SpillError> {
    allocator::use_small_pages();
    let made = Scratch::create(folder, job);
    let made = made.map_err(|error| disk_error(&folder.display().to_string(), error.to_string()));
    made.map(Arc::new)
}

#[cfg(test)]
mod tests;
