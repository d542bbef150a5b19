"""What a training step of a network costs on this machine, by batch size, precision and with or without oneDNN.

TensorFlow trains convolutions on CPUs with channels last alone; oneDNN reorders them to blocked layouts of its own, which
`TF_ENABLE_ONEDNN_OPTS=0` turns off. Each way is timed in a process of its own,
`python -m training.step_cost`, because that switch is read once.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from training.cpu import computes_bfloat16

WAYS = (
    *(("float32", batch, True) for batch in (256, 512, 1024)),
    *(("mixed_bfloat16", batch, True) for batch in (256, 512, 1024)),
    ("float32", 1024, False),
)
WARM_UP, STEPS = 2, 5


def step_cost(results: Path, network: str = "speedrun_cnn", images: int = 1024) -> dict:
    """Time training steps in every way, one after the other, and record the seconds that `images` take.

    Ways in bfloat16 are left out where it is slow, see `training.cpu.computes_bfloat16`.

    Args:
        results: where `step_cost.json` goes; what other hardware took stays in it.
        network: a name in the registry.
        images: how many are trained in each measurement, a multiple of the batch sizes.

    Raises:
        ValueError: if it is no multiple of them, or the file holds measurements of another network or number of images.
    """
    from training.measure import origin, record

    path, rows = results / "step_cost.json", []
    known = json.loads(path.read_text()) if path.exists() else {"machines": []}
    same = {"model": network, "images": images, "steps": STEPS}
    if any(known.get(key, value) != value for key, value in same.items()):
        raise ValueError(f"{path} holds measurements of something else: move it away first. Received: {same}")
    if any(images % batch for _, batch, *_ in WAYS):
        raise ValueError(f"images must be a multiple of the batch sizes. Received: images={images}")
    ways = [way for way in WAYS if way[0] == "float32" or computes_bfloat16()]
    for precision, batch, onednn in tqdm(ways, desc="step cost", unit=" ways"):
        command = [sys.executable, "-m", "training.step_cost", network, precision, str(batch), str(images)]
        environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": str(int(onednn)), "TF_CPP_MIN_LOG_LEVEL": "2"}
        timed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        rows.append({
            "precision": precision, "batch_size": batch, "onednn": onednn,
            "seconds": float(timed.stdout.split()[-1]),
        })  # fmt: skip
    here = origin()
    others = [machine for machine in known["machines"] if machine["hardware"] != here["hardware"]]
    return record(path, {**same, "machines": [*others, {**here, "runs": rows}]})


def training_seconds(network: str, precision: str, batch: int, images: int) -> float:
    """Return the median seconds that training takes for `images` images, in steps of `batch`, without reading any data."""
    import keras
    import numpy as np

    from models.registry import create_model
    from training.precision import in_precision

    keras.utils.set_random_seed(0)
    model = create_model(network, weights=None)
    if precision != "float32":
        model = in_precision(model, precision)
    model.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.85, nesterov=True), loss="categorical_crossentropy")
    random = np.random.default_rng(0)
    batch_images = random.uniform(0, 255, (batch, *model.input_shape[1:])).astype("float32")
    labels = np.eye(model.output_shape[1], dtype="float32")[random.integers(0, model.output_shape[1], batch)]
    seconds = []
    for _ in range(WARM_UP + STEPS):
        started = time.perf_counter()
        for _ in range(images // batch):
            model.train_on_batch(batch_images, labels)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[WARM_UP:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the seconds that training takes for so many images.")
    parser.add_argument("network")
    parser.add_argument("precision", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("batch", type=int)
    parser.add_argument("images", type=int)
    options = parser.parse_args()
    print(training_seconds(options.network, options.precision, options.batch, options.images))
