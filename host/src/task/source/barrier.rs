//! The barriers of one source subtask.

use std::{pin::pin, sync::Arc};

use futures_util::future::{Either, select};

use super::SourceTask;
use crate::{
    checkpoint::{Progress, SharedImage, StateImage, TaskImage},
    crash_point::{CrashPoint, reach},
    exchange::{
        gate::{Barrier, Message},
        turn::{Held, Turn},
    },
    task::chain::TaskError,
};

impl SourceTask {
    /// Keeps the chain's state before a chunk changes it: of barriers that come before the chunk's
    /// turn it is known only then that the chunk lies behind them.
    pub(super) fn remember(&mut self) {
        self.before = None;
        if self.reporter.is_some() && self.chain.has_state() {
            let images = self.chain.images(None).into_iter();
            self.before = Some(images.map(StateImage::shared).collect());
        }
    }

    /// Sends a barrier, and tells what this subtask has to say about it.
    pub(super) async fn send_barrier(&mut self, barrier: Barrier) -> Result<(), TaskError> {
        self.sent = barrier.checkpoint;
        self.is_over = barrier.is_last;
        self.chain
            .outbox
            .broadcast(&Message::Barrier(barrier))
            .await?;
        reach(CrashPoint::BarrierSent);
        let source = self.barriers.sent(barrier);
        let Some(reporter) = &self.reporter else {
            return Ok(());
        };
        let image = TaskImage {
            source: source.map(|state| (self.name.to_string(), state)),
            operators: match &self.before {
                Some(before) => before.iter().map(SharedImage::image).collect(),
                None => self.chain.images(None),
            },
            ..TaskImage::default()
        };
        Ok(reporter.snapshot(barrier, image).await?)
    }

    /// Waits for a turn. Barriers that are wanted meanwhile are sent at once, and not in the turn:
    /// whoever has the turn may be waiting for a gate that waits for just these. The rows of the
    /// turn lie behind them, and nothing of them has been sent.
    pub(super) async fn turn<'a>(
        &mut self,
        held: Held<'a, Progress>,
    ) -> Result<Turn<'a, Progress>, TaskError> {
        let barriers = Arc::clone(&self.barriers);
        let mut turn = pin!(held.turn(self.subtask.0));
        loop {
            let barrier = {
                let wanted = pin!(barriers.wanted(self.subtask.0, self.sent));
                match select(turn.as_mut(), wanted).await {
                    Either::Left((turn, _)) => return Ok(turn?),
                    Either::Right((barrier, _)) => barrier,
                }
            };
            match barrier {
                Some(barrier) => self.send_barrier(barrier).await?,
                None => return Ok(turn.await?),
            }
        }
    }
}
