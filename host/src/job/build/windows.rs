//! Operators that aggregate over windows, with the plugins of their aggregates.

use std::sync::Arc;

use wasmill_core::{
    pipeline::InputBinding,
    plan::{OperatorPlan, TaskPlan},
    window::Windowing,
};

use super::{Builder, small};
use crate::{
    job::JobError,
    metrics::NodeMetrics,
    operator::Make,
    task::chained::Chained,
    wasm::Plugin,
    window::{self, WindowOperator},
};

impl Builder<'_> {
    /// An operator that aggregates over windows, in one subtask.
    pub(super) fn window(
        &self,
        (task, plan, subtask): (&TaskPlan, &OperatorPlan, usize),
        windowing: &Windowing,
        (inputs, metrics): (Vec<InputBinding>, Arc<NodeMetrics>),
    ) -> Result<Chained, JobError> {
        let spec = self.pipeline.operator(plan.operator);
        let mut outputs = spec.outputs.iter();
        let parts = window::Parts {
            inputs,
            has_time: outputs.all(|stream| self.pipeline.stream(*stream).has_time),
            subtask: small(subtask),
            subtasks: task.parallelism,
            job: self.pipeline.name.as_str().into(),
            plugins: self.aggregates(plan, windowing)?,
            is_spilling: self.pipeline.spilling.is_some(),
            metrics,
        };
        let operator = WindowOperator::new(spec, windowing.clone(), parts);
        Ok(Chained::Window(Box::new(operator)))
    }

    /// The plugins of a window's aggregates.
    fn aggregates(
        &self,
        plan: &OperatorPlan,
        windowing: &Windowing,
    ) -> Result<Vec<Plugin>, JobError> {
        let plugins = match &self.plugins[plan.operator.0] {
            Some(Make::Aggregates(plugins)) => plugins.to_vec(),
            Some(Make::Plugin(_) | Make::Native(_)) | None => Vec::new(),
        };
        match plugins.len() == windowing.plugins().count() {
            true => Ok(plugins),
            false => {
                let name = &self.pipeline.operator(plan.operator).name;
                let message = format!("the plugins of window `{name}` were not loaded");
                Err(JobError::Build(message))
            }
        }
    }
}
