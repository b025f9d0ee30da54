//! Sinks at work: each on a thread of its own, fed through one bounded queue.

use std::{sync::Arc, thread::JoinHandle};

use async_channel::{Receiver, Sender, TryRecvError, bounded};
use wasmill_core::batch::Batch;

use crate::{
    connector::{ConnectorError, Sink},
    exchange::gate::Gone,
    metrics::NodeMetrics,
    spawn,
};

/// Batches that may wait for a sink.
const BATCHES_MAX: usize = 16;

/// The way to a sink's thread. The sink closes when the last sender is dropped.
#[derive(Clone)]
pub struct SinkSender(Sender<Batch>);

impl SinkSender {
    /// Hands over rows when the queue has room.
    pub async fn send(&self, batch: Batch) -> Result<(), Gone> {
        self.0.send(batch).await.map_err(|_| Gone)
    }
}

/// Starts a sink's thread. It flushes whenever its queue runs empty and closes the sink at the end.
pub fn start(
    name: &str,
    sink: Box<dyn Sink>,
    metrics: Arc<NodeMetrics>,
) -> (SinkSender, JoinHandle<Result<(), ConnectorError>>) {
    let (sender, receiver) = bounded(BATCHES_MAX);
    let body = move || serve(sink, &receiver, &metrics);
    (
        SinkSender(sender),
        spawn::thread(&format!("sink-{name}"), body),
    )
}

fn serve(
    mut sink: Box<dyn Sink>,
    batches: &Receiver<Batch>,
    metrics: &NodeMetrics,
) -> Result<(), ConnectorError> {
    loop {
        let batch = match batches.try_recv() {
            Ok(batch) => batch,
            Err(TryRecvError::Closed) => return sink.close(),
            Err(TryRecvError::Empty) => {
                sink.flush()?;
                match batches.recv_blocking() {
                    Ok(batch) => batch,
                    Err(_) => return sink.close(),
                }
            }
        };
        sink.write(&batch)?;
        metrics.records_in.add(batch.len());
    }
}
