//! Reading many records with one call, through librdkafka itself: the Rust client hands them out
//! one by one, which costs twice as much.
#![allow(
    unsafe_code,
    reason = "records are looked at where librdkafka holds them"
)]

use std::{os::raw::c_void, ptr, slice, time::Duration};

use anyhow::{Context, Result, bail};
use rdkafka::{
    bindings as native,
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaRespErr,
};

/// Records of one call at most.
const RECORDS_MAX: usize = 10_000;

/// A record, as long as it is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// What a look at the queue may find.
pub(crate) enum Found<'a> {
    Record(Record<'a>),
    /// The partition's end, which the consumer was told to report.
    End,
}

/// A consumer and its queue.
pub(crate) struct Batches {
    queue: *mut native::rd_kafka_queue_t,
    messages: Vec<*mut native::rd_kafka_message_t>,
    /// Dropped last: the queue is its.
    consumer: BaseConsumer,
}

// SAFETY: librdkafka's handles may be used by any thread; `&mut self` keeps it to one at a time.
unsafe impl Send for Batches {}

impl Batches {
    /// Reads what is assigned to a consumer.
    pub(crate) fn of(consumer: BaseConsumer) -> Result<Self> {
        // SAFETY: the client is alive, and outlives the queue.
        let queue = unsafe { native::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        if queue.is_null() {
            bail!("the consumer has no queue: it has no group");
        }
        Ok(Self {
            queue,
            messages: vec![ptr::null_mut(); RECORDS_MAX],
            consumer,
        })
    }

    pub(crate) fn consumer(&self) -> &BaseConsumer {
        &self.consumer
    }

    /// Looks at what has come, after waiting for it so long at most; says how much it was.
    pub(crate) fn read(
        &mut self,
        wait: Duration,
        mut each: impl FnMut(Found<'_>) -> Result<()>,
    ) -> Result<usize> {
        let wait = i32::try_from(wait.as_millis())?;
        // A call for many waits until all of them are there or the time is over: so one is waited
        // for, and the others are taken as far as they are there.
        // SAFETY: the queue is alive. The message is ours from here on.
        let first = unsafe { native::rd_kafka_consume_queue(self.queue, wait) };
        if first.is_null() {
            return Ok(0);
        }
        self.messages[0] = first;
        let rest = &mut self.messages[1..];
        // SAFETY: there is room for as many as the call is told.
        let more = unsafe {
            native::rd_kafka_consume_batch_queue(self.queue, 0, rest.as_mut_ptr(), rest.len())
        };
        let count = 1 + usize::try_from(more).context("the queue cannot be read")?;
        let mut outcome = Ok(());
        for message in &self.messages[..count] {
            if outcome.is_ok() {
                // SAFETY: librdkafka gave the message, and it is destroyed below.
                outcome = found(unsafe { &**message }).and_then(&mut each);
            }
            // SAFETY: each message is destroyed once, and nobody has kept anything of it.
            unsafe { native::rd_kafka_message_destroy(*message) };
        }
        outcome.map(|()| count)
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // SAFETY: it was asked for once, and nobody uses it any more.
        unsafe { native::rd_kafka_queue_destroy(self.queue) };
    }
}

fn found(message: &native::rd_kafka_message_t) -> Result<Found<'_>> {
    match message.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(Found::Record(Record {
            partition: message.partition,
            offset: message.offset,
            key: bytes(message.key, message.key_len),
            value: bytes(message.payload, message.len),
        })),
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => Ok(Found::End),
        error => bail!("a partition cannot be read: {error:?}"),
    }
}

fn bytes<'a>(start: *const c_void, length: usize) -> &'a [u8] {
    if start.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: librdkafka says that so many bytes stand there; callers give them the message's life.
    unsafe { slice::from_raw_parts(start.cast(), length) }
}
