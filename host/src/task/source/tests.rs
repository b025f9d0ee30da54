use std::task::{Context, Poll, Waker};

use wasmill_core::pipeline::FormatKind;

use super::*;
use crate::{
    exchange::gate::{Barrier, Gate, Sender, gate},
    format::testing,
    metrics::SplitMetrics,
    task::outbox::{Outbox, Output, Partition},
};

/// The second of two subtasks, which sends to a gate.
fn second_of_two(own: Arc<Sender>, barriers: &Arc<SourceBarriers>) -> SourceTask {
    let outputs = vec![Output::Edge {
        input: 0,
        partition: Partition::Broadcast,
        columns: None,
        senders: vec![own],
    }];
    SourceTask {
        name: "source".into(),
        number: 0,
        subtask: (1, 2),
        event_time: None,
        needs_clocks: false,
        targets: vec![Target::Output(0)],
        late: Vec::new(),
        policy: Policy::Fail,
        chain: Chain::new(Vec::new(), Vec::new(), Outbox::new(outputs)),
        metrics: Arc::default(),
        lane: 0,
        idle: None,
        alignment: None,
        stopping: Arc::default(),
        barriers: Arc::clone(barriers),
        reporter: None,
        sent: CheckpointId(0),
        is_over: false,
        before: None,
        restored: Vec::new(),
    }
}

/// Whoever waits for a turn has to send its barrier all the same: the holder of the turn may have
/// sent its own, and be without credit until the gate has both.
#[test]
fn a_barrier_does_not_wait_for_a_turn() {
    let (gate, mut senders) = gate(2);
    let own = Arc::new(senders.pop().expect("two senders"));
    let barriers = Arc::new(SourceBarriers::new(2));
    let progress = Progress::new(
        SplitWatermark::new(0),
        Position::start(0),
        Arc::new(SplitMetrics::default()),
    );
    let turns = Arc::new(SplitTurns::new(2, progress));
    let mut source = second_of_two(own, &barriers);
    let format = testing::format(FormatKind::Raw, &[("line", "string")]);
    let mut decoder = Decoder::new(&format).expect("a good column");
    let chunk = Arc::into_inner(testing::chunk(&["a row"])).expect("nobody else has it");
    let work = Work {
        split: 0,
        turns: Arc::clone(&turns),
        number: 1,
        chunk: Some(chunk),
    };
    let mut context = Context::from_waker(Waker::noop());
    let mut first = Box::pin(turns.hold(0).turn(0));
    let Poll::Ready(Ok(first)) = first.as_mut().poll(&mut context) else {
        panic!("nobody is before it");
    };
    let mut taking = Box::pin(source.take(work, &mut decoder));
    assert!(taking.as_mut().poll(&mut context).is_pending());
    assert!(gate.try_recv().is_none(), "it is not its turn");
    let barrier = Barrier {
        checkpoint: CheckpointId(1),
        base: None,
        is_last: false,
    };
    barriers.ask(barrier);
    assert!(taking.as_mut().poll(&mut context).is_pending());
    let message = |gate: &Gate| gate.try_recv().map(|it| it.message);
    assert!(matches!(message(&gate), Some(Message::Barrier(sent)) if sent == barrier));
    // The turn may last longer than from one checkpoint to the next.
    let second = Barrier {
        checkpoint: CheckpointId(2),
        ..barrier
    };
    barriers.ask(second);
    assert!(taking.as_mut().poll(&mut context).is_pending());
    assert!(matches!(message(&gate), Some(Message::Barrier(sent)) if sent == second));
    first.pass();
    assert!(taking.as_mut().poll(&mut context).is_ready());
    assert!(matches!(message(&gate), Some(Message::Rows { .. })));
    assert!(gate.try_recv().is_none());
}
