//! The operators of a chain, whatever their kind.

use wasmill_core::{batch::Batch, key::KeyGroupRange};

use super::{
    chain::TaskError,
    image::{JoinState, OperatorState, WindowState},
};
use crate::{
    checkpoint::Image,
    join::JoinOperator,
    operator::{Keyed, Operator, OperatorRestore},
    segment::Reader,
    state::{KeyIndex, KeysImage, Resident, RestoreError, Restored},
    window::WindowOperator,
};

/// An operator of one subtask.
pub enum Chained {
    /// Calls a plugin.
    Plugin(Box<Operator>),
    /// Aggregates over windows.
    Window(Box<WindowOperator>),
    /// Joins two streams.
    Join(Box<JoinOperator>),
}

/// What operators emit: the stream's position in the pipeline, and the rows.
type Emitted = Vec<(usize, Batch)>;

impl Chained {
    /// Its name in the document.
    pub fn name(&self) -> &str {
        match self {
            Self::Plugin(operator) => operator.name(),
            Self::Window(operator) => operator.name(),
            Self::Join(operator) => operator.name(),
        }
    }

    /// How far its event time has come.
    pub fn watermark(&self) -> i64 {
        match self {
            Self::Plugin(operator) => operator.watermark(),
            Self::Window(operator) => operator.watermark(),
            Self::Join(operator) => operator.watermark(),
        }
    }

    /// Which subtask it is.
    pub fn subtask(&self) -> u16 {
        match self {
            Self::Plugin(operator) => operator.subtask(),
            Self::Window(operator) => operator.subtask(),
            Self::Join(operator) => operator.subtask(),
        }
    }

    /// Whether it keeps anything from one batch to the next.
    pub fn has_state(&self) -> bool {
        match self {
            Self::Plugin(operator) => operator.has_state(),
            Self::Window(_) | Self::Join(_) => true,
        }
    }

    /// Processes rows of a stream and appends what is emitted.
    ///
    /// # Errors
    /// If a row fails and the policy is to fail, or what is kept grows too large.
    pub async fn process(
        &mut self,
        stream: usize,
        batch: &Batch,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<(), TaskError> {
        match self {
            Self::Plugin(operator) => Ok(operator.process(stream, batch, keyed, emitted).await?),
            Self::Window(operator) => Ok(operator.process(stream, batch, keyed, emitted).await?),
            Self::Join(operator) => Ok(operator.process(stream, batch, keyed, emitted)?),
        }
    }

    /// Moves the event-time clock. `true` means that there is more to come: then it is called
    /// again with the same clock, before any row.
    ///
    /// # Errors
    /// As for [`Chained::process`].
    pub async fn advance(
        &mut self,
        watermark: i64,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<bool, TaskError> {
        match self {
            Self::Plugin(operator) => {
                operator.advance(watermark, keyed, emitted).await?;
                Ok(false)
            }
            Self::Window(operator) => Ok(operator.advance(watermark, keyed, emitted).await?),
            Self::Join(operator) => Ok(operator.advance(watermark, keyed, emitted)?),
        }
    }

    /// Does what is due in processing time, in microseconds.
    ///
    /// # Errors
    /// As for [`Chained::process`].
    pub async fn tick(
        &mut self,
        now: i64,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<(), TaskError> {
        match self {
            Self::Plugin(operator) => Ok(operator.tick(now, keyed, emitted).await?),
            Self::Window(operator) => Ok(operator.tick(now, keyed, emitted).await?),
            Self::Join(_) => Ok(()),
        }
    }

    /// Forgets some of the state that has expired: looks at `count` keys.
    pub fn sweep(&mut self, count: u32, now: i64, index: &mut KeyIndex) {
        match self {
            Self::Plugin(operator) => operator.sweep(count, now, index),
            // Windows and joined rows are freed when they are over.
            Self::Window(_) | Self::Join(_) => {}
        }
    }

    /// Counts bytes that are the task's as this operator's.
    pub fn account_task(&mut self, bytes: usize) {
        match self {
            Self::Plugin(operator) => operator.account_task(bytes),
            Self::Window(operator) => operator.account_task(bytes),
            Self::Join(operator) => operator.account_task(bytes),
        }
    }

    /// The earliest processing time at which it wants a tick.
    pub fn next_tick(&self) -> Option<i64> {
        match self {
            Self::Plugin(operator) => operator.next_tick(),
            Self::Window(operator) => operator.next_tick(),
            Self::Join(_) => None,
        }
    }

    /// The state as it is now; `keys` is that of the task's keys.
    pub fn image(&mut self, keys: Option<KeysImage>) -> Box<dyn Image> {
        match self {
            Self::Plugin(operator) => Box::new(OperatorState(operator.image(keys))),
            Self::Window(operator) => Box::new(WindowState(operator.image(keys))),
            Self::Join(operator) => Box::new(JoinState(operator.image(keys))),
        }
    }

    /// Puts back what a checkpoint holds of what is not by key, before the first row.
    ///
    /// # Errors
    /// If it is not what the format says.
    pub fn restore(&mut self, from: OperatorRestore<'_>) -> Result<(), RestoreError> {
        match self {
            Self::Plugin(operator) => return operator.restore(from),
            Self::Window(operator) => operator.restore_clock(from.clocks.watermark),
            Self::Join(operator) => operator.restore_clock(from.clocks.watermark),
        }
        Ok(())
    }

    /// Puts back what a checkpoint holds of some key groups, before the first row.
    ///
    /// # Errors
    /// If it is not what the format says.
    pub fn restore_keys(
        &mut self,
        from: (&[Reader], KeyGroupRange),
        clocks: Restored,
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        match self {
            Self::Plugin(operator) => operator.restore_keys(from, clocks, index),
            Self::Window(operator) => operator.restore_keys(from, index),
            Self::Join(operator) => operator.restore_keys(from, index),
        }
    }

    /// As something whose keys may leave memory.
    pub fn resident(&mut self) -> &mut dyn Resident {
        match self {
            Self::Plugin(operator) => &mut **operator,
            Self::Window(operator) => &mut **operator,
            Self::Join(operator) => &mut **operator,
        }
    }

    /// The stream that has to be read to its end before others count.
    pub fn awaited(&self) -> Option<usize> {
        match self {
            Self::Join(operator) => operator.awaited(),
            Self::Plugin(_) | Self::Window(_) => None,
        }
    }

    /// The stream that was awaited has been read to its end. `true` means that there is more to
    /// come: then it is called again, before any row.
    ///
    /// # Errors
    /// As for [`Chained::process`].
    pub fn loaded(
        &mut self,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<bool, TaskError> {
        match self {
            Self::Join(operator) => Ok(operator.loaded(keyed, emitted)?),
            Self::Plugin(_) | Self::Window(_) => Ok(false),
        }
    }
}
