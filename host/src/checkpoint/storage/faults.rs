//! A store with bad luck, by seed: errors before and after the effect, slow answers, uploads of
//! which a part arrives, and a disk that forgets at a power cut what it was not made to write.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart, memory::InMemory, path::Path,
};
use parking_lot::Mutex;

use crate::spawn;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// How bad the luck is, in so many of a thousand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Luck {
    /// Requests that fail; half of the writes among them have been done.
    pub(crate) errors: u64,
    /// Requests that take some milliseconds.
    pub(crate) slow: u64,
    /// Whether what is acknowledged has been synced, as it is by a careful store.
    pub(crate) is_synced: bool,
}

impl Luck {
    /// None at all.
    pub(crate) const GOOD: Self = Self {
        errors: 0,
        slow: 0,
        is_synced: true,
    };
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) errors: AtomicU64,
    pub(crate) slow: AtomicU64,
    /// Objects of which only a part was sent.
    pub(crate) partial: AtomicU64,
    /// Objects that a power cut took, or tore.
    pub(crate) dropped: AtomicU64,
}

/// The store.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    objects: InMemory,
    luck: Mutex<Luck>,
    random: Mutex<u64>,
    /// Names that a power cut may take, and objects that it may bring back.
    unsynced: Mutex<BTreeMap<Path, Option<Bytes>>>,
    /// Whether it creates objects that are there already.
    forgets_modes: AtomicBool,
    pub(crate) counts: Arc<Counts>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    FailsBefore,
    FailsAfter,
}

impl FaultyStore {
    pub(crate) fn new(seed: u64, luck: Luck) -> Self {
        Self {
            objects: InMemory::new(),
            luck: Mutex::new(luck),
            random: Mutex::new(seed),
            unsynced: Mutex::default(),
            forgets_modes: AtomicBool::new(false),
            counts: Arc::default(),
        }
    }

