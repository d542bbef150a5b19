"""One training run from data to a saved, measured model; every stage timed, every file written whole."""

import contextlib
import dataclasses
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import filelock
import keras
import numpy as np

from models.layers import adapt, adaptable
from models.registry import create_model
from models.saved.calibration import Calibration
from models.saved.onnx_model import OnnxModel
from training import plots
from training.checkpoint import Checkpoint, CheckpointMismatchError, TrainingState, assign, values
from training.config import TrainingConfig, with_precision
from training.data.cifar10 import load_cifar10
from training.data.image_batches import image_batches, resize
from training.evaluation import evaluate_once
from training.export.onnx_export import OnnxExportError, export_served
from training.export.ood import last_layer, write_ood_detector
from training.export.saved_model import (
    PREDICTIONS_FILE,
    RESIZE_MODE,
    save_keras,
    save_predictions,
    write_card,
    write_json,
)
from training.freezing.boundary import backbone_layers, resolve_unfreeze
from training.freezing.feeds import Split, make_feed, prepare_caches, thaw
from training.phases import run_phase, solve_phase
from training.precision import in_precision
from training.progress import TensorBoardLog, write_history
from training.provenance import arrays_sha256, git_commit, hardware, peak_memory_mb, versions
from training.stopwatch import Stopwatch
from training.weight_averaging import blended

log = logging.getLogger(__name__)

PARITY_IMAGES = 64
ADAPT_IMAGES = 5000


class RunConflictError(RuntimeError):
    """A run's folder belongs to another run, or to another process."""


