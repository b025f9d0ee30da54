//! What librdkafka's wrapper does not offer: records of several partitions from one queue, many at
//! a time. Record by record they cost twice the CPU.
#![expect(
    unsafe_code,
    reason = "a C library that hands out pointers: each is wrapped here, and no other room sees one"
)]

use std::{
    ffi::{CStr, CString},
    ptr::{self, NonNull},
    slice,
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    TopicPartitionList,
    bindings::{
        rd_kafka_consume_batch_queue, rd_kafka_consume_start_queue, rd_kafka_get_watermark_offsets,
        rd_kafka_header_get_all, rd_kafka_headers_t, rd_kafka_last_error, rd_kafka_message_destroy,
        rd_kafka_message_headers, rd_kafka_message_timestamp, rd_kafka_pause_partitions,
        rd_kafka_queue_destroy, rd_kafka_queue_new, rd_kafka_resp_err_t,
        rd_kafka_resume_partitions, rd_kafka_timestamp_type_t, rd_kafka_topic_destroy,
        rd_kafka_topic_name, rd_kafka_topic_new,
    },
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError as ClientError, RDKafkaErrorCode},
    types::{RDKafkaMessage, RDKafkaQueue, RDKafkaTopic},
};

use super::super::client::Context;

/// A client that reads.
pub(super) type Client = BaseConsumer<Context>;

const NO_ERROR: rd_kafka_resp_err_t = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// Where the records of some partitions come in.
pub(super) struct Queue {
    pointer: NonNull<RDKafkaQueue>,
    /// It must outlive the queue.
    _client: Arc<Client>,
}

// SAFETY: librdkafka's queues have a lock of their own and may be used by any thread.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    pub(super) fn new(client: &Arc<Client>) -> Self {
        // SAFETY: the client is alive, and kept so by the queue.
        let pointer = unsafe { rd_kafka_queue_new(client.client().native_ptr()) };
        Self {
            pointer: NonNull::new(pointer).expect("librdkafka ends the process without memory"),
            _client: Arc::clone(client),
        }
    }

    /// Waits for a record, then takes all that are there, up to the batch's length.
    pub(super) fn take(&self, wait: Duration, into: &mut Batch) {
        into.clear();
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // With more room than for one it would wait for as many as there is room for.
        if self.fill(wait, into, 1) == 1 {
            let rest = into.room.len() - 1;
            self.fill(0, into, rest);
        }
    }

    fn fill(&self, wait: i32, batch: &mut Batch, most: usize) -> usize {
        let room = &mut batch.room[batch.len..batch.len + most];
        // SAFETY: the queue is alive, and there is room for so many pointers.
        let taken = unsafe {
            rd_kafka_consume_batch_queue(self.pointer.as_ptr(), wait, room.as_mut_ptr(), room.len())
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        batch.len += taken;
        taken
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: nobody else destroys it.
        unsafe { rd_kafka_queue_destroy(self.pointer.as_ptr()) }
    }
}

/// A topic that is read.
pub(super) struct Topic {
    pointer: NonNull<RDKafkaTopic>,
    client: Arc<Client>,
}

// SAFETY: librdkafka's topics may be used by any thread.
unsafe impl Send for Topic {}

impl Topic {
    pub(super) fn new(client: &Arc<Client>, name: &str) -> Result<Self, ClientError> {
        let name = CString::new(name)?;
        let native = client.client().native_ptr();
        // SAFETY: client and name are alive; no settings of its own means those of the client.
        let pointer = unsafe { rd_kafka_topic_new(native, name.as_ptr(), ptr::null_mut()) };
        match NonNull::new(pointer) {
            Some(pointer) => Ok(Self {
                pointer,
                client: Arc::clone(client),
            }),
            None => Err(ClientError::Subscription(last_error().to_string())),
        }
    }

    /// Has the records of a partition from an offset on come into the queue.
    pub(super) fn start(
        &self,
        partition: i32,
        offset: i64,
        queue: &Queue,
    ) -> Result<(), ClientError> {
        // SAFETY: topic and queue are alive; both belong to the same client.
        let started = unsafe {
            rd_kafka_consume_start_queue(
                self.pointer.as_ptr(),
                partition,
                offset,
                queue.pointer.as_ptr(),
            )
        };
        match started {
            0 => Ok(()),
            _ => Err(ClientError::MessageConsumption(last_error())),
        }
    }

    /// The offset behind a partition's newest record, as far as the client has heard.
    pub(super) fn end(&self, name: &CStr, partition: i32) -> Option<u64> {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client and the name are alive, and the numbers are ours.
        let error = unsafe {
            rd_kafka_get_watermark_offsets(
                self.client.client().native_ptr(),
                name.as_ptr(),
                partition,
                &mut low,
                &mut high,
            )
        };
        (error == NO_ERROR).then_some(())?;
        u64::try_from(high).ok()
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: nobody else destroys it.
        unsafe { rd_kafka_topic_destroy(self.pointer.as_ptr()) }
    }
}

