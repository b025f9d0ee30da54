//! What is left to do of a job that has come to its end.

use std::collections::HashMap;

use wasmill_core::checkpoint::{Action, End, Fact};

use super::{Checkpoints, CheckpointsError, Handle};
use crate::{
    connector::{
        Follower,
        sink::patience::{Patience, patiently},
    },
    crash_point::{CrashPoint, reach},
};

impl Checkpoints {
    /// Has the sinks of a finished job bring out what they have not.
    ///
    /// # Errors
    /// If a sink cannot, or the attempt cannot go on.
    pub async fn catch_up(
        mut self,
        sinks: &mut HashMap<String, Box<dyn Follower>>,
    ) -> Result<(), CheckpointsError> {
        for (name, sink) in sinks.iter_mut() {
            let marker = patiently(&mut Patience::default(), || sink.marker())?;
            let sink = name.clone();
            self.tell(Fact::Applied { sink, marker });
        }
        let nobody = Handle::default();
        loop {
            let (applies, others) = std::mem::take(&mut self.actions)
                .into_iter()
                .partition(|action| matches!(action, Action::Apply { .. }));
            self.actions = others;
            match self.act(&nobody).await {
                Some(End::Broken(error)) => return Err(error.into()),
                Some(End::Done { .. }) => return Ok(()),
                None => {}
            }
            let applies: Vec<Action> = applies;
            let is_idle = applies.is_empty();
            for action in applies {
                let Action::Apply { sink, manifest } = action else {
                    continue;
                };
                let share = self.share(&sink, &manifest).await?;
                if let Some(follower) = sinks.get_mut(&sink) {
                    patiently(&mut Patience::default(), || {
                        follower.apply(manifest.checkpoint, &share)
                    })?;
                    reach(CrashPoint::CaughtUp);
                    let marker = Some(manifest.checkpoint);
                    self.tell(Fact::Applied { sink, marker });
                }
            }
            if is_idle && self.actions.is_empty() {
                self.wait_for_fact().await;
            }
        }
    }
}
