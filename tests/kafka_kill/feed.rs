//! The input: a topic that grows while everything else goes wrong, at a pace that outlasts it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use wasmill_tests::Random;

use crate::client::{PARTITIONS, config};
use crate::some_time;

/// Milliseconds between two stretches.
const PACE: u64 = 20;
/// Accounts that pay, and shops where they do.
const ACCOUNTS: u64 = 200;
const SHOPS: u64 = 12;
/// When the first payment is, in microseconds since 1970.
const START: i64 = 1_772_323_200_000_000;

/// A payment; an account's payments come in their order, through one partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payment {
    pub(crate) account: u32,
    pub(crate) shop: u16,
    pub(crate) amount: u16,
}

/// How much is fed, and how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Records in a second.
    pub(crate) rate: f64,
    /// Records in all, at least.
    pub(crate) records: u64,
}

/// A thread that feeds, until it is told to stop.
pub(crate) struct Feeder {
    stop: Arc<AtomicBool>,
    delivered: Arc<AtomicU64>,
    fed: Arc<Mutex<Vec<Payment>>>,
    thread: JoinHandle<()>,
}

impl Feeder {
    /// Begins to feed a topic.
    pub(crate) fn start(brokers: &str, topic: &str, pace: Pace, seed: u64) -> Self {
        let (stop, fed) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let delivered = Arc::new(AtomicU64::new(0));
        let context = Delivered(Arc::clone(&delivered));
        let mut config = config(brokers);
        // Also when the broker dies, each record stands in the topic once and in its place.
        config.set("enable.idempotence", "true");
        config.set("message.timeout.ms", "0");
        config.set("linger.ms", "5");
        config.set("reconnect.backoff.max.ms", "500");
        let mut feed = Feed {
            producer: config.create_with_context(context).expect("a client"),
            topic: topic.into(),
            random: Random(seed ^ 0xfeed),
            clock: START,
            count: 0,
            fed: Arc::clone(&fed),
        };
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            while !stopped.load(Ordering::Acquire) {
                let due = (start.elapsed().as_secs_f64() * pace.rate) as u64;
                feed.until(due);
                some_time(PACE);
            }
            feed.until(pace.records);
            let flushed = feed.producer.flush(crate::PATIENCE);
            flushed.expect("the broker takes what is left");
        });
        Self {
            stop,
            delivered,
            fed,
            thread,
        }
    }

    /// How many records stand in the topic.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Acquire)
    }

    /// Stops; gives all that was fed.
    ///
    /// # Panics
    ///
    /// If the broker did not take all of it.
    pub(crate) fn stop(self) -> Vec<Payment> {
        self.stop.store(true, Ordering::Release);
        self.thread
            .join()
            .expect("the feeder says what it does not like");
        let mut fed = self.fed.lock().expect("the feeder has ended");
        let fed = std::mem::take(&mut *fed);
        let delivered = self.delivered.load(Ordering::Acquire);
        assert_eq!(delivered, fed.len() as u64, "the broker has taken all");
        fed
    }
}

struct Feed {
    producer: ThreadedProducer<Delivered>,
    topic: String,
    random: Random,
    clock: i64,
    count: u64,
    fed: Arc<Mutex<Vec<Payment>>>,
}

impl Feed {
    /// Feeds so many records in all.
    fn until(&mut self, due: u64) {
        let mut fed = Vec::new();
        while self.count < due {
            let payment = Payment {
                account: self.random.below(ACCOUNTS) as u32,
                shop: self.random.below(SHOPS) as u16,
                amount: 1 + self.random.below(1_000) as u16,
            };
            self.clock += 1 + self.random.below(2_000) as i64;
            self.send(payment);
            fed.push(payment);
            self.count += 1;
        }
        self.fed.lock().expect("nobody panics").extend(fed);
    }

    fn send(&self, payment: Payment) {
        let Payment {
            account,
            shop,
            amount,
        } = payment;
        let at = self.clock;
        let value = format!(r#"{{"account":{account},"shop":{shop},"amount":{amount},"at":{at}}}"#);
        let key = account.to_string();
        let partition = account as i32 % PARTITIONS;
        let mut record = BaseRecord::to(&self.topic).key(&key).payload(&value);
        record = record.partition(partition);
        while let Err((error, back)) = self.producer.send(record) {
            let is_full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, is_full, "the client takes records");
            some_time(PACE);
            record = back;
        }
    }
}

/// Counts what has arrived.
struct Delivered(Arc<AtomicU64>);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            panic!("a record is not taken: {error}");
        }
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}