/// Stops or resumes the fetching of partitions. What was fetched and not yet taken comes again.
pub(super) fn pause(client: &Client, partitions: &TopicPartitionList, is_paused: bool) {
    let native = client.client().native_ptr();
    // What is said of each partition is of no use: one that is gone brings an error of its own.
    // SAFETY: the client and the list are alive.
    unsafe {
        match is_paused {
            true => rd_kafka_pause_partitions(native, partitions.ptr()),
            false => rd_kafka_resume_partitions(native, partitions.ptr()),
        }
    };
}

fn last_error() -> RDKafkaErrorCode {
    // SAFETY: it takes nothing; what it gives belongs to this thread.
    unsafe { rd_kafka_last_error() }.into()
}

/// Records that were taken from a queue.
pub(super) struct Batch {
    room: Vec<*mut RDKafkaMessage>,
    /// How many of them are records.
    len: usize,
}

// SAFETY: a record belongs to whoever took it, on any thread.
unsafe impl Send for Batch {}

impl Batch {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            room: vec![ptr::null_mut(); most.max(1)],
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, at: usize) -> Record<'_> {
        // SAFETY: the pointers before `len` are records, which live until the batch is cleared.
        Record(unsafe { &*self.room[..self.len][at] })
    }

    /// Gives the records back.
    pub(super) fn clear(&mut self) {
        for record in &self.room[..std::mem::take(&mut self.len)] {
            // SAFETY: it is a record that was taken; only this place gives one back.
            unsafe { rd_kafka_message_destroy(*record) }
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A record, or what befell a partition instead.
#[derive(Clone, Copy)]
pub(super) struct Record<'a>(&'a RDKafkaMessage);

impl<'a> Record<'a> {
    /// What befell the partition; none of a record.
    pub(super) fn error(self) -> Option<RDKafkaErrorCode> {
        (self.0.err != NO_ERROR).then(|| self.0.err.into())
    }

    /// Tells topics apart; meaningless to anybody but this client.
    pub(super) fn topic_key(self) -> usize {
        self.0.rkt as usize
    }

    /// The topic's name; empty where there is none.
    pub(super) fn topic(self) -> &'a str {
        if self.0.rkt.is_null() {
            return "";
        }
        // SAFETY: the topic is alive as long as its record.
        let name = unsafe { CStr::from_ptr(rd_kafka_topic_name(self.0.rkt)) };
        name.to_str().unwrap_or_default()
    }

    pub(super) fn partition(self) -> i32 {
        self.0.partition
    }

    /// The offset; records of a partition have none below 0.
    pub(super) fn offset(self) -> u64 {
        u64::try_from(self.0.offset).unwrap_or(0)
    }

    pub(super) fn value(self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka says where the value lies, for the life of the record.
        unsafe { octets(self.0.payload.cast(), self.0.len) }
    }

    pub(super) fn key(self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka says where the key lies, for the life of the record.
        unsafe { octets(self.0.key.cast(), self.0.key_len) }
    }

    /// Milliseconds since 1970; none where the record has no time.
    pub(super) fn time_ms(self) -> Option<i64> {
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the record is alive, and the kind is ours.
        let time = unsafe { rd_kafka_message_timestamp(self.0, &mut kind) };
        (kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(time)
    }

    /// The headers in order, each with its value if it has one.
    pub(super) fn headers(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut headers: *mut rd_kafka_headers_t = ptr::null_mut();
        // SAFETY: the record is alive, and the pointer is ours.
        let error = unsafe { rd_kafka_message_headers(self.0, &mut headers) };
        let headers = (error == NO_ERROR).then_some(headers);
        (0..).map_while(move |at| {
            let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the headers live as long as the record; beyond the last one is an error.
            let error =
                unsafe { rd_kafka_header_get_all(headers?, at, &mut name, &mut value, &mut len) };
            if error != NO_ERROR {
                return None;
            }
            // SAFETY: a header has a name, which ends with a zero and lives as long as the record.
            let name = unsafe { CStr::from_ptr(name) }.to_bytes();
            // SAFETY: librdkafka says where the value lies, for the life of the record.
            let value = unsafe { octets(value.cast(), len) };
            Some((name, value))
        })
    }
}

/// Bytes of C, which say "none" by a null pointer.
///
/// # Safety
///
/// `pointer` is null, or so many bytes can be read there for all of `'a`.
unsafe fn octets<'a>(pointer: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: whoever calls vouches for it.
    (!pointer.is_null()).then(|| unsafe { slice::from_raw_parts(pointer, len) })
}
