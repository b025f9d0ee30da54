//! Keys that leave memory, and come back when their timers are due.

use wasmill_core::timer::TimeDomain;

use super::GatedTask;
use crate::{
    feature::FeatureSet,
    state::{Resident, Residents},
    task::{
        chain::{Chain, TaskError},
        chained::Chained,
    },
};

impl GatedTask {
    /// Has keys leave memory, if there are too many.
    pub(super) async fn settle(&mut self) -> Result<(), TaskError> {
        if let (Some(spill), Some(keyed)) = (&mut self.spill, &mut self.keyed) {
            let mut residents = residents(&mut self.chain, self.features.as_mut());
            spill.settle(&mut keyed.index, &mut residents).await?;
        }
        Ok(())
    }

    /// Fires the timers of keys that are not in memory: these come in, some at a time.
    pub(super) async fn wake_others(
        &mut self,
        domain: TimeDomain,
        clock: i64,
    ) -> Result<(), TaskError> {
        while let (Some(spill), Some(keyed)) = (&mut self.spill, &mut self.keyed) {
            let mut residents = residents(&mut self.chain, self.features.as_mut());
            let woken = spill.wake((domain, clock), &mut keyed.index, &mut residents);
            if !woken.await? {
                break;
            }
            match domain {
                TimeDomain::Event => self.chain.advance(clock, self.keyed.as_mut()).await?,
                TimeDomain::Processing => self.chain.tick(clock, self.keyed.as_mut()).await?,
            }
            self.chain.outbox.send().await?;
            self.settle().await?;
        }
        Ok(())
    }
}

/// All that the task keeps by key.
pub(super) fn residents<'a>(
    chain: &'a mut Chain,
    features: Option<&'a mut FeatureSet>,
) -> Residents<'a> {
    let operators = chain.operators_mut().iter_mut();
    let mut residents: Residents<'a> = Vec::new();
    residents.extend(operators.map(Chained::resident));
    residents.extend(features.map(|features| features as &mut dyn Resident));
    residents
}
