"""Two saved models as a finished run leaves them, small enough to be made for every session of tests."""

from pathlib import Path

import keras
import numpy as np
from tiny import tiny_backbone, tiny_dataset

from models.grad_cam import with_grad_cam
from models.heads import attach_head
from models.saved.calibration import Calibration
from models.saved.onnx_model import OnnxModel
from training.data.cifar10 import CLASS_NAMES
from training.data.image_batches import resize
from training.export.onnx_export import export_onnx
from training.export.ood import last_layer, write_ood_detector
from training.export.saved_model import save_keras, write_card

SIZE = 16
HEADS = {"tiny_a": "dense", "tiny_b": "linear"}
ACCURACIES = {"tiny_a": 0.62, "tiny_b": 0.57}
RESIZE_MODES = {"tiny_a": "bilinear", "tiny_b": "thumbnail"}
CALIBRATIONS = {"tiny_a": Calibration(1.5), "tiny_b": Calibration(0.8, 1.4)}


def settle(model: keras.Model, images: np.ndarray, spread: float = 3.0) -> keras.Model:
    """Make a fresh model answer each image differently: else agreement between two models would mean nothing.

    Every BatchNormalization gets the statistics of these images, because activations die out with depth, and the logits
    get mean 0 and deviation `spread` over them, so that every class is some image's best.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    last = model.get_layer("head_probabilities")
    activations = np.asarray(keras.Model(model.input, last.input)(images))
    kernel, _ = last.get_weights()
    kernel *= spread / (activations @ kernel).std(axis=0)
    last.set_weights([kernel, -(activations @ kernel).mean(axis=0)])
    return model


def tiny_classifier(head: str, seed: int, images: np.ndarray) -> keras.Model:
    """Build a settled network of ten classes; `images` are (n, SIZE, SIZE, 3) float32 in 0..255."""
    keras.utils.set_random_seed(seed)
    backbone = tiny_backbone(SIZE, "keras")
    model = keras.Model(backbone.input, attach_head(head, backbone.output, len(CLASS_NAMES)), name="tiny")
    return settle(model, images)


def save_tiny_models(root: Path) -> None:
    """Write the folders tiny_a and tiny_b: model.keras, model.onnx with Grad-CAM, card.json; tiny_a has ood.npz too."""
    dataset = tiny_dataset(classes=10)
    images = np.asarray(resize(dataset.x_test[:40], SIZE))
    for seed, (name, head) in enumerate(HEADS.items()):
        folder = root / name
        model = tiny_classifier(head, seed, images)
        save_keras(model, folder / "model.keras")
        export_onnx(with_grad_cam(model), folder / "model.onnx", images)
        if name == "tiny_a":
            served, rows = OnnxModel(folder / "model.onnx"), np.arange(240)
            write_ood_detector(folder, served, last_layer(model), dataset, rows[:160], rows[160:])
        write_card(
            folder,
            model,
            name="tiny",
            version="1",
            labels=CLASS_NAMES,
            resize_mode=RESIZE_MODES[name],
            resolution=8,
            calibration=CALIBRATIONS[name],
            test_accuracy=ACCURACIES[name],
            val_accuracy=0.6,
            command="python train.py --model tiny",
            recipe="reference",
            seed=seed,
            weights="none",
            data="made up",
            seconds=1,
        )
