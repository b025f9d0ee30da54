//! Subtasks that read.

use std::sync::{Arc, atomic::AtomicU64};

use wasmill_core::{
    pipeline::{self, SourceId, SourceKind, StreamId},
    plan::TaskPlan,
    watermark::SplitWatermark,
};

use super::{Builder, lane};
use crate::{
    connector::generator::Generator,
    exchange::turn::Turns,
    format::Decoder,
    job::{JobError, Subtask, readers, splits},
    task::{
        idle::IdleWatch,
        source::{Feed, Generated, SourceTask},
    },
};

impl Builder<'_> {
    pub(super) fn source(&mut self, task: &TaskPlan, id: SourceId) -> Result<(), JobError> {
        let feeds = self.feeds(task, id)?;
        let spec = self.pipeline.source(id);
        let splits = self.splits.get(&task.id).copied().unwrap_or(1);
        let idle_after_us = spec.event_time.and_then(|time| time.idle_after_us);
        let idle = idle_after_us.map(|after_us| Arc::new(IdleWatch::new(after_us, splits)));
        for (subtask, feed) in feeds.into_iter().enumerate() {
            let chain = self.chain(task, subtask)?;
            let targets = |stream: StreamId| chain.targets(stream.0).to_vec();
            let source = SourceTask {
                name: spec.name.as_str().into(),
                subtask: (subtask, task.parallelism),
                event_time: spec.event_time,
                needs_clocks: self.plan.stream(spec.stream).engine.clocks,
                targets: targets(spec.stream),
                late: spec.late.map(targets).unwrap_or_default(),
                policy: spec.on_error,
                chain,
                metrics: self.sources[id.0].metrics.clone(),
                lane: lane(task.id, 0),
                idle: idle.clone(),
                stopping: self.stop.flag.clone(),
            };
            self.subtasks
                .push((subtask, Subtask::Source(Box::new(source), Box::new(feed))));
        }
        Ok(())
    }

    fn feeds(&mut self, task: &TaskPlan, id: SourceId) -> Result<Vec<Feed>, JobError> {
        let spec = self.pipeline.source(id);
        let disorder = spec.event_time.map_or(0, |time| time.out_of_orderness_us);
        let subtasks = task.parallelism;
        let new_turns = move || Turns::new(subtasks, SplitWatermark::new(disorder));
        let format = match &spec.kind {
            SourceKind::Generator(generator, format) => {
                return self.generated(task, generator, format.as_ref(), &new_turns);
            }
            SourceKind::File(_, format) | SourceKind::Stdin(format) => format,
        };
        let failed = |source| JobError::Open {
            name: spec.name.clone(),
            source,
        };
        let opened = match &spec.kind {
            SourceKind::File(file, _) => {
                let stopping = self.stop.flag.clone();
                splits::files(file, format, self.folder, stopping).map_err(failed)?
            }
            _ => splits::stdin(format),
        };
        self.splits.insert(task.id, opened.count);
        let (sender, receiver) = readers::channel();
        let closer = receiver.clone();
        self.stop.closers.push(Arc::new(move || {
            closer.close();
        }));
        let stopping = self.stop.flag.clone();
        readers::start(&spec.name, opened, new_turns, &sender, &stopping);
        (0..subtasks)
            .map(|_| {
                let decoder = Decoder::new(format)
                    .map_err(|error| JobError::Build(readers::explain(&error)))?;
                Ok(Feed::Chunks {
                    work: receiver.clone(),
                    decoder: Box::new(decoder),
                })
            })
            .collect()
    }

    fn generated(
        &mut self,
        task: &TaskPlan,
        generator: &pipeline::Generator,
        format: Option<&pipeline::Format>,
        new_turns: &dyn Fn() -> Turns<SplitWatermark>,
    ) -> Result<Vec<Feed>, JobError> {
        let splits = u64::from(generator.splits.max(1));
        self.splits.insert(task.id, generator.splits);
        let explain = |error| JobError::Build(readers::explain(&error));
        let computed = Arc::new(Generator::new(generator).map_err(explain)?);
        let each = (0..splits).map(|_| (Arc::new(new_turns()), AtomicU64::new(0)));
        let pieces = Arc::new(each.collect());
        (0..task.parallelism)
            .map(|_| {
                let decoder = format.map(Decoder::new).transpose().map_err(explain)?;
                Ok(Feed::Generated(Generated {
                    generator: Arc::clone(&computed),
                    decoder: decoder.map(Box::new),
                    splits: Arc::clone(&pieces),
                    rate: generator.rate.map(|rate| rate.div_ceil(splits)),
                }))
            })
            .collect()
    }
}
