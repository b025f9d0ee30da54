//! The way out of a task: rows are dealt to the receivers' gates and sent when there is credit.

use std::{sync::Arc, task::Poll};

use arrow_array::UInt32Array;
use arrow_schema::ArrowError;
use wasmill_core::{
    batch::Batch,
    key::{KeyCodec, Partitioner},
};

use crate::{
    exchange::gate::{Gone, Message, Sender},
    metrics::{NodeMetrics, Waits},
};

/// How an edge deals rows to the subtasks behind it.
pub enum Partition {
    /// By the key's hash.
    Hash {
        /// The key columns.
        codec: KeyCodec,
        /// The receivers' key groups.
        partitioner: Partitioner,
        /// Scratch: the rows of each receiver.
        rows: Vec<Vec<u32>>,
    },
    /// Whole batches in turn.
    Rebalance {
        /// The next receiver.
        next: usize,
    },
    /// Every batch to all.
    Broadcast,
}

/// Where the rows of one stream go.
pub enum Output {
    /// To the subtasks of another task, or to a sink's thread.
    Edge {
        /// Position among the receiving gate's inputs.
        input: u16,
        /// Which row goes to which subtask.
        partition: Partition,
        /// The columns that go along; none: all.
        columns: Option<Vec<usize>>,
        /// A sender for each subtask.
        senders: Vec<Arc<Sender>>,
    },
    /// Nowhere.
    Discard(Arc<NodeMetrics>),
}

/// Rows on their way out, held until they may go.
#[derive(Default)]
pub struct Outbox {
    outputs: Vec<Output>,
    staged: Vec<Parcel>,
    /// How long it has waited for credits.
    waits: Arc<Waits>,
}

struct Parcel {
    output: usize,
    receiver: usize,
    batch: Batch,
}

impl Outbox {
    /// An outbox with these ways out.
    pub fn new(outputs: Vec<Output>) -> Self {
        Self {
            outputs,
            staged: Vec::new(),
            waits: Arc::default(),
        }
    }

    /// How long it has waited for credits.
    pub fn waits(&self) -> &Arc<Waits> {
        &self.waits
    }

    /// Deals a batch to the receivers of an output.
    pub fn stage(&mut self, output: usize, mut batch: Batch) -> Result<(), ArrowError> {
        match &mut self.outputs[output] {
            Output::Discard(metrics) => metrics.records_in.add(batch.len()),
            Output::Edge {
                partition: Partition::Rebalance { next },
                senders,
                ..
            } => {
                *next = (*next + 1) % senders.len();
                self.staged.push(Parcel {
                    output,
                    receiver: *next,
                    batch,
                });
            }
            Output::Edge {
                partition: Partition::Broadcast,
                senders,
                ..
            } => {
                let receivers = 0..senders.len();
                self.staged.extend(receivers.map(|receiver| Parcel {
                    output,
                    receiver,
                    batch: batch.clone(),
                }));
            }
            Output::Edge {
                partition:
                    Partition::Hash {
                        codec,
                        partitioner,
                        rows,
                    },
                columns,
                ..
            } => {
                let hashes = codec.keys(&batch.rows).hashes();
                batch.hashes = Some(hashes.clone());
                if let Some(columns) = columns {
                    batch.rows = batch.rows.project(columns)?;
                }
                if partitioner.parallelism() == 1 {
                    self.staged.push(Parcel {
                        output,
                        receiver: 0,
                        batch,
                    });
                    return Ok(());
                }
                partitioner.partition(&hashes, rows);
                for (receiver, rows) in rows.iter_mut().enumerate() {
                    if !rows.is_empty() {
                        let taken = batch.take(&UInt32Array::from(std::mem::take(rows)))?;
                        self.staged.push(Parcel {
                            output,
                            receiver,
                            batch: taken,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Raises the clocks of what is staged to at least `floor`: the watermark that earlier chunks
    /// reached.
    pub fn raise_clocks(&mut self, floor: i64) {
        for parcel in &mut self.staged {
            if let Some(clocks) = parcel.batch.clocks.take() {
                parcel.batch.clocks =
                    Some(clocks.iter().map(|clock| (*clock).max(floor)).collect());
            }
        }
    }

    /// Sends what is staged, in order.
    pub async fn send(&mut self) -> Result<(), Gone> {
        for Parcel {
            output,
            receiver,
            batch,
        } in self.staged.drain(..)
        {
            match &self.outputs[output] {
                Output::Edge { input, senders, .. } => {
                    let input = *input;
                    let message = Message::Rows { input, batch };
                    send(&self.waits, &senders[receiver], message).await?;
                }
                Output::Discard(_) => {}
            }
        }
        Ok(())
    }

    /// Tells every receiver on every edge; messages of one gate that several edges reach are sent
    /// once an edge.
    pub async fn broadcast(&self, message: &Message) -> Result<(), Gone> {
        for output in &self.outputs {
            if let Output::Edge { senders, .. } = output {
                for sender in senders {
                    send(&self.waits, sender, message.clone()).await?;
                }
            }
        }
        Ok(())
    }
}

/// Sends when there is credit. The clock is asked only where there is none.
async fn send(waits: &Waits, sender: &Sender, message: Message) -> Result<(), Gone> {
    let mut is_waiting = false;
    let mut sending = std::pin::pin!(sender.send(message));
    std::future::poll_fn(move |context| {
        let sent = sending.as_mut().poll(context);
        match (&sent, is_waiting) {
            (Poll::Pending, false) => waits.begin(),
            (Poll::Ready(_), true) => waits.end(),
            _ => {}
        }
        is_waiting = sent.is_pending();
        sent
    })
    .await
}
