//! Why a command did not do what it was asked, and the exit code that says so.

use std::{error::Error, fmt, process::ExitCode};

/// Why a command ended without success.
#[derive(Debug)]
pub(super) enum Failure {
    /// What the user gave is wrong: exit code 2.
    Invalid(String),
    /// The work failed: exit code 1.
    Failed(String),
    /// Another run has taken over: exit code 3.
    Fenced(String),
    /// A signal stopped it: exit code 128 and the signal's number.
    Stopped(i32),
}

impl Failure {
    /// Wrong input, with all that led to it.
    pub(super) fn invalid(error: impl Error) -> Self {
        Self::Invalid(chain(&error))
    }

    /// Failed work, with all that led to it.
    pub(super) fn failed(error: impl Error) -> Self {
        Self::Failed(chain(&error))
    }

    /// Another run has taken over, with all that led to it.
    pub(super) fn fenced(error: impl Error) -> Self {
        Self::Fenced(chain(&error))
    }

    /// What went wrong, if something did.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Invalid(reason) | Self::Failed(reason) | Self::Fenced(reason) => Some(reason),
            Self::Stopped(_) => None,
        }
    }

    pub(super) fn code(&self) -> ExitCode {
        match self {
            Self::Invalid(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::from(1),
            Self::Fenced(_) => ExitCode::from(3),
            Self::Stopped(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(message) | Self::Failed(message) | Self::Fenced(message) => {
                write!(f, "wasmill: {message}")
            }
            Self::Stopped(signal) => {
                let name = match signal {
                    2 => " (SIGINT)",
                    15 => " (SIGTERM)",
                    _ => "",
                };
                write!(f, "wasmill: stopped by signal {signal}{name}")
            }
        }
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_say_what_happened() {
        let code = |failure: Failure| format!("{:?}", failure.code());
        let of = |number: u8| format!("{:?}", ExitCode::from(number));
        assert_eq!(code(Failure::Invalid(String::new())), of(2));
        assert_eq!(code(Failure::Failed(String::new())), of(1));
        assert_eq!(code(Failure::Fenced(String::new())), of(3));
        assert_eq!(code(Failure::Stopped(2)), of(130));
        assert_eq!(code(Failure::Stopped(15)), of(143));
    }
}
