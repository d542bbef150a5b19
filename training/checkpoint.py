"""The state of a run, saved after every epoch. A killed run resumes and ends with the same weights."""

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from runtime.files import atomic_write

_KINDS = ("model", "optimizer", "best", "average")  # the arrays of a checkpoint, in the order of its fields


class CheckpointMismatchError(ValueError):
    """A checkpoint is damaged, or belongs to another network."""


class Stopwatch:
    """Measures time from its creation."""

    def __init__(self):
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    @property
    def seconds(self) -> float:
        """Wall-clock time in seconds."""
        return time.perf_counter() - self._wall

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all threads in seconds: up to `seconds` times the number of cores."""
        return time.process_time() - self._cpu


@dataclass
class TrainingState:
    """The state of a run between two epochs.

    Attributes:
        phase: the index of the current phase.
        epoch: finished epochs of that phase.
        best_loss: the phase's lowest validation loss.
        best_epoch: the epoch (from 1) with that loss; 0 before the first.
        history: one row per epoch, over all phases.
        seconds: wall-clock time by stage, summed over interruptions.
        cpu_seconds: processor time, summed over interruptions.
    """

    phase: int = 0
    epoch: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[dict] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    def finish_epoch(self, row: dict) -> bool:
        """Add the history row of an epoch; return whether its `val_loss` is the lowest of the phase so far."""
        self.epoch += 1
        self.history.append(row)
        improved = row["val_loss"] < self.best_loss
        if improved:
            self.best_loss, self.best_epoch = row["val_loss"], self.epoch
        return improved

    def finish_phase(self) -> None:
        self.phase, self.epoch, self.best_loss, self.best_epoch = self.phase + 1, 0, math.inf, 0

    def is_over(self, epochs: float, patience: int | None) -> bool:
        """Whether the phase has run all `epochs`, or `patience` epochs without a lower validation loss."""
        return self.epoch >= epochs or (patience is not None and self.epoch - self.best_epoch >= patience)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of a `with` block to the stage."""
        watch = Stopwatch()
        try:
            yield
        finally:
            self.add_time(name, watch)

    def add_time(self, stage: str, watch: Stopwatch) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + watch.seconds
        self.cpu_seconds += watch.cpu_seconds

    def add(self, other: "TrainingState") -> None:
        """Add the times of a run that is part of this one, stage by stage."""
        self.seconds |= {stage: self.seconds.get(stage, 0.0) + seconds for stage, seconds in other.seconds.items()}
        self.cpu_seconds += other.cpu_seconds


@dataclass
class Checkpoint:
    """A run's state and arrays. `optimizer`, `best` and `average` are empty between phases.

    Attributes:
        model: all variables of the full model, including the random states of Dropout.
        optimizer: all variables of the phase's optimizer.
        best: the trainee's weights at the phase's best epoch.
        average: the averaged weights of the trainee, if the phase averages.
    """

    state: TrainingState
    model: list[np.ndarray]
    optimizer: list[np.ndarray]
    best: list[np.ndarray]
    average: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def capture(cls, state: TrainingState, model: keras.Model, optimizer=None, best=(), average=()) -> "Checkpoint":
        optimizer_values = values(optimizer.variables) if optimizer else []
        return cls(state, values(model.variables), optimizer_values, list(best), list(average))

    def save(self, path: Path) -> None:
        arrays = {f"{kind}-{index:04d}": array for kind in _KINDS for index, array in enumerate(getattr(self, kind))}
        state = np.frombuffer(json.dumps(dataclasses.asdict(self.state)).encode(), np.uint8)
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, state=state, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint, without pickle; raise CheckpointMismatchError if it is damaged."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                state = TrainingState(**json.loads(stored["state"].tobytes()))
                names = sorted(stored.files)
                return cls(state, *([stored[name] for name in names if name.startswith(kind)] for kind in _KINDS))
        except OSError:  # the file may be intact
            raise
        except Exception as error:  # NumPy raises errors of many types on a damaged zip archive
            raise CheckpointMismatchError(
                f"The checkpoint {path} is damaged ({error}). Delete its folder and train again."
            ) from error


def values(variables) -> list[np.ndarray]:
    """Copy the values of Keras variables to NumPy, on any backend."""
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]


def assign(variables, arrays: list[np.ndarray]) -> None:
    """Assign arrays to Keras variables: all, or none and CheckpointMismatchError if the number or a shape differs."""
    if len(variables) != len(arrays):
        raise CheckpointMismatchError(
            f"The checkpoint belongs to another network: expected {len(variables)} variables. Received: {len(arrays)}"
        )
    for variable, array in zip(variables, arrays, strict=True):
        if tuple(variable.shape) != array.shape:
            raise CheckpointMismatchError(
                f"The checkpoint belongs to another network: {variable.path} has shape {tuple(variable.shape)}. "
                f"Received: {array.shape}"
            )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
