"""The measurements of the networks themselves: ports against originals, frozen features, what each learns by the recipe."""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from benchmarks.experiments.comparison import PACKAGED
from benchmarks.experiments.reference import ROOT, record, run_row
from models.registry import create_model, model_spec
from models.saved.card import read_card
from training.config import TrainingConfig, make_config
from training.data.cifar10 import load_cifar10
from training.export.saved_model import parameter_counts
from training.freezing.activation_cache import boundary_activations
from training.freezing.boundary import choose_cut, freeze, prefix_model
from training.freezing.frozen_forward import FrozenForward
from training.freezing.linear_probe import fit_linear_probe
from training.run import Run

SCRATCH = {
    "custom_cnn": "flip",
    "custom_cnn_bn": "flip,shift,rotate",
}  # the augmentation, chosen on the validation split
SCRATCH_EPOCHS = 15
EXPECTED = {"mobilenet_v2": 0.8748}  # an earlier port of the same file, by another program


def networks(runs: Path, results: Path) -> dict:
    """Train every network whose weights a package carries through phase "head", and the small CNNs from scratch.

    All of CIFAR-10, the reference recipe, seed 0, cached; the CNNs 15 epochs with augmentation. The time that the frozen
    layers take is theirs only where the boundary cache did not hold them before.

    Args:
        runs: the folder of runs; finished ones in it are taken as they are, unfinished ones go on.
        results: where `networks.json` goes.
    """
    plans = [
        (config := make_config("head", name), runs / config.name, f"--model {name} --phase head") for name in PACKAGED
    ]
    for name, augment in SCRATCH.items():
        config = make_config("scratch", name, epochs=SCRATCH_EPOCHS, augment=augment)
        options = f"--model {name} --epochs {SCRATCH_EPOCHS} --augment {augment}"
        plans.append((config, runs / f"{config.name}-augmented", options))
    result: dict = {"recipe": "reference", "runs": []}
    for plan in plans:
        result["runs"].append(_train(*plan))
        recorded = record(results / "networks.json", result)  # after each, so that an interruption loses none
    return recorded


def _train(config: TrainingConfig, folder: Path, options: str) -> dict:
    metrics = Run(config, folder, command=f"python train.py {options}").complete()
    return {
        "model": config.model,
        "phase": config.phases[-1].name,
        "seed": config.seed,
        "image_size": config.image_size,
        "head": config.head,
        "parameters": dict(read_card(folder / "card.json").parameters),
        "command": f"python train.py {options}",
        **run_row(metrics),
    }


def linear_probe(results: Path, models: Sequence[str] = PACKAGED) -> dict:
    """Fit logistic regression on frozen features: the check that a port is right, and a floor for what training adds.

    All 50,000 training images at the network's own size, globally pooled features, standardised, scikit-learn's
    LogisticRegression with C=0.01.
    """
    dataset = load_cifar10()
    rows = [_probed(name, dataset) for name in models]
    return record(results / "linear_probe.json", {"runs": rows})


def _probed(name: str, dataset) -> dict:
    spec = model_spec(name)
    model = create_model(name, head="linear")
    freeze(model, 0)
    cut = choose_cut(model)
    (train,) = boundary_activations(model, [cut], dataset.x_train)
    forward = FrozenForward(prefix_model(model, [cut]))
    (test,) = forward.over(dataset.x_test)
    probe = fit_linear_probe(train.views[0][0], dataset.y_train)
    row = {
        "model": name,
        "weights": "imagenet",
        "image_size": spec.image_size,
        "features": cut.values_per_image,
        "parameters": parameter_counts(model)["total"],
        "accuracy": float(probe.score(test, dataset.y_test)),
        "engine": forward.engine,
    }
    return row | ({"expected": EXPECTED[name]} if name in EXPECTED else {})


def parity(results: Path) -> dict:
    """Run the tests that hold each port against its original, and record what they measured.

    Raises:
        RuntimeError: if a test fails; nothing is recorded then.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "tests/models/test_parity.py", f"--junitxml={report}"]
        command += ["-o", "junit_family=xunit1"]  # the one that has room for what a test records
        if subprocess.run(command, cwd=ROOT).returncode:
            raise RuntimeError("A port differs from its original, or could not be tested; see above.")
        return record(results / "parity.json", {"runs": parity_rows(report)})


def parity_rows(report: Path) -> list[dict]:
    """Return what the parity tests recorded in pytest's JUnit report, one row a test, by model."""
    kinds = {"parameters_theirs": int, "parameters_ours": int, "max_abs_difference": float}
    rows = []
    for case in ElementTree.parse(report).iter("testcase"):
        recorded = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
        if recorded:
            rows.append({name: kinds.get(name, str)(value) for name, value in recorded.items()})
    return sorted(rows, key=lambda row: row["model"])