    /// From now on every write overwrites.
    pub(crate) fn forget_modes(&self) {
        self.forgets_modes.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_luck(&self, luck: Luck) {
        *self.luck.lock() = luck;
    }

    /// A number below `end` (Steele, Lea and Flood, "Fast splittable pseudorandom number
    /// generators", 2014).
    pub(crate) fn below(&self, end: u64) -> u64 {
        let mut random = self.random.lock();
        *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// The power goes, and comes back: of what was not synced, any part may be gone, or half there,
    /// and what was deleted may be back. Nobody may be writing.
    pub(crate) fn cut_power(&self) {
        for (path, before) in std::mem::take(&mut *self.unsynced.lock()) {
            let now = |future| FutureExt::now_or_never(future).expect("memory answers at once");
            match (before, self.below(3)) {
                (_, 0) => continue,
                (Some(bytes), _) => {
                    let put = self.objects.put(&path, bytes.into()).boxed();
                    now(put.map(drop).boxed());
                }
                (None, 1) => now(self.objects.delete(&path).map(drop).boxed()),
                // A careful store syncs a file before it gives it its name: that is all or nothing.
                (None, _) if self.luck.lock().is_synced => continue,
                (None, _) => {
                    let bytes = self.objects.get(&path).now_or_never();
                    let Some(Ok(found)) = bytes else { continue };
                    let Some(Ok(whole)) = found.bytes().now_or_never() else {
                        continue;
                    };
                    let torn = whole.slice(..self.below(whole.len() as u64 + 1) as usize);
                    let put = self.objects.put(&path, torn.into()).boxed();
                    now(put.map(drop).boxed());
                }
            }
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All objects.
    pub(crate) async fn all(&self) -> BTreeMap<Path, Bytes> {
        let metas: Vec<_> = self.objects.list(None).try_collect().await.expect("memory");
        let mut all = BTreeMap::new();
        for meta in metas {
            let found = self.objects.get(&meta.location).await.expect("it is there");
            all.insert(meta.location, found.bytes().await.expect("memory"));
        }
        all
    }

    /// Puts an object there, whatever the luck.
    pub(crate) async fn plant(&self, path: &Path, bytes: Bytes) {
        let put = self.objects.put(path, bytes.into()).await;
        put.expect("memory takes it");
    }

    async fn fate(&self) -> Fate {
        let luck = *self.luck.lock();
        if self.below(1_000) < luck.slow {
            self.counts.slow.fetch_add(1, Ordering::Relaxed);
            spawn::rest(Duration::from_millis(1 + self.below(8))).await;
        }
        if self.below(1_000) >= luck.errors {
            return Fate::Done;
        }
        self.counts.errors.fetch_add(1, Ordering::Relaxed);
        match self.below(2) {
            0 => Fate::FailsBefore,
            _ => Fate::FailsAfter,
        }
    }

    /// What is there by this name would outlive a power cut from now on.
    pub(crate) fn settle(&self, path: &Path) {
        self.unsynced.lock().remove(path);
    }

    async fn write(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let fate = self.fate().await;
        if fate == Fate::FailsBefore {
            return Err(unlucky());
        }
        let options = match self.forgets_modes.load(Ordering::Relaxed) {
            true => PutOptions::default(),
            false => options,
        };
        let written = self.objects.put_opts(path, payload, options).await?;
        if fate != Fate::Done || !self.luck.lock().is_synced {
            self.unsynced.lock().insert(path.clone(), None);
        } else {
            self.unsynced.lock().remove(path);
        }
        match fate {
            Fate::Done => Ok(written),
            _ => Err(unlucky()),
        }
    }

    async fn erase(&self, path: Path) -> Result<Path> {
        let fate = self.fate().await;
        if fate == Fate::FailsBefore {
            return Err(unlucky());
        }
        let before = match self.objects.get(&path).await {
            Ok(found) => Some(found.bytes().await?),
            Err(_) => None,
        };
        self.objects.delete(&path).await?;
        if before.is_some() {
            // Nobody waits for a deletion to be synced.
            self.unsynced.lock().insert(path.clone(), before);
        }
        match fate {
            Fate::Done => Ok(path),
            _ => Err(unlucky()),
        }
    }
}

fn unlucky() -> Error {
    Error::Generic {
        store: "faulty",
        source: "the store has bad luck".into(),
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store with bad luck")
    }
}

/// The store for whoever keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Faulty(pub(crate) Arc<FaultyStore>);

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ObjectStore for Faulty {
    fn put_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Answer<'c, PutResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(self.0.write(location, payload, options))
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        _options: PutMultipartOptions,
    ) -> Answer<'c, Box<dyn MultipartUpload>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            if self.0.fate().await != Fate::Done {
                return Err(unlucky());
            }
            let upload: Box<dyn MultipartUpload> = Box::new(Upload {
                store: self.0.clone(),
                path: location.clone(),
                parts: Arc::default(),
                sent: 0,
            });
            Ok(upload)
        })
    }

    fn get_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        options: GetOptions,
    ) -> Answer<'c, GetResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            match self.0.fate().await {
                Fate::Done => self.0.objects.get_opts(location, options).await,
                _ => Err(unlucky()),
            }
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.0.clone();
        let erase = move |path| {
            let store = store.clone();
            async move { store.erase(path).await }
        };
        locations.and_then(erase).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.0.clone(), prefix.cloned());
        let listing = async move {
            match store.fate().await {
                Fate::Done => store.objects.list(prefix.as_ref()),
                _ => futures_util::stream::once(async { Err(unlucky()) }).boxed(),
            }
        };
        listing.flatten_stream().boxed()
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Path>) -> Answer<'c, ListResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.0.objects.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'd, 'c>(
        &'a self,
        from: &'b Path,
        to: &'d Path,
        options: CopyOptions,
    ) -> Answer<'c, ()>
    where
        'a: 'c,
        'b: 'c,
        'd: 'c,
        Self: 'c,
    {
        self.0.objects.copy_opts(from, to, options)
    }
}

/// An object that comes in parts: it is there once it is complete, and not before.
#[derive(Debug)]
struct Upload {
    store: Arc<FaultyStore>,
    path: Path,
    parts: Arc<Mutex<BTreeMap<usize, Bytes>>>,
    sent: usize,
}

impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (store, parts, at) = (self.store.clone(), self.parts.clone(), self.sent);
        self.sent += 1;
        Box::pin(async move {
            match store.fate().await {
                Fate::FailsBefore => return Err(unlucky()),
                Fate::FailsAfter | Fate::Done => {
                    parts.lock().insert(at, data.into());
                }
            }
            Ok(())
        })
    }

    fn complete<'a, 'c>(&'a mut self) -> Answer<'c, PutResult>
    where
        'a: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            let parts = std::mem::take(&mut *self.parts.lock());
            assert_eq!(parts.len(), self.sent, "whoever completes has sent all");
            let whole: Vec<u8> = parts.into_values().flatten().collect();
            let payload = Bytes::from(whole).into();
            self.store
                .write(&self.path, payload, PutOptions::default())
                .await
        })
    }

    fn abort<'a, 'c>(&'a mut self) -> Answer<'c, ()>
    where
        'a: 'c,
        Self: 'c,
    {
        self.store.counts.partial.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }
}
