//! What sinks lack, and what is left to do of a job that has come to its end.

use std::{collections::HashMap, time::Duration};

use wasmill_core::checkpoint::{Action, End, Fact, Manifest};

use super::{Checkpoints, CheckpointsError, Handle, restore};
use crate::{
    connector::{
        Follower, Share,
        sink::patience::{Patience, patiently},
    },
    crash_point::{CrashPoint, reach},
    spawn,
};

/// Between two tries to read what a sink has to bring out.
const SHARE_AGAIN: Duration = Duration::from_millis(200);
/// Such tries until the attempt fails: half a minute, if the store answers at once.
const SHARE_TRIES: usize = if cfg!(test) { 5 } else { 150 };

impl Checkpoints {
    /// Reads a sink's share back. A store that does not answer is asked again: nothing goes on
    /// without these rows. But not for ever, so that whoever asks the job to end is heard.
    pub(super) async fn share(
        &self,
        sink: &str,
        manifest: &Manifest,
    ) -> Result<Share, CheckpointsError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match restore::share(&self.storage, &self.scope, manifest, sink).await {
                Err(CheckpointsError::Storage(error)) if tries < SHARE_TRIES => {
                    tracing::warn!(sink, %error, "rows of a decided checkpoint cannot be read");
                    spawn::rest(SHARE_AGAIN).await;
                }
                told => return told,
            }
        }
    }

    /// Has the sinks of a finished job bring out what they have not.
    ///
    /// # Errors
    /// If a sink cannot, or the attempt cannot go on.
    pub async fn catch_up(
        mut self,
        sinks: &mut HashMap<String, Box<dyn Follower>>,
    ) -> Result<(), CheckpointsError> {
        for (name, sink) in sinks.iter_mut() {
            let marker = patiently(&mut Patience::default(), || sink.marker());
            let marker = marker.map_err(|source| CheckpointsError::sink(name, source))?;
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
                Some(End::Broken(error)) => return Err(self.broken(error)),
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
                    let applied = patiently(&mut Patience::default(), || {
                        follower.apply(manifest.checkpoint, &share)
                    });
                    applied.map_err(|source| CheckpointsError::sink(&sink, source))?;
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
