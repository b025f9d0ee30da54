//! The shapes of `wit/` in Rust: the one file of the host that spells the contract's names.

use wasmtime::component::{ComponentType, Lift, Lower};

/// The exported interface of an operator on batches.
pub(super) const OPERATOR: &str = "wasmill:operator/operator@0.1.0";
/// The exported interface of an operator on single records.
pub(super) const RECORD_OPERATOR: &str = "wasmill:operator/record-operator@0.1.0";
/// The exported interface of an operator that migrates state.
pub(super) const MIGRATE: &str = "wasmill:operator/migrate@0.1.0";
/// The exported interface of an aggregate.
pub(super) const AGGREGATE: &str = "wasmill:operator/aggregate@0.1.0";
/// What a guest may import of ours.
pub(super) const CAPABILITIES: &[&str] = &[
    "clock", "log", "metrics", "random", "report", "state", "types",
];

/// `buffers` on their way into a guest.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(super) struct BuffersIn<'a> {
    pub(super) rows: u32,
    pub(super) directory: &'a [u32],
    pub(super) arena: &'a [u64],
}

/// `buffers` on their way out of a guest, and as the answer of a capability.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct Buffers {
    pub(super) rows: u32,
    pub(super) directory: Vec<u32>,
    pub(super) arena: Vec<u64>,
}

/// `byte-strings` on their way into a guest.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(super) struct ByteStringsIn<'a> {
    pub(super) ends: &'a [u32],
    pub(super) bytes: &'a [u8],
}

/// `byte-strings` on their way out of a guest.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(super) struct ByteStringsOut {
    pub(super) ends: Vec<u32>,
    pub(super) bytes: Vec<u8>,
}

/// `old-values`.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(super) struct OldValuesIn<'a> {
    pub(super) keys: ByteStringsIn<'a>,
    pub(super) entries: ByteStringsIn<'a>,
    pub(super) values: ByteStringsIn<'a>,
}

/// `new-values`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(super) struct NewValuesOut {
    pub(super) dropped: Vec<u32>,
    pub(super) entries: ByteStringsOut,
    pub(super) values: ByteStringsOut,
}

/// Why a call failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Fault {
    /// The row that is to blame, if the guest knows it.
    pub row: Option<u32>,
    /// What the guest says.
    pub message: String,
}

/// How much a line of a guest's log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}
