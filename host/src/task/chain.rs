//! Chains: the operators of one task, run one after the other without a queue between them.

use std::{collections::VecDeque, sync::Arc};

use arrow_schema::ArrowError;
use wasmill_core::batch::Batch;

use crate::{
    checkpoint::StateImage,
    exchange::{gate::Gone, turn::Lost},
    feature::FeatureFault,
    join::JoinError,
    operator::{Keyed, OperatorError},
    state::{KeysImage, SpillError},
    task::{chained::Chained, outbox::Outbox, slot, sorter::SorterError},
    window::WindowError,
};

/// Why a task ended before its input did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// An operator failed and its policy is to fail.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// Windows cannot be kept or computed.
    #[error(transparent)]
    Window(WindowError),
    /// Rows cannot be joined.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// A source cannot be read.
    #[error("source `{source_name}`: {message}")]
    Source {
        /// The source's name.
        source_name: Arc<str>,
        /// What is wrong, where, and what to do.
        message: String,
        /// Whether the same would happen again if it was tried later.
        is_lasting: bool,
    },
    /// A row of a source does not fit and the policy is to fail.
    #[error("source `{source_name}`: {message}")]
    Row {
        /// The source's name.
        source_name: Arc<str>,
        /// What is wrong, where, and what to do.
        message: String,
    },
    /// A receiver is gone; its own error says why.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// Another subtask of the source is gone; its own error says why.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A declared feature cannot be computed.
    #[error("{0}")]
    Feature(#[from] FeatureFault),
    /// State cannot leave memory or come back.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// Rows cannot be put in order.
    #[error("{0}")]
    Order(#[from] SorterError),
    /// Columns that do not fit together: a mistake of ours.
    #[error("the rows cannot be arranged")]
    Rows(#[from] ArrowError),
}

impl From<WindowError> for TaskError {
    /// A plugin fails in a window as it does in an operator of its own.
    fn from(error: WindowError) -> Self {
        match error {
            WindowError::Plugin(error) => Self::Operator(error),
            error => Self::Window(error),
        }
    }
}

/// Who reads a stream within the task, or carries it out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// An input of an operator of this chain.
    Operator {
        /// The operator's position in the chain.
        operator: usize,
        /// The stream's position in the pipeline.
        stream: usize,
    },
    /// A way out.
    Output(usize),
}

/// The readers of each stream, by the stream's position in the pipeline.
pub type Routes = Vec<Vec<Target>>;

/// The operators of one subtask.
pub struct Chain {
    operators: Vec<Chained>,
    routes: Routes,
    /// Where rows leave.
    pub outbox: Outbox,
    /// Rows on their way from one operator to the next; kept for its memory.
    work: VecDeque<(usize, Batch)>,
}

/// Rows that an operator emitted: the stream's position in the pipeline, and the rows.
pub type Emitted = Vec<(usize, Batch)>;

impl Chain {
    /// Operators in topological order.
    pub fn new(operators: Vec<Chained>, routes: Routes, outbox: Outbox) -> Self {
        Self {
            operators,
            routes,
            outbox,
            work: VecDeque::new(),
        }
    }

    /// The readers of a stream.
    pub fn targets(&self, stream: usize) -> &[Target] {
        &self.routes[stream]
    }

    /// Pushes rows that come from outside the chain to the given readers, and what these emit
    /// further on.
    ///
    /// # Errors
    /// If an operator fails and its policy is to fail.
    pub async fn push(
        &mut self,
        targets: &[Target],
        batch: Batch,
        keyed: Option<&mut Keyed>,
    ) -> Result<(), TaskError> {
        let mut keyed = keyed;
        let mut emitted = Vec::new();
        let (last, others) = match targets.split_last() {
            None => return Ok(()),
            Some(split) => split,
        };
        for target in others {
            self.deliver(*target, batch.clone(), keyed.as_deref_mut(), &mut emitted)
                .await?;
        }
        self.deliver(*last, batch, keyed, &mut emitted).await?;
        self.follow(emitted).await
    }

    /// Moves the event-time clock: operators wake the keys whose timers are due.
    ///
    /// # Errors
    /// As for [`Chain::push`].
    pub async fn advance(
        &mut self,
        watermark: i64,
        mut keyed: Option<&mut Keyed>,
    ) -> Result<(), TaskError> {
        for at in 0..self.operators.len() {
            loop {
                let mut emitted = Vec::new();
                let keyed = keyed.as_deref_mut();
                let has_more = self.operators[at]
                    .advance(watermark, keyed, &mut emitted)
                    .await?;
                self.follow(emitted).await?;
                if !has_more {
                    break;
                }
                self.outbox.send().await?;
                slot::breathe().await;
            }
        }
        Ok(())
    }

    /// The stream that some operator reads to its end before others count, and its operator.
    pub fn awaited(&self) -> Option<(usize, usize)> {
        let operators = self.operators.iter().enumerate();
        let mut awaited = operators.filter_map(|(at, operator)| Some((at, operator.awaited()?)));
        awaited.next()
    }

    /// The stream that an operator awaited has been read to its end.
    ///
    /// # Errors
    /// As for [`Chain::push`].
    pub async fn loaded(
        &mut self,
        operator: usize,
        mut keyed: Option<&mut Keyed>,
    ) -> Result<(), TaskError> {
        loop {
            let mut emitted = Vec::new();
            let keyed = keyed.as_deref_mut();
            let has_more = self.operators[operator].loaded(keyed, &mut emitted)?;
            self.follow(emitted).await?;
            self.outbox.send().await?;
            if !has_more {
                return Ok(());
            }
            slot::breathe().await;
        }
    }

    /// Fires what is due in processing time, in microseconds.
    ///
    /// # Errors
    /// As for [`Chain::push`].
    pub async fn tick(&mut self, now: i64, mut keyed: Option<&mut Keyed>) -> Result<(), TaskError> {
        for at in 0..self.operators.len() {
            let mut emitted = Vec::new();
            self.operators[at]
                .tick(now, keyed.as_deref_mut(), &mut emitted)
                .await?;
            self.follow(emitted).await?;
        }
        Ok(())
    }

    /// Rows of a stream that come from within the task: dead letters, late rows.
    ///
    /// # Errors
    /// As for [`Chain::push`].
    pub async fn emit(&mut self, stream: usize, batch: Batch) -> Result<(), TaskError> {
        self.follow(vec![(stream, batch)]).await
    }

    /// Forgets some of what has expired: looks at `count` keys of each state.
    pub fn sweep(&mut self, count: u32, now: i64, keyed: &mut Keyed) {
        for operator in &mut self.operators {
            operator.sweep(count, now, &mut keyed.index);
        }
    }

    /// The chain's operators, to put back what a checkpoint holds for them.
    pub fn operators_mut(&mut self) -> &mut [Chained] {
        &mut self.operators
    }

    /// Whether any operator keeps something from one batch to the next.
    pub fn has_state(&self) -> bool {
        self.operators.iter().any(Chained::has_state)
    }

    /// The state of the chain's operators as of now; `keys` is that of the task's keys.
    pub fn images(&mut self, keys: Option<&KeysImage>) -> Vec<StateImage> {
        let operators = self.operators.iter_mut().enumerate();
        let with_state = operators.filter(|(_, operator)| operator.has_state());
        with_state
            .map(|(at, operator)| StateImage {
                uid: operator.name().to_string(),
                watermark: operator.watermark(),
                subtask: operator.subtask(),
                image: operator.image(keys.map(|keys| keys.of_owner(at))),
            })
            .collect()
    }

    /// Counts bytes that belong to the task as a whole as its first operator's.
    pub fn account_task(&mut self, bytes: usize) {
        if let Some(operator) = self.operators.first_mut() {
            operator.account_task(bytes);
        }
    }

    /// The earliest processing time at which an operator wants a tick.
    pub fn next_tick(&self) -> Option<i64> {
        self.operators.iter().filter_map(Chained::next_tick).min()
    }

    async fn follow(&mut self, emitted: Emitted) -> Result<(), TaskError> {
        self.work.extend(emitted);
        while let Some((stream, batch)) = self.work.pop_front() {
            let mut emitted = Vec::new();
            for at in 0..self.routes[stream].len() {
                let target = self.routes[stream][at];
                self.deliver(target, batch.clone(), None, &mut emitted)
                    .await?;
            }
            self.work.extend(emitted);
        }
        Ok(())
    }

    async fn deliver(
        &mut self,
        target: Target,
        batch: Batch,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<(), TaskError> {
        match target {
            Target::Output(output) => self.outbox.stage(output, batch)?,
            Target::Operator { operator, stream } => {
                self.operators[operator]
                    .process(stream, &batch, keyed, emitted)
                    .await?;
                slot::breathe().await;
            }
        }
        Ok(())
    }
}