class Run:
    """A run in its folder. `Run(config, folder).complete()` starts it, or goes on with it where it was interrupted.

    Args:
        config: what to train.
        folder: where everything goes; made if missing.
        data_dir: a file or folder with the data set, or None to fetch it.
        command: the command that repeats the run, for the card.
        head_run: a finished run of phase "head" to start from, see `finished_head`.
    """

    def __init__(
        self,
        config: TrainingConfig,
        folder: Path,
        *,
        data_dir: str | None = None,
        command: str = "",
        head_run: Path | None = None,
    ):
        self.config = config
        self.folder = folder
        self.data_dir = data_dir
        self.command = with_precision(command, config)
        self.head_run = head_run
        self.state = TrainingState()

    @property
    def checkpoint_path(self) -> Path:
        """Where the run stands; removed when it is finished."""
        return self.folder / "checkpoint.npz"

    def complete(self) -> dict:
        """Run every stage that is left and return the metrics, as they stand in `metrics.json`.

        Raises:
            RunConflictError: if the folder holds a run of other settings, or another process is training in it.
            CheckpointMismatchError: if the folder's checkpoint belongs to another network or other data.
            DataUnavailableError, WeightsUnavailableError, WeightsMismatchError: if an ingredient is missing or wrong.
            NonFiniteLossError: if training diverged.
        """
        with self._locked():
            if (self.folder / "metrics.json").exists():
                log.info("%s is finished already.", self.folder)
                return json.loads((self.folder / "metrics.json").read_text())
            return self._finalize(*self._train())

    def train(self) -> tuple[keras.Model, Split]:
        """Run every phase that is left and stop there: nothing looks at the test set, and no model is saved.

        `state` then says how the run went. Call it again, or `complete`, to go on from the checkpoint. Raises as `complete`.
        """
        with self._locked():
            return self._train()

    def members(self) -> list["Run"]:
        """Return the runs that a run with a `blend` trains: by the other recipe, and by its own."""
        configs = [config for config, _ in self.config.members()]
        return [
            Run(config, self.folder / config.recipe, data_dir=self.data_dir, command=self.command) for config in configs
        ]

    @property
    def is_trained(self) -> bool:
        """Whether every phase is done, by the checkpoint; a finished run has none any more."""
        path = self.checkpoint_path
        return path.exists() and Checkpoint.load(path).state.phase == len(self.config.phases)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock, and see that a run that is there is this one."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder.with_name(f".{self.folder.name}.lock"), blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RunConflictError(f"Another process is training in {self.folder}. Name another --output.") from None
        try:
            stored = self.folder / "config.json"
            if stored.exists() and TrainingConfig.load(stored) != self.config:
                raise RunConflictError(
                    f"{self.folder} holds a run of other settings: move it away, or name another --output."
                )
            yield
        finally:
            lock.release()

    def _train(self) -> tuple[keras.Model, Split]:
        keras.utils.set_random_seed(self.config.seed)
        resumed = Checkpoint.load(self.checkpoint_path) if self.checkpoint_path.exists() else None
        if resumed is not None:
            self.state = resumed.state
        with self._stage("data"):
            split = self._split()
        with self._stage("weights"):
            model = self._model(split, resumed)
        self._record_provenance(model, split)
        if resumed is None:
            Checkpoint.capture(self.state, model).save(self.checkpoint_path)
        if self.config.average_with:
            self._blend(model)
        else:
            self._learn(model, split, resumed)
        return model, split

    def _blend(self, model: keras.Model) -> None:
        """Train by both recipes, each in a folder inside this one, and give the model their weights' average.

        Of the two alone nothing is measured: the test set is looked at once, for the average.
        """
        networks, parts = [], self.members()
        for part in parts:
            network, _ = part.train()
            networks.append(values(network.weights))
            self.state.add(part.state)
        self.state.history = parts[-1].state.history  # its own recipe's
        assign(model.weights, blended(networks, [share for _, share in self.config.members()]))

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        watch = Stopwatch()
        try:
            yield
        finally:
            self.state.add_time(name, watch)

    @contextlib.contextmanager
    def _kept_stage(self, name: str) -> Iterator[None]:
        """A stage whose work stays on disk and is not done again: its time is kept too, even where it is interrupted."""
        try:
            with self._stage(name):
                yield
        finally:
            stored = Checkpoint.load(self.checkpoint_path)
            dataclasses.replace(stored, state=self.state).save(self.checkpoint_path)

    def _split(self) -> Split:
        dataset = load_cifar10(self.data_dir)
        if self.config.limit is not None:
            dataset = dataset.limited(self.config.limit)
        held_back = len(dataset.x_train) // 10
        if self.config.validation is not None:  # of a limited data set at most a tenth
            held_back = min(self.config.validation, held_back) if self.config.limit else self.config.validation
        return Split(dataset, *dataset.split(self.config.seed, held_back))

    def _model(self, split: Split, resumed: Checkpoint | None) -> keras.Model:
        config, weights = self.config, self.config.weights
        if resumed is None and self.head_run is not None:
            log.info("Starting from the finished head phase in %s.", self.head_run)
            self.state.finish_phase()
            model = keras.models.load_model(self.head_run / "model.keras")
        else:
            model = create_model(
                config.model,
                classes=split.dataset.classes,
                weights=weights,
                head=config.head,
                image_size=config.image_size,
            )
        resolve_unfreeze(model, config.unfreeze)  # a wrong N is told now, not after phase "head"
        for phase in config.phases:
            for name, _ in phase.freeze_at:
                if name not in (layer.name for layer in model.layers):
                    raise ValueError(
                        f"recipe {config.recipe} is for networks with a layer {name!r}. Received: model={config.model!r}"
                    )
        if resumed is None and adaptable(model):
            adapt(model, resize(split.dataset.x_train[split.training[:ADAPT_IMAGES]], config.image_size))
        if config.precision != "float32":
            model = in_precision(model, config.precision)
        if resumed is not None:
            assign(model.variables, resumed.model)
        return model

    def _record_provenance(self, model: keras.Model, split: Split) -> None:
        """Write config.json on the first sitting; on a later one check that the data is still the same."""
        path = self.folder / "config.json"
        data = {"name": split.dataset.name, "source": split.dataset.source, "sha256": split.dataset.sha256}
        if path.exists():
            recorded = json.loads(path.read_text())["provenance"]
            if recorded["data"]["sha256"] != data["sha256"]:
                raise CheckpointMismatchError(f"The run in {self.folder} was started on other data. Start a new run.")
            self.command = recorded["command"]  # the one that repeats the run, not the one that resumed it
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
        phases = self.config.phases
        with self._kept_stage("cache"):
            exact = model if self.config.precision == "float32" else in_precision(model, "float32")
            caches = prepare_caches(exact, self.config, phases[self.state.phase :], split.dataset.x_train)
        board = TensorBoardLog(self.folder / "tensorboard")

        def on_epoch(state: TrainingState) -> None:
            write_history(self.folder / "history.csv", state.history)
            board.log(state)

        for phase in phases[self.state.phase :]:
            feed = make_feed(model, self.config, phase, split, caches.get(phase.name))
            log.info(
                "Phase %s: %s trainable parameters, %s.",
                phase.name,
                f"{sum(int(np.prod(v.shape)) for v in model.trainable_variables):,}",
                f"trained behind {feed.cut.name} on cached activations"
                if feed.cut
                else "the whole network in every step",
            )
            if phase.optimizer == "logistic":
                solve_phase(
                    model,
                    phase,
                    feed,
                    split,
                    self.state,
                    checkpoint_path=self.checkpoint_path,
                    activations=caches.get(phase.name),
                )
                on_epoch(self.state)
            else:
                run_phase(
                    model,
                    phase,
                    feed,
                    self.state,
                    images=len(split.training),
                    checkpoint_path=self.checkpoint_path,
                    resumed=resumed,
                    on_epoch=on_epoch,
                )
            resumed = None

    def _finalize(self, model: keras.Model, split: Split) -> dict:
        """Save the model, measure it, and write everything that a finished run holds."""
        config, dataset, folder = self.config, split.dataset, self.folder
        write_history(folder / "history.csv", self.state.history)
        if config.precision != "float32":
            model = in_precision(model, "float32")
        thaw(model, config, config.phases[-1])  # a run that is resumed only here has trained nothing that set it
        with self._stage("save"):
            save_keras(model, folder / "model.keras")
            onnx_difference = self._export(model, dataset.x_train[split.validation[:PARITY_IMAGES]])
        with self._stage("evaluate"):
            served = OnnxModel(folder / "model.onnx") if onnx_difference is not None else model
            metrics, probabilities = evaluate_once(
                served, split, config.image_size, config.tta_views, progress=sys.stderr.isatty()
            )
            save_predictions(folder / PREDICTIONS_FILE, **probabilities)
        if onnx_difference is not None:
            with self._stage("ood_detector"):
                write_ood_detector(folder, served, last_layer(model), dataset, split.training, split.validation)
        with self._stage("plots"):
            self._plot(metrics, split)
        seconds = {**self.state.seconds, "total": sum(self.state.seconds.values())}
        epochs = Counter(row["phase"] for row in self.state.history)
        metrics |= {
            "evaluated": "model.onnx" if onnx_difference is not None else "model.keras",
            "onnx_max_abs_difference": onnx_difference,
            "epochs": {phase.name: epochs[phase.name] for phase in config.phases},
            "seconds": {name: round(value, 1) for name, value in seconds.items()},
            "cpu_seconds": round(self.state.cpu_seconds, 1),
            "peak_memory_mb": peak_memory_mb(),
        }
        write_card(
            folder,
            model,
            name=config.model,
            version="1",
            labels=dataset.class_names,
            resize_mode=RESIZE_MODE,
            calibration=Calibration(**{name: metrics["calibration"][name] for name in ("temperature", "exponent")}),
            test_accuracy=metrics["accuracy"],
            val_accuracy=metrics["validation_accuracy"],
            command=self.command,
            recipe=config.recipe,
            seed=config.seed,
            weights=Path(str(config.weights or "none")).name,
            data=f"{dataset.name}, {len(split.training)} training images, {len(split.validation)} held back",
            seconds=round(seconds["total"], 1),
            test_accuracy_tta=metrics.get("tta", {}).get("accuracy"),
            validation_images=len(split.validation),
            resolution=dataset.x_train.shape[1],
        )
        write_json(folder / "metrics.json", metrics)
        self.checkpoint_path.unlink(missing_ok=True)
        return metrics

    def _export(self, model: keras.Model, images: np.ndarray) -> float | None:
        try:
            return export_served(model, self.folder / "model.onnx", images)
        except (ImportError, OnnxExportError) as error:
            log.warning("No model.onnx: %s", error)
            return None

    def _plot(self, metrics: dict, split: Split) -> None:
        dataset, config = split.dataset, self.config
        plots.plot_confusion_matrix(
            metrics["confusion_matrix"], dataset.class_names, self.folder / "confusion_matrix.png"
        )
        plots.plot_curves(self.state.history, self.folder / "curves.png")
        rows = split.training[:25]
        images, labels = next(
            iter(
                image_batches(
                    dataset.x_train[rows],
                    dataset.y_train[rows],
                    classes=dataset.classes,
                    image_size=config.image_size,
                    batch_size=len(rows),
                    augment=config.augment,
                    seed=config.seed,
                )
            )
        )
        plots.plot_samples(np.asarray(images), np.asarray(labels), dataset.class_names, self.folder / "samples.png")
