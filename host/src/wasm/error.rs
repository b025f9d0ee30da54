//! Why a plugin was refused, and how a call ended badly.

use std::fmt;

use super::{bindings::Fault, limits::Limit, log::LogLine};

/// Why a plugin was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The bytes are something else.
    #[error("this is {found}, not a WebAssembly component; {remedy}")]
    NotAComponent {
        /// What they look like.
        found: &'static str,
        /// How to get a component.
        remedy: &'static str,
    },
    /// The bytes are a component that is broken.
    #[error("the component is malformed at byte {offset}: {reason}; build it again")]
    Malformed {
        /// Where.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// The component is larger or more tangled than a plugin may be.
    #[error("the component has {found} {what}; a plugin may have {most}")]
    Bomb {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much there may be.
        most: u64,
    },
    /// The component does not export what an operator exports.
    #[error(
        "the component exports {found}; an operator exports `wasmill:operator/operator@0.1.0` or \
         `wasmill:operator/record-operator@0.1.0`, an aggregate \
         `wasmill:operator/aggregate@0.1.0`: build it against world `batch-operator`, \
         `single-record-operator` or `window-aggregate`; in Rust, `wasmill_sdk::export!(TYPE)` or \
         `export_aggregate!` is all that takes"
    )]
    WrongWorld {
        /// What it exports.
        found: String,
    },
    /// The component wants what the sandbox does not give.
    #[error("the component imports {names}, which plugins cannot have: {remedy}")]
    Import {
        /// The imports' names.
        names: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// An import or export has another type than the contract says.
    #[error("the component does not keep to the contract: {reason}")]
    Contract {
        /// What differs.
        reason: String,
    },
    /// The compiler failed.
    #[error("the component cannot be compiled: {reason}")]
    Compile {
        /// What the compiler said.
        reason: String,
    },
    /// `describe` failed.
    #[error("the plugin cannot describe itself")]
    Describe(#[source] Box<CallError>),
    /// `describe` gave too much.
    #[error("the plugin's descriptor is {bytes} bytes long, at most {bytes_max} are allowed")]
    DescriptorTooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
}

/// Pieces into which failing rows are cut.
pub const PIECES: usize = 32;

/// How a call ended badly. Nothing of the call takes effect, and the instance is to be dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The guest said so itself.
    #[error("the plugin failed{}: {message}", at_row(*row))]
    Fault {
        /// The row to blame, if the guest named one.
        row: Option<u32>,
        /// What it said.
        message: String,
        /// The last lines of its log.
        log: Vec<LogLine>,
    },
    /// The guest trapped.
    #[error("the plugin crashed ({kind}){}: {message}", at_row(row_of(reported)))]
    Trap {
        /// In what way.
        kind: TrapKind,
        /// What is known of it: the guest's last words if it had any.
        message: String,
        /// CPU time of the call in microseconds, as far as ticks saw it.
        cpu_us: u64,
        /// What the guest reported before it trapped.
        reported: Option<Fault>,
        /// The last lines of its log.
        log: Vec<LogLine>,
    },
    /// The guest used more than it may.
    #[error(
        "the plugin exceeded its limit `{limit}`: {used} of {budget}{} \
         (the call used {cpu_us} µs of CPU time)",
        unit(*limit)
    )]
    Limit {
        /// Which limit.
        limit: Limit,
        /// What it used or wanted, in the limit's unit; CPU time in microseconds.
        used: u64,
        /// What it may use.
        budget: u64,
        /// CPU time of the call in microseconds, as far as ticks saw it.
        cpu_us: u64,
        /// What the guest reported before it was stopped.
        reported: Option<Fault>,
        /// The last lines of its log.
        log: Vec<LogLine>,
    },
    /// The instance cannot be called: an earlier call failed or was cancelled.
    #[error("the instance is spent: an earlier call failed; make a new one")]
    Spent,
}

impl CallError {
    /// The row that the guest blamed, if any.
    pub fn row(&self) -> Option<u32> {
        match self {
            Self::Fault { row, .. } => *row,
            Self::Trap { reported, .. } | Self::Limit { reported, .. } => {
                reported.as_ref().and_then(|fault| fault.row)
            }
            Self::Spent => None,
        }
    }

    /// What is wrong, without the row's number in its call: that depends on which rows came
    /// together.
    pub fn reason(&self) -> String {
        match self {
            Self::Fault { message, .. } => format!("the plugin failed: {message}"),
            Self::Trap { kind, message, .. } => format!("the plugin crashed ({kind}): {message}"),
            // How much CPU time a call has used differs from run to run.
            Self::Limit {
                limit: Limit::Cpu,
                budget,
                ..
            } => format!(
                "the plugin exceeded its limit `{}`: {budget} µs",
                Limit::Cpu
            ),
            Self::Limit {
                limit,
                used,
                budget,
                ..
            } => {
                let unit = unit(*limit);
                format!("the plugin exceeded its limit `{limit}`: {used} of {budget}{unit}")
            }
            Self::Spent => self.to_string(),
        }
    }

    /// Into how many pieces so many rows are cut to find the one to blame.
    ///
    /// A call that exceeds a limit has cost its whole budget, so there are two cuts of a usual
    /// batch, and not three.
    pub fn pieces(&self, rows: usize) -> usize {
        match self {
            Self::Limit { .. } if rows <= PIECES * 8 => rows,
            _ => PIECES,
        }
    }

    /// Blames a row that the guest could not name itself. Limits are of the whole batch: the record
    /// at which one was reached may be the least of those that used it up, so none is blamed.
    pub(super) fn at_row(mut self, at: usize) -> Self {
        let at = u32::try_from(at).ok();
        match &mut self {
            Self::Fault { row, .. } => *row = at,
            Self::Trap {
                reported, message, ..
            } => {
                let message = message.clone();
                *reported = Some(Fault { row: at, message });
            }
            Self::Limit { reported, .. } => *reported = None,
            Self::Spent => {}
        }
        self
    }

    /// The last lines of the guest's log.
    pub fn log(&self) -> &[LogLine] {
        match self {
            Self::Fault { log, .. } | Self::Trap { log, .. } | Self::Limit { log, .. } => log,
            Self::Spent => &[],
        }
    }
}

/// In what way a guest trapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrapKind {
    /// It gave up: a panic, an abort, `unreachable`.
    Unreachable,
    /// It read or wrote outside its memory or a table.
    OutOfBounds,
    /// It divided by zero, or a number did not fit.
    Arithmetic,
    /// It called what it may not call, or at a time when it may not.
    Forbidden,
    /// It returned what the canonical ABI does not allow.
    Abi,
    /// Anything else.
    Other,
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::OutOfBounds => "out of bounds",
            Self::Arithmetic => "arithmetic",
            Self::Forbidden => "forbidden",
            Self::Abi => "abi",
            Self::Other => "trap",
        })
    }
}

fn row_of(fault: &Option<Fault>) -> Option<u32> {
    fault.as_ref().and_then(|fault| fault.row)
}

fn at_row(row: Option<u32>) -> String {
    row.map(|row| format!(" at row {row}")).unwrap_or_default()
}

fn unit(limit: Limit) -> &'static str {
    match limit {
        Limit::Cpu => " µs",
        Limit::Memory | Limit::OutputBytes | Limit::LogBytes | Limit::Stack => " bytes",
        Limit::OutputRows => " rows",
        Limit::LogLines => " lines",
        Limit::Table => " elements",
        Limit::Metrics => " counters",
    }
}
