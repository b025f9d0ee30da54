//! What the crate does not offer of librdkafka: records that are handed over without an allocation
//! each, and reports of their delivery that cost none either.

use std::{
    ffi::{CStr, CString},
    os::raw::{c_char, c_int, c_void},
    ptr,
    time::Duration,
};

use rdkafka::{
    ClientContext,
    bindings::{self as raw, rd_kafka_vtype_t as Part, rd_kafka_vu_t},
    config::RDKafkaLogLevel,
    error::{KafkaError as ClientError, RDKafkaErrorCode as Code},
};

use super::record::Record;

type Value = raw::rd_kafka_vu_s__bindgen_ty_1;
type Memory = raw::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1;
type Header = raw::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_2;

/// So many topics are known by their names.
const TOPICS_MAX: usize = 8;

/// A producer's client and its queue of events.
pub(super) struct Native {
    client: *mut raw::rd_kafka_t,
    queue: *mut raw::rd_kafka_queue_t,
    /// The topics of the newest records, the oldest first: to find one by its name takes a lock.
    topics: Vec<Topic>,
    /// The parts of the record that is being handed over; none between two calls.
    parts: Vec<rd_kafka_vu_t>,
}

/// A topic as the client knows it.
struct Topic {
    name: CString,
    handle: *mut raw::rd_kafka_topic_t,
}

impl Drop for Topic {
    #[expect(unsafe_code, reason = "the handle of the topic is given back")]
    fn drop(&mut self) {
        // SAFETY: the client is still there, and nobody uses the handle from here on.
        unsafe { raw::rd_kafka_topic_destroy(self.handle) };
    }
}

/// What became of a record.
pub(super) struct Delivery<'a> {
    /// Why it is not there; none if it is.
    pub(super) error: Option<Code>,
    pub(super) topic: &'a CStr,
    pub(super) offset: i64,
    /// What was handed over with it.
    pub(super) mark: usize,
}

#[expect(
    unsafe_code,
    reason = "the client's functions may be called from any thread"
)]
// SAFETY: librdkafka's clients, queues and topics belong to no thread, and `parts` holds no pointer
// that anybody follows between two calls.
unsafe impl Send for Native {}

