//! What a task keeps, as of a barrier.

use wasmill_core::checkpoint::Segment;

use super::sorter::SorterImage;
use crate::{
    checkpoint::{Encoded, Image},
    feature::FeatureImage,
    join::JoinImage,
    operator::OperatorImage,
    segment::{Put, SegmentError},
    window::WindowImage,
};

/// What a gate keeps for the operators behind it.
pub(super) struct GateImage {
    /// What features remember.
    pub(super) features: Option<FeatureImage>,
    /// Rows that wait for their time, by input.
    pub(super) held: Vec<SorterImage>,
}

/// The state of an operator.
pub(super) struct OperatorState(pub(super) OperatorImage);

/// The state of an operator that aggregates over windows.
pub(super) struct WindowState(pub(super) WindowImage);

/// The state of a join.
pub(super) struct JoinState(pub(super) JoinImage);

/// What is kept by key alone, as an image hands it in.
fn by_key(kept: Result<Vec<Segment>, SegmentError>) -> Result<Encoded, String> {
    let kept = kept.map_err(|error| error.to_string())?;
    Ok(Encoded {
        kept,
        ..Encoded::default()
    })
}

impl Image for JoinState {
    fn encode(self: Box<Self>, earlier: &[Segment], put: Put<'_>) -> Result<Encoded, String> {
        by_key(self.0.encode(earlier, put))
    }
}

impl Image for WindowState {
    fn encode(self: Box<Self>, earlier: &[Segment], put: Put<'_>) -> Result<Encoded, String> {
        by_key(self.0.encode(earlier, put))
    }
}

impl Image for GateImage {
    fn encode(self: Box<Self>, earlier: &[Segment], put: Put<'_>) -> Result<Encoded, String> {
        let features = self.features.map(|features| features.encode(earlier, put));
        let kept = features.transpose().map_err(|error| error.to_string())?;
        let mut parts = Vec::new();
        for held in self.held {
            let encoded = held.encode().map_err(|error| error.to_string())?;
            let rows = encoded.rows.map(Into::into);
            parts.push((encoded.state, rows.into_iter().collect()));
        }
        Ok(Encoded {
            kept: kept.unwrap_or_default(),
            parts,
        })
    }
}

impl Image for OperatorState {
    fn encode(self: Box<Self>, earlier: &[Segment], put: Put<'_>) -> Result<Encoded, String> {
        let encoded = self.0.encode(earlier, put);
        let encoded = encoded.map_err(|error| error.to_string())?;
        let parts = encoded.state.map(|state| (state, Vec::new()));
        Ok(Encoded {
            kept: encoded.kept,
            parts: parts.into_iter().collect(),
        })
    }
}
