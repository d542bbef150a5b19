"""Progress of training, and its history as CSV and TensorBoard logs."""

import csv
import time
from pathlib import Path

import keras

from runtime.files import atomic_write
from runtime.progress import ProgressBar
from training.checkpoint import TrainingState


def progress_line(logs: dict) -> str:
    """Return losses and accuracies of an epoch as text."""
    return (
        f"loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.2%}, "
        f"validation loss {logs['val_loss']:.4f}, validation accuracy {logs['val_accuracy']:.2%}"
    )


class EpochBar(keras.callbacks.Callback):
    """Progress of one epoch: time left and images/s while it runs; losses, accuracies and seconds at its end.

    Without a terminal, it logs a line at least every minute and one at the end.
    """

    def __init__(self, phase: str, epoch: int, epochs: int, images: int, batch_size: int):
        super().__init__()
        self.images = images
        self.batch_size = batch_size
        self.title = f"{phase} {epoch}/{epochs}"
        self.bar = None

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()
        self.bar = ProgressBar(total=self.images, desc=self.title, unit=" images")

    def on_train_batch_end(self, batch, logs=None):
        self.bar.set_postfix_str(f"loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.2%}", refresh=False)
        self.bar.update(min((batch + 1) * self.batch_size, self.images) - self.bar.n)

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.started  # with validation
        self.bar.finish(f"{progress_line(logs)}, {seconds:.1f} s, {self.images / seconds:.0f} images/s")


def write_history(path: Path, history: list[dict]) -> None:
    """Write one CSV row per epoch; the whole file each time, so that a resumed run repeats no row."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)


class TensorBoardLog:
    """Scalars for TensorBoard, by phase; does nothing where TensorFlow is not installed."""

    def __init__(self, folder: Path):
        try:
            import tensorflow as tf
        except ImportError:
            self._tf = None
        else:
            self._tf = tf
            self._writer = tf.summary.create_file_writer(str(folder))

    def log(self, state: TrainingState) -> None:
        """Write the last epoch's metrics; the step is the number of epochs over all phases."""
        if self._tf is None:
            return
        row = state.history[-1]
        with self._writer.as_default(step=len(state.history)):
            for name, value in row.items():
                if name not in ("phase", "epoch"):
                    self._tf.summary.scalar(f"{row['phase']}/{name}", value)
        self._writer.flush()
