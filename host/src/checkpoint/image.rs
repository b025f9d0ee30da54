//! What a subtask hands over at a barrier: taken on its slot, encoded elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use wasmill_core::checkpoint::{Segment, SourceState};

use crate::{
    connector::Share,
    segment::{Put, SegmentError},
};

/// State as of a barrier. It does not change any more, whatever its owner goes on to do.
pub trait Image: Send {
    /// Writes it down; called on a thread that may take its time. What is by key goes to `put`,
    /// segment by segment. `earlier` is what the checkpoint that it may build on has of the same
    /// owner, in all subtasks; nothing if it stands alone.
    ///
    /// # Errors
    /// In words, if the state cannot be written: the checkpoint is then declined.
    fn encode(self: Box<Self>, earlier: &[Segment], put: Put<'_>) -> Result<Encoded, String>;
}

/// State of one owner in one subtask, beside the segments that were written for it.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The earlier segments that still count, before those that were written.
    pub kept: Vec<Segment>,
    /// What is not: small things, and large ones.
    pub parts: Vec<(Value, Vec<Bytes>)>,
}

/// What one operator keeps in one subtask, or what its gate keeps for several.
pub struct StateImage {
    /// The operator's name in the document, or the gate's in the plan.
    pub uid: String,
    /// Its watermark.
    pub watermark: i64,
    /// The subtask within its task.
    pub subtask: u16,
    /// The state.
    pub image: Box<dyn Image>,
}

/// State of which several barriers may tell, none of it by key: what was before a chunk that they
/// come before. It is written down once.
#[derive(Clone)]
pub struct SharedImage {
    uid: String,
    watermark: i64,
    subtask: u16,
    kept: Arc<Mutex<Shared>>,
}

enum Shared {
    Image(Box<dyn Image>),
    Parts(Vec<(Value, Vec<Bytes>)>),
    /// It could not be written down.
    Lost,
}

impl StateImage {
    /// For as many barriers as may come.
    pub fn shared(self) -> SharedImage {
        SharedImage {
            uid: self.uid,
            watermark: self.watermark,
            subtask: self.subtask,
            kept: Arc::new(Mutex::new(Shared::Image(self.image))),
        }
    }
}

impl SharedImage {
    /// The state for one of the barriers.
    pub fn image(&self) -> StateImage {
        StateImage {
            uid: self.uid.clone(),
            watermark: self.watermark,
            subtask: self.subtask,
            image: Box::new(self.clone()),
        }
    }
}

impl Image for SharedImage {
    fn encode(self: Box<Self>, _earlier: &[Segment], _put: Put<'_>) -> Result<Encoded, String> {
        let mut kept = self.kept.lock();
        let parts = match std::mem::replace(&mut *kept, Shared::Lost) {
            Shared::Parts(parts) => parts,
            Shared::Image(image) => {
                let reason = || "state by key belongs to one barrier".into();
                let mut refuse = |_| Err(SegmentError::NotTaken(reason()));
                image.encode(&[], &mut refuse)?.parts
            }
            Shared::Lost => return Err("it could not be written down before".into()),
        };
        *kept = Shared::Parts(parts.clone());
        let kept = Vec::new();
        Ok(Encoded { kept, parts })
    }
}

/// A subtask's share of a checkpoint.
#[derive(Default)]
pub struct TaskImage {
    /// Where the splits of a source stood, told by the last of its subtasks.
    pub source: Option<(String, SourceState)>,
    /// The operators with state.
    pub operators: Vec<StateImage>,
    /// What a sink has to do once the checkpoint is decided.
    pub sink: Option<(String, Share)>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Parts(Vec<(Value, Vec<Bytes>)>);

    impl Image for Parts {
        fn encode(self: Box<Self>, _: &[Segment], _: Put<'_>) -> Result<Encoded, String> {
            let kept = Vec::new();
            let parts = self.0;
            Ok(Encoded { kept, parts })
        }
    }

    #[test]
    fn each_barrier_gets_the_same() {
        let parts = vec![(json!({ "n": 1 }), vec![Bytes::from_static(b"large")])];
        let image = StateImage {
            uid: "rules".into(),
            watermark: 7,
            subtask: 1,
            image: Box::new(Parts(parts.clone())),
        };
        let shared = image.shared();
        for _ in 0..3 {
            let of_barrier = shared.image();
            let about = (&*of_barrier.uid, of_barrier.watermark, of_barrier.subtask);
            assert_eq!(about, ("rules", 7, 1));
            let encoded = of_barrier.image.encode(&[], &mut |_| Ok(()));
            assert_eq!(encoded.expect("it can be written").parts, parts);
        }
    }
}