impl Native {
    /// The native side of a client, which must outlive what is returned.
    #[expect(unsafe_code, reason = "the crate has no safe way to the queue")]
    pub(super) unsafe fn new(client: *mut raw::rd_kafka_t) -> Self {
        Self {
            client,
            // SAFETY: the caller says that the client is there; the handle is given back on drop.
            queue: unsafe { raw::rd_kafka_queue_get_main(client) },
            topics: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// The client's handle of a topic.
    #[expect(unsafe_code, reason = "the crate has no topics of producers")]
    fn topic(&mut self, name: &CStr) -> Result<*mut raw::rd_kafka_topic_t, Code> {
        if let Some(topic) = self.topics.iter().find(|it| *it.name == *name) {
            return Ok(topic.handle);
        }
        // SAFETY: the client is there, the name ends with a zero byte, and without settings of its
        // own a topic has the client's.
        let handle =
            unsafe { raw::rd_kafka_topic_new(self.client, name.as_ptr(), ptr::null_mut()) };
        if handle.is_null() {
            // SAFETY: it tells of the newest call of this thread.
            return Err(unsafe { raw::rd_kafka_last_error() }.into());
        }
        if self.topics.len() == TOPICS_MAX {
            self.topics.remove(0);
        }
        let name = name.to_owned();
        self.topics.push(Topic { name, handle });
        Ok(handle)
    }

    /// Hands a record over; the client copies it. `mark` comes back with the report.
    #[expect(unsafe_code, reason = "the crate allocates for each record")]
    pub(super) fn produce(
        &mut self,
        topic: &CStr,
        record: &Record<'_>,
        mark: usize,
    ) -> Result<(), Code> {
        let memory = |octets: Option<&[u8]>| Value {
            mem: Memory {
                ptr: octets.map_or(ptr::null_mut(), |octets| octets.as_ptr() as *mut c_void),
                size: octets.map_or(0, <[u8]>::len),
            },
        };
        let rkt = self.topic(record.topic.unwrap_or(topic))?;
        let mut add = |vtype, u| self.parts.push(rd_kafka_vu_t { vtype, u });
        add(Part::RD_KAFKA_VTYPE_RKT, Value { rkt });
        let i32_ = record.partition.unwrap_or(-1);
        add(Part::RD_KAFKA_VTYPE_PARTITION, Value { i32_ });
        let i = raw::RD_KAFKA_MSG_F_COPY;
        add(Part::RD_KAFKA_VTYPE_MSGFLAGS, Value { i });
        add(Part::RD_KAFKA_VTYPE_VALUE, memory(record.value));
        add(Part::RD_KAFKA_VTYPE_KEY, memory(record.key));
        let ptr = ptr::without_provenance_mut(mark);
        add(Part::RD_KAFKA_VTYPE_OPAQUE, Value { ptr });
        let i64_ = record.time_ms.unwrap_or(0);
        add(Part::RD_KAFKA_VTYPE_TIMESTAMP, Value { i64_ });
        for (name, value) in record.headers {
            let header = Header {
                name: name.as_ptr(),
                val: value.as_ptr().cast(),
                size: value.len() as isize,
            };
            add(Part::RD_KAFKA_VTYPE_HEADER, Value { header });
        }
        // SAFETY: every part holds what its type says, and what it points to lives in `record` and
        // `self` until the call returns, by when the client has copied it.
        let error =
            unsafe { raw::rd_kafka_produceva(self.client, self.parts.as_ptr(), self.parts.len()) };
        self.parts.clear();
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: an error is the caller's to destroy, once.
        let code = unsafe {
            let code = raw::rd_kafka_error_code(error);
            raw::rd_kafka_error_destroy(error);
            code
        };
        Err(code.into())
    }

    /// Has the client keep back no records for fuller requests, for so long or until it has none.
    #[expect(unsafe_code, reason = "the crate takes the reports meanwhile")]
    pub(super) fn flush(&self, wait: Duration) {
        let wait = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the client is there. What is left is no error: the reports tell of each record.
        unsafe { raw::rd_kafka_flush(self.client, wait) };
    }

    /// Waits for the next event, and hands on what it reports; false if none has come.
    #[expect(unsafe_code, reason = "the crate allocates for each report")]
    pub(super) fn serve(
        &self,
        wait: Duration,
        context: &impl ClientContext,
        mut take: impl FnMut(Delivery<'_>),
    ) -> bool {
        let wait = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue lives as long as this; the event is destroyed below, once.
        let event = unsafe { raw::rd_kafka_queue_poll(self.queue, wait) };
        if event.is_null() {
            return false;
        }
        // SAFETY: the event is there, and each function is asked of an event of its own type.
        unsafe {
            match raw::rd_kafka_event_type(event) {
                raw::RD_KAFKA_EVENT_DR => loop {
                    let message = raw::rd_kafka_event_message_next(event);
                    let Some(message) = message.as_ref() else {
                        break;
                    };
                    let code = Code::from(message.err);
                    take(Delivery {
                        error: (code != Code::NoError).then_some(code),
                        topic: CStr::from_ptr(raw::rd_kafka_topic_name(message.rkt)),
                        offset: message.offset,
                        mark: message._private.addr(),
                    });
                },
                raw::RD_KAFKA_EVENT_ERROR => {
                    let code = Code::from(raw::rd_kafka_event_error(event));
                    let reason = told(raw::rd_kafka_event_error_string(event));
                    context.error(ClientError::Global(code), reason.trim());
                }
                raw::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
                    let read = raw::rd_kafka_event_log(event, &mut facility, &mut text, &mut level);
                    if read == 0 {
                        let level = log_level(level);
                        context.log(level, told(facility).trim(), told(text).trim());
                    }
                }
                raw::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => self.renew_token(context),
                _ => {}
            }
            raw::rd_kafka_event_destroy(event);
        }
        true
    }

    /// Gives the client the token that it asks for.
    #[expect(unsafe_code, reason = "the crate does this only where it polls itself")]
    fn renew_token(&self, context: &impl ClientContext) {
        let token = context.generate_oauth_token(None).and_then(|token| {
            let text = CString::new(token.token)?;
            Ok((text, CString::new(token.principal_name)?, token.lifetime_ms))
        });
        let mut reason: [c_char; 256] = [0; 256];
        // SAFETY: the texts end with a zero byte and live until the calls return; the buffer has
        // the length that is told.
        unsafe {
            let set = match &token {
                Ok((token, principal, lifetime_ms)) => raw::rd_kafka_oauthbearer_set_token(
                    self.client,
                    token.as_ptr(),
                    *lifetime_ms,
                    principal.as_ptr(),
                    ptr::null_mut(),
                    0,
                    reason.as_mut_ptr(),
                    reason.len(),
                ),
                Err(_) => raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__FAIL,
            };
            if Code::from(set) != Code::NoError {
                let failed = token.err().map(|error| error.to_string());
                let failed = failed.unwrap_or_else(|| told(reason.as_ptr()).into_owned());
                let failed = CString::new(failed).unwrap_or_default();
                raw::rd_kafka_oauthbearer_set_token_failure(self.client, failed.as_ptr());
            }
        }
    }
}

impl Drop for Native {
    #[expect(unsafe_code, reason = "the handle of the queue is given back")]
    fn drop(&mut self) {
        self.topics.clear();
        // SAFETY: the client is still there, and nobody uses the handle from here on.
        unsafe { raw::rd_kafka_queue_destroy(self.queue) };
    }
}

/// A text of the client's.
///
/// # Safety
/// It is null, or ends with a zero byte.
#[expect(unsafe_code, reason = "the client's texts are C's")]
unsafe fn told<'a>(text: *const c_char) -> std::borrow::Cow<'a, str> {
    if text.is_null() {
        return "".into();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }.to_string_lossy()
}

/// Levels are syslog's.
fn log_level(level: c_int) -> RDKafkaLogLevel {
    match level {
        0 => RDKafkaLogLevel::Emerg,
        1 => RDKafkaLogLevel::Alert,
        2 => RDKafkaLogLevel::Critical,
        3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 => RDKafkaLogLevel::Notice,
        6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}
