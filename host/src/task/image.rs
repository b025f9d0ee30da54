//! What a task keeps, as of a barrier.

use super::sorter::SorterImage;
use crate::{
    checkpoint::{Encoded, Image},
    feature::FeatureImage,
    join::JoinImage,
    operator::OperatorImage,
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

impl Image for JoinState {
    fn encode(self: Box<Self>) -> Result<Encoded, String> {
        let segment = self.0.encode().map_err(|error| error.to_string())?;
        Ok(Encoded {
            segment,
            parts: Vec::new(),
        })
    }
}

impl Image for WindowState {
    fn encode(self: Box<Self>) -> Result<Encoded, String> {
        let segment = self.0.encode().map_err(|error| error.to_string())?;
        Ok(Encoded {
            segment,
            parts: Vec::new(),
        })
    }
}

impl Image for GateImage {
    fn encode(self: Box<Self>) -> Result<Encoded, String> {
        let segment = self.features.map(FeatureImage::encode).transpose();
        let mut parts = Vec::new();
        for held in self.held {
            let encoded = held.encode().map_err(|error| error.to_string())?;
            let rows = encoded.rows.map(Into::into);
            parts.push((encoded.state, rows.into_iter().collect()));
        }
        Ok(Encoded {
            segment: segment.map_err(|error| error.to_string())?,
            parts,
        })
    }
}

impl Image for OperatorState {
    fn encode(self: Box<Self>) -> Result<Encoded, String> {
        let encoded = self.0.encode().map_err(|error| error.to_string())?;
        let parts = encoded.state.map(|state| (state, Vec::new()));
        Ok(Encoded {
            segment: encoded.segment,
            parts: parts.into_iter().collect(),
        })
    }
}
