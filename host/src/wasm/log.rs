//! The guest's log: bounded lines of a call, harmless to terminals.

pub use super::bindings::Level;

/// Longer lines are cut.
const LINE_BYTES_MAX: usize = 4096;
/// How many of the last lines an error carries.
const TAIL_LINES: usize = 20;

/// One line that a guest wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters; lines of stdout are `info`, those of stderr `warn`.
    pub level: Level,
    /// The text, control characters escaped.
    pub text: String,
}

impl LogLine {
    /// Hands the line on to this program's own log, as one of a plugin of an operator.
    pub fn write(&self, operator: &str) {
        let text = &self.text;
        match self.level {
            Level::Trace => tracing::trace!(target: "guest", operator, "{text}"),
            Level::Debug => tracing::debug!(target: "guest", operator, "{text}"),
            Level::Info => tracing::info!(target: "guest", operator, "{text}"),
            Level::Warn => tracing::warn!(target: "guest", operator, "{text}"),
            Level::Error => tracing::error!(target: "guest", operator, "{text}"),
        }
    }
}

/// What a guest wrote in one call.
#[derive(Debug, Default)]
pub(super) struct GuestLog {
    lines: Vec<LogLine>,
    /// Bytes written in this call, kept or cut.
    bytes: u64,
    written: u64,
    partial: [Vec<u8>; 2],
}

/// Which limit a line broke.
pub(super) enum Overflow {
    Lines(u64),
    Bytes(u64),
}

impl GuestLog {
    /// Adds a line within the limits of a call.
    pub(super) fn line(
        &mut self,
        level: Level,
        text: &str,
        (lines_max, bytes_max): (u64, u64),
    ) -> Result<(), Overflow> {
        self.written += 1;
        self.bytes += text.len() as u64;
        if self.written > lines_max {
            return Err(Overflow::Lines(self.written));
        }
        if self.bytes > bytes_max {
            return Err(Overflow::Bytes(self.bytes));
        }
        self.lines.push(LogLine {
            level,
            text: escape(text),
        });
        Ok(())
    }

    /// Adds bytes of stdout (0) or stderr (1); whole lines go to the log.
    pub(super) fn write(
        &mut self,
        stream: usize,
        bytes: &[u8],
        limits: (u64, u64),
    ) -> Result<(), Overflow> {
        for byte in bytes {
            if *byte == b'\n' {
                self.flush(stream, limits)?;
            } else if self.partial[stream].len() < LINE_BYTES_MAX {
                self.partial[stream].push(*byte);
            } else {
                self.bytes += 1;
            }
        }
        match self.bytes > limits.1 {
            true => Err(Overflow::Bytes(self.bytes)),
            false => Ok(()),
        }
    }

    fn flush(&mut self, stream: usize, limits: (u64, u64)) -> Result<(), Overflow> {
        let level = [Level::Info, Level::Warn][stream];
        let bytes = std::mem::take(&mut self.partial[stream]);
        self.line(level, &String::from_utf8_lossy(&bytes), limits)
    }

    /// Takes the call's lines, also those that no newline ended.
    pub(super) fn take(&mut self) -> Vec<LogLine> {
        for stream in 0..2 {
            if !self.partial[stream].is_empty() {
                // The last words of a guest are worth more than the exact bound.
                let _ = self.flush(stream, (u64::MAX, u64::MAX));
            }
        }
        self.bytes = 0;
        self.written = 0;
        std::mem::take(&mut self.lines)
    }

    /// Takes the last lines only: what a failed call leaves.
    pub(super) fn take_tail(&mut self) -> Vec<LogLine> {
        let mut lines = self.take();
        lines.drain(..lines.len().saturating_sub(TAIL_LINES));
        lines
    }
}

/// Marks that reverse the order of what a terminal shows.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes control characters and cuts what is too long.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len().min(LINE_BYTES_MAX));
    for character in text.chars() {
        if escaped.len() >= LINE_BYTES_MAX {
            escaped.push('…');
            break;
        }
        match character {
            '\t' => escaped.push(character),
            // Also the marks that reverse the order of what a terminal shows.
            c if c.is_control() || is_direction(c) => {
                escaped.extend(c.escape_default());
            }
            c => escaped.push(c),
        }
    }
    escaped
}
