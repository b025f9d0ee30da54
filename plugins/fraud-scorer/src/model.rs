//! The neural net: a real ONNX model, run by `rten`.

use rten::{Model, ModelOptions, OpRegistry, Value, op_types};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, NdTensorView};

use crate::inputs::INPUTS;

/// The model as the training script wrote it.
static ONNX: &[u8] = include_bytes!("../model/fraud.onnx");

/// A batch is padded to a multiple of so many rows.
///
/// The matrix product takes another path for a single row, and that path rounds otherwise: a
/// payment's score must not depend on what happened to travel in its batch.
const TILE_ROWS: usize = 8;

/// What keeps the model from scoring.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model that is built in does not load.
    #[error("the built-in model does not load")]
    Load(#[source] rten::LoadError),
    /// The model does not run.
    #[error("the model does not run")]
    Run(#[source] rten::RunError),
    /// The model's output is not one probability a row.
    #[error("the model gave {found} where it should give {expected}")]
    Output {
        /// What came out.
        found: String,
        /// What was expected.
        expected: String,
    },
}

/// The loaded model, and room for one batch.
pub struct Scorer {
    model: Model,
    inputs: Vec<f32>,
}

impl Scorer {
    /// Loads the built-in model.
    ///
    /// # Errors
    /// If it cannot be loaded, which only a broken build brings about.
    pub fn load() -> Result<Self, Error> {
        // Only the operators that the net has: the component is a third as large.
        let ops = OpRegistry::with_ops(&[&op_types::Gemm, &op_types::Relu, &op_types::Sigmoid]);
        let model = ModelOptions::with_ops(ops)
            .load_static_slice(ONNX)
            .map_err(Error::Load)?;
        Ok(Self {
            model,
            inputs: Vec::new(),
        })
    }

    /// Adds a row to the batch.
    pub fn push(&mut self, inputs: &[f32; INPUTS]) {
        self.inputs.extend_from_slice(inputs);
    }

    /// Scores the rows of the batch, all at once, and empties it.
    ///
    /// Gives the probability of fraud for each row, in their order.
    ///
    /// # Errors
    /// If the model does not run or its output has another shape.
    pub fn score(&mut self) -> Result<Vec<f32>, Error> {
        let rows = self.inputs.len() / INPUTS;
        if rows == 0 {
            return Ok(Vec::new());
        }
        let padded = rows.next_multiple_of(TILE_ROWS);
        self.inputs.resize(padded * INPUTS, 0.0);
        let view = NdTensorView::from_data([padded, INPUTS], &self.inputs[..]);
        let output = self.model.run_one(view.into(), None).map_err(Error::Run);
        self.inputs.clear();
        probabilities(output?, padded, rows)
    }
}

fn probabilities(output: Value, padded: usize, rows: usize) -> Result<Vec<f32>, Error> {
    let wrong = |found: String| Error::Output {
        found,
        expected: format!("[{padded}, 1] floats"),
    };
    let tensor = NdTensor::<f32, 2>::try_from(output).map_err(|error| wrong(error.to_string()))?;
    if tensor.shape() != [padded, 1] {
        return Err(wrong(format!("{:?} floats", tensor.shape())));
    }
    let mut scores = tensor.into_data();
    scores.truncate(rows);
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// Rows that look like payments: small, different numbers.
    fn rows(count: usize) -> Vec<[f32; INPUTS]> {
        let number = |index: usize| (index * 7_919 % 1_000) as f32 / 250.0 - 1.0;
        (0..count)
            .map(|row| std::array::from_fn(|input| number(row * INPUTS + input)))
            .collect()
    }

    fn score(scorer: &mut Scorer, rows: &[[f32; INPUTS]]) -> Vec<u32> {
        rows.iter().for_each(|row| scorer.push(row));
        scorer
            .score()
            .unwrap()
            .into_iter()
            .map(f32::to_bits)
            .collect()
    }

    #[test]
    fn a_score_does_not_depend_on_the_batch() {
        let mut scorer = Scorer::load().unwrap();
        let rows = rows(300);
        let together = score(&mut scorer, &rows);
        assert_eq!(together.len(), rows.len());
        for size in [1, 2, 7, 63, 64, 65, 128] {
            let cut: Vec<u32> = rows
                .chunks(size)
                .flat_map(|chunk| score(&mut scorer, chunk))
                .collect();
            assert_eq!(cut, together, "in batches of {size}");
        }
    }

    #[test]
    fn scores_are_probabilities() {
        let mut scorer = Scorer::load().unwrap();
        let rows = rows(100);
        for bits in score(&mut scorer, &rows) {
            assert!((0.0..=1.0).contains(&f32::from_bits(bits)));
        }
    }

    #[test]
    fn the_report_is_about_this_model() {
        let report = include_str!("../model/fraud.report.json");
        let report: serde_json::Value = serde_json::from_str(report).unwrap();
        let digest = Sha256::digest(ONNX);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(report["model"]["sha256"], digest);
    }

    #[test]
    fn an_empty_batch_has_no_scores() {
        assert!(Scorer::load().unwrap().score().unwrap().is_empty());
    }
}
