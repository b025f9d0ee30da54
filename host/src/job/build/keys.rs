//! The keys of a subtask, as a checkpoint has them, in memory or beyond it.

use std::{env, path::PathBuf, sync::Arc};

use wasmill_core::{
    key::KeyGroupRange,
    pipeline::Pipeline,
    plan::{Root, TaskPlan},
};

use super::{Builder, clocks};
use crate::{
    feature::FeatureSet,
    job::{JobError, readers},
    segment::Reader,
    spawn,
    state::{
        self, KeyIndex, Resident, Residents, RestoreError, Restored, Scratch, Spill, SpillError,
    },
    task::{chained::Chained, gated::GatedTask},
};

/// A subtask's share of the memory is at least so many bytes.
const BYTES_MIN: usize = 64 << 10;

/// Where keys go that leave memory; none if all stay.
///
/// # Errors
/// If it cannot be written.
pub(super) fn scratch(pipeline: &Pipeline) -> Result<Option<Arc<Scratch>>, JobError> {
    let Some(spilling) = &pipeline.spilling else {
        return Ok(None);
    };
    let folder = match &spilling.directory {
        Some(folder) => folder.into(),
        None => default_folder()?,
    };
    let scratch = state::scratch(&folder, &pipeline.name);
    scratch.map(Some).map_err(failed)
}

/// What a disk does not do today it may do after a restart.
fn failed(error: SpillError) -> JobError {
    let reason = readers::explain(&error);
    match error {
        SpillError::Disk { .. } => JobError::Disk(reason),
        _ => JobError::Build(reason),
    }
}

/// `$XDG_CACHE_HOME/wasmill/state`, or the same under `~/.cache`.
fn default_folder() -> Result<PathBuf, JobError> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let caches = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    let caches = caches.ok_or_else(|| {
        let remedy = "neither XDG_CACHE_HOME nor HOME is set; say `state: { directory: FOLDER }`";
        JobError::Build(remedy.into())
    })?;
    Ok(caches.join("wasmill/state"))
}

impl Builder<'_> {
    /// Puts back what a checkpoint holds by key for the subtasks of a task, and has keys leave
    /// memory if they may.
    pub(super) fn restore_keys(
        &self,
        task: &TaskPlan,
        subtasks: &mut [GatedTask],
    ) -> Result<(), JobError> {
        let restored = |uid: &str| self.restored(uid).map(|of| (&of.segments[..], clocks(of)));
        let operators = task.operators.iter();
        let names = operators.map(|plan| &self.pipeline.operator(plan.operator).name);
        let from = Source {
            operators: names.map(|name| restored(name)).collect(),
            features: restored(&task.name),
            scratch: self.scratch.as_ref(),
            share: self.share(),
            has_checkpoints: self.attempt.is_some(),
        };
        let done = spawn::side_by_side(subtasks, |subtask| from.restore(task, subtask));
        done.into_iter().collect::<Result<(), _>>().map_err(failed)
    }

    /// The bytes of memory for the keys of one subtask.
    fn share(&self) -> usize {
        let bytes = self.pipeline.spilling.as_ref();
        let bytes = bytes.map_or(0, |spilling| spilling.cache_bytes);
        let keeps = |task: &&TaskPlan| {
            let Root::Gate(root) = &task.root else {
                return false;
            };
            let mut operators = task.operators.iter();
            let has_state = operators.any(|plan| {
                let operator = self.pipeline.operator(plan.operator);
                match operator.plugin().map(|plugin| &plugin.descriptor) {
                    Some(of) => !of.states.is_empty() || !of.timers.is_empty(),
                    // Windows and joins.
                    None => true,
                }
            });
            root.key.is_some() && (has_state || !task.features.is_empty())
        };
        let subtasks = self.plan.tasks.iter().filter(keeps);
        let subtasks: usize = subtasks.map(|task| task.parallelism).sum();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        (bytes / subtasks.max(1)).max(BYTES_MIN)
    }
}

/// What is stored of one owner, and the clocks as of its barrier.
type Stored<'a> = Option<(&'a [Reader], Restored)>;

/// Where the keys of a task come from.
struct Source<'a> {
    /// Of each operator of the chain.
    operators: Vec<Stored<'a>>,
    features: Stored<'a>,
    /// Where keys may leave memory for, and how much of that a subtask has.
    scratch: Option<&'a Arc<Scratch>>,
    share: usize,
    has_checkpoints: bool,
}

impl Source<'_> {
    fn restore(&self, task: &TaskPlan, subtask: &mut GatedTask) -> Result<(), SpillError> {
        let Some(keyed) = &mut subtask.keyed else {
            return Ok(());
        };
        let index = &mut keyed.index;
        let has_state = subtask.chain.has_state() || subtask.features.is_some();
        let mut kept = Kept {
            operators: subtask.chain.operators_mut(),
            features: subtask.features.as_mut(),
        };
        let mut spill = None;
        if let Some(scratch) = self.scratch.filter(|_| has_state) {
            let name = format!("{}-{}", task.id.0, subtask.subtask);
            let share = (&name[..], self.share);
            spill = Some(Spill::new(scratch, share, index, &mut kept.residents())?);
        }
        let range = index.range();
        // Where keys may leave memory, one key group at a time is read into it.
        let steps = match spill {
            Some(_) => range.len(),
            None => 1,
        };
        for step in 0..steps {
            let range = match spill {
                Some(_) => group(range, step),
                None => range,
            };
            self.read(&mut kept, (index, range))?;
            index.recycle();
            if let Some(spill) = &mut spill {
                spill.settle_now(index, &mut kept.residents())?;
            }
        }
        if self.has_checkpoints {
            index.track_changes();
        }
        subtask.spill = spill;
        Ok(())
    }

    fn read(
        &self,
        kept: &mut Kept<'_>,
        (index, range): (&mut KeyIndex, KeyGroupRange),
    ) -> Result<(), RestoreError> {
        for (operator, stored) in kept.operators.iter_mut().zip(&self.operators) {
            if let Some((segments, clocks)) = stored {
                operator.restore_keys((segments, range), *clocks, index)?;
            }
        }
        if let (Some(features), Some((segments, _))) = (&mut kept.features, &self.features) {
            features.restore((segments, range), index)?;
        }
        Ok(())
    }
}

/// All that a subtask keeps by key.
struct Kept<'a> {
    operators: &'a mut [Chained],
    features: Option<&'a mut FeatureSet>,
}

impl Kept<'_> {
    fn residents(&mut self) -> Residents<'_> {
        let operators = self.operators.iter_mut();
        let mut residents: Residents<'_> = Vec::new();
        residents.extend(operators.map(Chained::resident));
        if let Some(features) = &mut self.features {
            residents.push(*features as &mut dyn Resident);
        }
        residents
    }
}

/// One key group of a range.
fn group(range: KeyGroupRange, at: usize) -> KeyGroupRange {
    let start = range.start + at as u16;
    KeyGroupRange {
        start,
        end: start + 1,
    }
}
