//! What can go wrong: a row that is refused, a batch that cannot be read, a call that fails.

use std::fmt;

/// Why a row is refused. The row then has no effects at all: what it emitted, changed in state or
/// did to timers is undone, and the row goes where the pipeline's `on-error` says.
///
/// Any error converts into it, so `?` refuses the row:
/// ```
/// use wasmill_sdk::Reject;
///
/// fn parse(text: &str) -> Result<u64, Reject> {
///     Ok(text.trim().parse::<u64>()?)
/// }
/// assert_eq!(parse("x").unwrap_err().reason(), "invalid digit found in string");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject(String);

impl Reject {
    /// A refusal with its reason, as people will read it.
    /// ```
    /// assert_eq!(wasmill_sdk::Reject::new("no amount").reason(), "no amount");
    /// ```
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The reason.
    /// ```
    /// assert_eq!(wasmill_sdk::Reject::new("no amount").reason(), "no amount");
    /// ```
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl<E: std::error::Error> From<E> for Reject {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Refuses the row: `return reject("no amount")`.
/// ```
/// # use wasmill_sdk::{reject, Reject};
/// fn check(amount: f64) -> Result<(), Reject> {
///     if amount < 0.0 {
///         return reject(format!("the amount {amount} is negative"));
///     }
///     Ok(())
/// }
/// assert_eq!(check(-1.0).unwrap_err().reason(), "the amount -1 is negative");
/// ```
pub fn reject<T>(reason: impl Into<String>) -> Result<T, Reject> {
    Err(Reject::new(reason))
}

/// Bytes that do not follow the contract: state of another type, or a batch that another version
/// of the host laid out.
/// ```
/// let error = wasmill_sdk::testing::decode::<u16>(&[7]).unwrap_err();
/// assert!(!error.to_string().is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl Malformed {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// Why a call failed as a whole: none of its effects take place.
/// ```
/// let fault = wasmill_sdk::Fault::new("the model does not load");
/// assert_eq!(fault.to_string(), "the model does not load");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The row that caused it, if one did: its index in the batch.
    pub row: Option<u32>,
    /// What went wrong, as people will read it.
    pub message: String,
}

impl Fault {
    /// A fault that no row caused.
    /// ```
    /// assert_eq!(wasmill_sdk::Fault::new("no model").row, None);
    /// ```
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            row: None,
            message: message.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some(row) => write!(f, "row {row}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::new(malformed.0)
    }
}
