//! Which engine columns a stream's batches must carry: those that someone downstream needs.

use super::{EngineColumns, Plan};
use crate::feature::Window;
use crate::pipeline::document::{EngineColumn, OrderWord};
use crate::pipeline::{Operator, Pipeline, StreamId};

/// Goes from the sinks to the sources, so that each consumer is known before its producer.
pub(super) fn fill(pipeline: &Pipeline, plan: &mut Plan) {
    for sink in &pipeline.sinks {
        let times = sink
            .include
            .iter()
            .any(|(_, column)| *column == EngineColumn::EventTime);
        for stream in &sink.inputs {
            need(
                plan,
                *stream,
                EngineColumns {
                    times,
                    clocks: false,
                },
            );
        }
    }
    for operator in pipeline.operators.iter().rev() {
        let needs = operator_needs(operator, plan);
        for input in &operator.inputs {
            let (times, clocks) = operator.reads_time(input);
            let needs = EngineColumns {
                times: needs.times || times,
                clocks: needs.clocks || clocks,
            };
            need(plan, input.stream, needs);
        }
    }
}

fn operator_needs(operator: &Operator, plan: &Plan) -> EngineColumns {
    let mut needs = EngineColumns::default();
    for stream in operator
        .outputs
        .iter()
        .copied()
        .chain(operator.late_streams())
    {
        let of = plan.streams[stream.0].engine;
        needs.times |= of.times;
        needs.clocks |= of.clocks;
    }
    let rolls = |feature: &crate::feature::Feature| matches!(feature.window, Window::Over { .. });
    let by_time = operator.order == OrderWord::EventTime;
    needs.times |= by_time || operator.features().iter().any(rolls);
    needs.clocks |= by_time;
    needs
}

fn need(plan: &mut Plan, stream: StreamId, needs: EngineColumns) {
    let stream = &mut plan.streams[stream.0];
    stream.engine.times |= needs.times && stream.has_time;
    stream.engine.clocks |= needs.clocks && stream.has_time;
}
