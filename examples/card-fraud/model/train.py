"""Trains the net of plugins/fraud-scorer and writes it with the report of its training.

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python train.py

The script draws its own transactions with the example's generator, from other seeds than the
demo's, lets the generator compute the model's inputs with the very function that runs in the
sandbox, and trains a net of two small hidden layers. The scaling of the inputs is folded into
the first layer, so that the model takes them as they are; its only output is `probabilities`.
"""

import argparse
import hashlib
import json
import math
import platform
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import sklearn
from onnx import TensorProto, helper, numpy_helper
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODEL = ROOT / "plugins" / "fraud-scorer" / "model" / "fraud.onnx"

INPUTS = 16
HIDDEN = (32, 16)
# The demo runs on seed 7: neither set shares a transaction with it.
TRAIN = {"seed": 1009, "records": 3_000_000}
CHECK = {"seed": 1010, "records": 1_000_000}
# Honest transactions are many and alike; of these, one in eight is enough to learn from.
HONEST_ONE_IN = 8


def draw(folder: Path, seed: int, records: int) -> tuple[np.ndarray, np.ndarray]:
    """The inputs and the truth of a freshly generated file."""
    transactions, labels, numbers = (folder / name for name in ("t.jsonl", "l.jsonl", "t.f32"))
    generator = ["cargo", "run", "--quiet", "--package", "card-fraud-data", "--"]
    drawn = ["--seed", str(seed), "--records", str(records)]
    files = ["--out", transactions, "--labels", labels]
    subprocess.run([*generator, "generate", *drawn, *files], cwd=ROOT, check=True)
    files = ["--transactions", transactions, "--labels", labels, "--out", numbers]
    subprocess.run([*generator, "training", *files], cwd=ROOT, check=True)
    rows = np.fromfile(numbers, dtype="<f4").reshape(-1, INPUTS + 1)
    return rows[:, :INPUTS], rows[:, INPUTS] > 0.5


def fit(inputs: np.ndarray, truth: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The layers of a net that takes unscaled inputs; each is weights (in, out) and bias."""
    keep = truth | (np.random.default_rng(1).integers(HONEST_ONE_IN, size=len(truth)) == 0)
    scaler = StandardScaler().fit(inputs[keep])
    net = MLPClassifier(
        HIDDEN,
        alpha=1e-4,
        batch_size=1024,
        learning_rate_init=1e-3,
        max_iter=40,
        early_stopping=True,
        n_iter_no_change=6,
        random_state=1,
    )
    net.fit(scaler.transform(inputs[keep]), truth[keep])
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in zip(net.coefs_, net.intercepts_)]
    weights, bias = layers[0]
    scaled = weights / scaler.scale_[:, None]
    layers[0] = (scaled, bias - scaler.mean_ @ scaled)
    # Undo the thinning of the honest, so that the output is a probability again.
    weights, bias = layers[-1]
    layers[-1] = (weights, bias - math.log(HONEST_ONE_IN))
    return [(w.astype(np.float32), b.astype(np.float32)) for w, b in layers]


def export(layers: list[tuple[np.ndarray, np.ndarray]]) -> onnx.ModelProto:
    """The net as ONNX: Gemm and Relu, and a Sigmoid at the end."""
    nodes, initializers, name = [], [], "inputs"
    for number, (weights, bias) in enumerate(layers, start=1):
        last = number == len(layers)
        tensors = [f"weights_{number}", f"bias_{number}"]
        initializers += [numpy_helper.from_array(t, n) for t, n in zip((weights, bias), tensors)]
        nodes.append(helper.make_node("Gemm", [name, *tensors], [f"sum_{number}"]))
        name = "probabilities" if last else f"layer_{number}"
        nodes.append(helper.make_node("Sigmoid" if last else "Relu", [f"sum_{number}"], [name]))
    graph = helper.make_graph(
        nodes,
        "fraud",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["rows", INPUTS])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 1])],
        initializers,
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="train.py")
    onnx.checker.check_model(model, full_check=True)
    return model


def metrics(truth: np.ndarray, scores: np.ndarray) -> dict:
    """How well the scores tell the fraudulent from the honest, at several thresholds too."""
    at = {}
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
        alerts = scores >= threshold
        hits = int((alerts & truth).sum())
        at[str(threshold)] = {
            "alerts": int(alerts.sum()),
            "precision": round(hits / max(1, int(alerts.sum())), 4),
            "recall_of_rows": round(hits / int(truth.sum()), 4),
        }
    return {
        "rows": len(truth),
        "rows_fraudulent": int(truth.sum()),
        "roc_auc": round(float(roc_auc_score(truth, scores)), 5),
        "average_precision": round(float(average_precision_score(truth, scores)), 5),
        "log_loss": round(float(log_loss(truth, scores)), 6),
        "at_threshold": at,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=MODEL, help="where the model goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        train = draw(Path(folder), **TRAIN)
        check = draw(Path(folder), **CHECK)
    model = export(fit(*train))
    data = model.SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(data)
    results = {
        name: metrics(truth, session.run(["probabilities"], {"inputs": inputs})[0][:, 0])
        for name, (inputs, truth) in {"train": train, "check": check}.items()
    }
    report = {
        "model": {"file": MODEL.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)},
        "net": {"inputs": INPUTS, "hidden": HIDDEN, "activation": "relu", "output": "sigmoid"},
        "data": {"train": TRAIN, "check": CHECK, "honest_one_in": HONEST_ONE_IN},
        "results": results,
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(data)
    text = json.dumps(report, indent=2) + "\n"
    arguments.out.with_suffix(".report.json").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
