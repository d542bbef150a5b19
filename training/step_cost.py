"""What a training step of a network costs on this machine, by batch size, precision and with or without oneDNN's layouts.

TensorFlow trains convolutions on CPUs with channels last alone; oneDNN reorders them to blocked layouts of its own, which
`TF_ENABLE_ONEDNN_OPTS=0` turns off. Each way is timed in a process of its own, `python -m training.step_cost`, because
that switch is read once.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

WAYS = (
    *(("float32", batch, True) for batch in (256, 512, 1024)),
    *(("mixed_bfloat16", batch, True) for batch in (256, 512, 1024)),
    ("float32", 1024, False),
)
WARM_UP, STEPS, IMAGES = 2, 5, 1024


def step_cost(results: Path, network: str = "speedrun_cnn") -> dict:
    """Time training steps in every way, one after the other, and record seconds per 1,024 images.

    Args:
        results: where `step_cost.json` goes.
        network: a name in the registry.
    """
    from training.measure import record

    rows = []
    for precision, batch, onednn in tqdm(WAYS, desc="step cost", unit=" ways"):
        command = [sys.executable, "-m", "training.step_cost", network, precision, str(batch)]
        environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": str(int(onednn)), "TF_CPP_MIN_LOG_LEVEL": "2"}
        timed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(
            {"precision": precision, "batch_size": batch, "onednn": onednn, "seconds": float(timed.stdout.split()[-1])}
        )
    return record(results / "step_cost.json", {"model": network, "images": IMAGES, "steps": STEPS, "runs": rows})


def seconds_of_a_step(network: str, precision: str, batch: int) -> float:
    """Return the median seconds that training takes for 1,024 images, in steps of `batch`, without reading any data."""
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
    images = random.uniform(0, 255, (batch, *model.input_shape[1:])).astype("float32")
    labels = np.eye(model.output_shape[1], dtype="float32")[random.integers(0, model.output_shape[1], batch)]
    seconds = []
    for _ in range(WARM_UP + STEPS):
        started = time.perf_counter()
        for _ in range(IMAGES // batch):
            model.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[WARM_UP:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the seconds that a training step of 1,024 images takes.")
    parser.add_argument("network")
    parser.add_argument("precision", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("batch", type=int)
    options = parser.parse_args()
    print(seconds_of_a_step(options.network, options.precision, options.batch))
