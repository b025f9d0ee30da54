//! A subtask's share of a checkpoint, on its way into the storage.

use std::{collections::BTreeMap, io::Read};

use bytes::Bytes;
use wasmill_core::checkpoint::{
    AttemptId, CheckpointId, Digest, Manifest, ObjectRef, OperatorSnapshot, Part, Scope, Segment,
    SinkState, Snapshot, SubtaskIndex,
};

use crate::{
    checkpoint::{Encoded, StateImage, Storage, TaskImage},
    connector::Share,
    crash_point::{CrashPoint, reach},
    segment::{self, SegmentError},
};

/// Segments that are written and wait to be stored.
const WRITTEN_MAX: usize = 1;

/// Names for the objects that one subtask writes for one checkpoint.
pub(super) struct Names {
    scope: Scope,
    attempt: AttemptId,
    checkpoint: CheckpointId,
    subtask: SubtaskIndex,
}

impl Names {
    /// Nobody else uses these names: not another attempt, not another subtask.
    pub(super) fn new(
        scope: &Scope,
        attempt: AttemptId,
        checkpoint: CheckpointId,
        subtask: SubtaskIndex,
    ) -> Self {
        Self {
            scope: scope.clone(),
            attempt,
            checkpoint,
            subtask,
        }
    }

    /// The name of an object, as a manifest calls it.
    fn object(&self, owner: &str, what: &str, number: usize) -> String {
        // The gate of a task has a name for people.
        let plain = |letter: char| match letter {
            'a'..='z' | '0'..='9' | '_' | '-' => letter,
            _ => '.',
        };
        let owner: String = owner.chars().map(plain).collect();
        let rest = format!("{owner}/{}-{what}-{number}", self.subtask.0);
        Scope::object_name(self.attempt, self.checkpoint, &rest)
    }
}

/// Writes a subtask's share down and stores it. `base` is the manifest of the checkpoint that it
/// may build on.
///
/// # Errors
/// In words, if some of it is not stored.
pub(super) async fn upload(
    storage: &Storage,
    names: &Names,
    base: Option<&Manifest>,
    image: TaskImage,
) -> Result<Snapshot, String> {
    let mut snapshot = Snapshot {
        sources: image.source.into_iter().collect(),
        ..Snapshot::default()
    };
    for operator in image.operators {
        let of_operator = base.and_then(|base| base.operators.get(&operator.uid));
        let earlier = of_operator.map_or_else(Vec::new, |state| state.segments.clone());
        let (uid, share) = upload_operator(storage, names, earlier, operator).await?;
        snapshot.operators.insert(uid, share);
    }
    if let Some((sink, share)) = image.sink {
        let part = upload_share(storage, names, &sink, share).await?;
        let state = SinkState { parts: vec![part] };
        snapshot.sinks = BTreeMap::from([(sink, state)]);
    }
    Ok(snapshot)
}

async fn upload_operator(
    storage: &Storage,
    names: &Names,
    earlier: Vec<Segment>,
    operator: StateImage,
) -> Result<(String, OperatorSnapshot), String> {
    let StateImage {
        uid,
        watermark,
        subtask,
        image,
    } = operator;
    let (written, to_store) = async_channel::bounded::<segment::Encoded>(WRITTEN_MAX);
    let encoding = tokio::task::spawn_blocking(move || {
        let lost = |_| SegmentError::NotTaken("an earlier segment could not be stored".into());
        let mut put = |encoded| written.send_blocking(encoded).map_err(lost);
        let encoded = image.encode(&earlier, &mut put);
        reach(CrashPoint::StateEncoded);
        encoded
    });
    let mut segments = Vec::new();
    while let Ok(encoded) = to_store.recv().await {
        let segment = encoded.segment(names.object(&uid, "segment", segments.len()));
        let full = names.scope.object(&segment.object.name);
        let put = storage.put(&full, encoded.bytes.into()).await;
        put.map_err(|error| format!("`{full}` cannot be stored: {error}"))?;
        reach(CrashPoint::MidUpload);
        segments.push(segment);
    }
    let encoded = encoding.await.map_err(|error| error.to_string())?;
    let Encoded { kept, parts } = encoded?;
    let mut share = OperatorSnapshot {
        watermark,
        segments: [kept, segments].concat(),
        parts: Vec::new(),
    };
    let mut number = 0;
    for (state, large) in parts {
        let mut objects = Vec::new();
        for bytes in large {
            let name = names.object(&uid, "part", number);
            objects.push(put(storage, names, name, bytes).await?);
            number += 1;
        }
        share.parts.push(Part {
            subtask,
            state,
            objects,
        });
    }
    Ok((uid, share))
}

async fn upload_share(
    storage: &Storage,
    names: &Names,
    sink: &str,
    share: Share,
) -> Result<Part, String> {
    let mut objects = Vec::new();
    for (number, spooled) in share.objects.into_iter().enumerate() {
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            spooled.reader().read_to_end(&mut bytes).map(|_| bytes)
        });
        let bytes = read.await.map_err(|error| error.to_string())?;
        let bytes = bytes.map_err(|error| error.to_string())?;
        let name = names.object(sink, "rows", number);
        objects.push(put(storage, names, name, bytes.into()).await?);
    }
    Ok(Part {
        subtask: 0,
        state: share.state,
        objects,
    })
}

async fn put(
    storage: &Storage,
    names: &Names,
    name: String,
    bytes: Bytes,
) -> Result<ObjectRef, String> {
    let object = ObjectRef {
        bytes: bytes.len() as u64,
        digest: Digest::of(&bytes),
        name,
    };
    let full = names.scope.object(&object.name);
    let put = storage.put(&full, bytes).await;
    put.map_err(|error| format!("`{full}` cannot be stored: {error}"))?;
    reach(CrashPoint::MidUpload);
    Ok(object)
}
