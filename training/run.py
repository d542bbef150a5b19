"""A training run: data, model, phases, evaluation and export. It can be interrupted and resumed."""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import filelock
import keras
import numpy as np

from models.layers import adapt, adaptable
from models.registry import create_model
from runtime.validation import require
from training.checkpoint import Checkpoint, CheckpointMismatchError, TrainingState, assign, values
from training.config import TrainingConfig, with_precision
from training.data.cifar10 import load_cifar10
from training.data.image_batches import resize
from training.export.finalize import finalize
from training.freezing.boundary import backbone_layers, resolve_unfreeze
from training.freezing.feeds import Split, make_feed, prepare_caches
from training.optimizers import averaged
from training.phases import run_phase, solve_phase
from training.precision import in_precision
from training.progress import TensorBoardLog, write_history
from training.provenance import arrays_sha256, git_commit, hardware, versions

log = logging.getLogger(__name__)

ADAPT_IMAGES = 5000


class RunConflictError(RuntimeError):
    """A run's folder holds another run or is in use by another process."""


@dataclasses.dataclass(eq=False)
class Run:
    """A run in its folder, which is created if missing. `Run(config, folder).complete()` starts or resumes it.

    Attributes:
        data_dir: a file or folder with the data set, or None to fetch it.
        command: the command line that repeats the run, for the card.
        head_run: the folder of a finished run of phase "head" to start from, see `finished_head`.
    """

    config: TrainingConfig
    folder: Path
    _: dataclasses.KW_ONLY
    data_dir: str | None = None
    command: str = ""
    head_run: Path | None = None
    state: TrainingState = dataclasses.field(default_factory=TrainingState, init=False)

    def __post_init__(self):
        self.command = with_precision(self.command, self.config)

    @property
    def checkpoint_path(self) -> Path:
        """The checkpoint's file; deleted when the run is finished."""
        return self.folder / "checkpoint.npz"

    def complete(self) -> dict:
        """Run the remaining stages and return the metrics, as `metrics.json` holds them.

        Raises:
            RunConflictError: the folder holds a run with another config, or another process trains in it.
            CheckpointMismatchError: the folder's checkpoint is of another network or other data.
            DataUnavailableError, WeightsUnavailableError, WeightsMismatchError: data or weights are missing or wrong.
            NonFiniteLossError: training diverged.
        """
        with self._locked():
            if (self.folder / "metrics.json").exists():
                log.info("%s is finished already.", self.folder)
                return json.loads((self.folder / "metrics.json").read_text())
            model, split = self._train()
            metrics = finalize(self.folder, self.config, self.state, self.command, model, split)
            self.checkpoint_path.unlink(missing_ok=True)
            return metrics

    def train(self) -> tuple[keras.Model, Split]:
        """Run the remaining phases, and leave evaluation and export to `complete`; raises as `complete`."""
        with self._locked():
            return self._train()

    def members(self) -> list["Run"]:
        """Return the two runs whose weights `average_with` averages; the other recipe's first."""
        return [
            Run(config, self.folder / config.recipe, data_dir=self.data_dir, command=self.command)
            for config, _ in self.config.members()
        ]

    @property
    def is_trained(self) -> bool:
        """Whether all phases are done but not the evaluation."""
        path = self.checkpoint_path
        return path.exists() and Checkpoint.load(path).state.phase == len(self.config.phases)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder, and check that it holds no other run."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder.with_name(f".{self.folder.name}.lock"), blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RunConflictError(f"Another process trains in {self.folder}. Choose another --output.") from None
        try:
            stored = self.folder / "config.json"
            if stored.exists() and TrainingConfig.load(stored) != self.config:
                raise RunConflictError(f"{self.folder} holds a run with other settings. Choose another --output.")
            yield
        finally:
            lock.release()

    def _train(self) -> tuple[keras.Model, Split]:
        keras.utils.set_random_seed(self.config.seed)
        resumed = Checkpoint.load(self.checkpoint_path) if self.checkpoint_path.exists() else None
        if resumed is not None:
            self.state = resumed.state
        with self.state.stage("data"):
            split = self._split()
        with self.state.stage("weights"):
            model = self._model(split, resumed)
        self._record_provenance(model, split)
        if resumed is None:
            Checkpoint.capture(self.state, model).save(self.checkpoint_path)
        if self.config.average_with:
            self._train_members(model)
        else:
            self._learn(model, split, resumed)
        return model, split

    def _train_members(self, model: keras.Model) -> None:
        """Train by both recipes, each in a subfolder, and assign the average of their weights to `model`."""
        networks, members = [], self.members()
        for member in members:
            network, _ = member.train()
            networks.append(values(network.weights))
            self.state.add(member.state)
        self.state.history = members[-1].state.history
        assign(model.weights, averaged(networks, [share for _, share in self.config.members()]))

    @contextlib.contextmanager
    def _kept_stage(self, name: str) -> Iterator[None]:
        """Time a stage whose result stays on disk, and save the time even if it is interrupted."""
        try:
            with self.state.stage(name):
                yield
        finally:
            stored = Checkpoint.load(self.checkpoint_path)
            dataclasses.replace(stored, state=self.state).save(self.checkpoint_path)

    def _split(self) -> Split:
        dataset = load_cifar10(self.data_dir)
        if self.config.limit is not None:
            dataset = dataset.limited(self.config.limit)
        held_back = len(dataset.x_train) // 10
        if self.config.validation is not None:  # at most a tenth of a limited data set
            held_back = min(self.config.validation, held_back) if self.config.limit else self.config.validation
        return Split(dataset, *dataset.split(self.config.seed, held_back))

    def _model(self, split: Split, resumed: Checkpoint | None) -> keras.Model:
        config, size = self.config, self.config.image_size
        if resumed is None and self.head_run is not None:
            log.info("Starting from the finished head phase in %s.", self.head_run)
            self.state.finish_phase()
            model = keras.models.load_model(self.head_run / "model.keras")
        else:
            model = create_model(
                config.model, classes=split.dataset.classes, weights=config.weights, head=config.head, image_size=size
            )
        resolve_unfreeze(model, config.unfreeze)  # raises before phase "head" if N is wrong
        layers = [layer.name for layer in model.layers]
        for name in [name for phase in config.phases for name, _ in phase.freeze_at]:
            rule = f"recipe {config.recipe} is for networks with a layer {name!r}"
            require(name in layers, rule, model=config.model)
        if resumed is None and adaptable(model):
            adapt(model, resize(split.dataset.x_train[split.training[:ADAPT_IMAGES]], size))
        if config.precision != "float32":
            model = in_precision(model, config.precision)
        if resumed is not None:
            assign(model.variables, resumed.model)
        return model

    def _record_provenance(self, model: keras.Model, split: Split) -> None:
        """Write config.json, or if the run is resumed, check that the data is the same."""
        path = self.folder / "config.json"
        data = {"name": split.dataset.name, "source": split.dataset.source, "sha256": split.dataset.sha256}
        if path.exists():
            recorded = json.loads(path.read_text())["provenance"]
            if recorded["data"]["sha256"] != data["sha256"]:
                raise CheckpointMismatchError(f"The run in {self.folder} was started with other data. Start a new run.")
            self.command = recorded["command"]  # not that of the resume
            return
        backbone = [weight for layer in backbone_layers(model) for weight in layer.weights]
        provenance = {
            "command": self.command,
            "git_commit": git_commit(),
            "data": data,
            "backbone_weights_sha256": arrays_sha256(values(backbone)),
            "head_run": self.head_run.name if self.head_run else None,
            "versions": versions(),
            "hardware": hardware(),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.save(path, provenance)

    def _learn(self, model: keras.Model, split: Split, resumed: Checkpoint | None) -> None:
        state, path, images = self.state, self.checkpoint_path, len(split.training)
        phases = self.config.phases[state.phase :]
        with self._kept_stage("cache"):
            exact = model if self.config.precision == "float32" else in_precision(model, "float32")
            caches = prepare_caches(exact, self.config, phases, split.dataset.x_train)
        board = TensorBoardLog(self.folder / "tensorboard")

        def on_epoch(state: TrainingState) -> None:
            write_history(self.folder / "history.csv", state.history)
            board.log(state)

        for phase in phases:
            activations = caches.get(phase.name)
            feed = make_feed(model, self.config, phase, split, activations)
            parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
            how = (
                f"trained behind {feed.cut.name} on cached activations"
                if feed.cut
                else "the whole network in every step"
            )
            log.info("Phase %s: %s trainable parameters, %s.", phase.name, f"{parameters:,}", how)
            if phase.is_solved:
                solve_phase(model, phase, feed, split, state, checkpoint_path=path, activations=activations)
                on_epoch(state)
            else:
                run_phase(
                    model, phase, feed, state, images=images, checkpoint_path=path, resumed=resumed, on_epoch=on_epoch
                )
            resumed = None
