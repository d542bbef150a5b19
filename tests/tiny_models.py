"""Two saved models as a finished run writes them, small enough to build in every test session."""

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
FACTS = {
    "tiny_a": {"resize_mode": "bilinear", "test_accuracy": 0.62, "calibration": Calibration(1.5)},
    "tiny_b": {"resize_mode": "thumbnail", "test_accuracy": 0.57, "calibration": Calibration(0.8, 1.4)},
}
HEADS = {"tiny_a": "dense", "tiny_b": "linear"}


def settle(model: keras.Model, images: np.ndarray, spread: float = 3.0) -> keras.Model:
    """Make an untrained model's predictions differ between images; else agreement of two models would mean nothing.

    Every BatchNormalization gets the statistics of these images, because activations die out with depth. The logits get mean
    0 and deviation `spread` over them, so that every class is the best for some image.
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


def save_tiny_models(root: Path) -> None:
    """Write the folders tiny_a and tiny_b: model.keras, model.onnx with Grad-CAM, card.json; tiny_a has ood.npz too."""
    dataset = tiny_dataset(classes=10)
    images = np.asarray(resize(dataset.x_test[:40], SIZE))
    for seed, (name, head) in enumerate(HEADS.items()):
        folder = root / name
        keras.utils.set_random_seed(seed)
        backbone = tiny_backbone(SIZE, "keras")
        model = keras.Model(backbone.input, attach_head(head, backbone.output, len(CLASS_NAMES)), name="tiny")
        settle(model, images)
        save_keras(model, folder / "model.keras")
        export_onnx(with_grad_cam(model), folder / "model.onnx", images)
        if name == "tiny_a":
            exported, rows = OnnxModel(folder / "model.onnx"), np.arange(240)
            write_ood_detector(folder, exported, last_layer(model), dataset, rows[:160], rows[160:])
        write_tiny_card(folder, model, labels=CLASS_NAMES, seed=seed, resolution=8, **FACTS[name])


def write_tiny_card(folder: Path, model: keras.Model, **facts) -> None:
    """Write a card with the given facts; the others are made up."""
    made_up = {"name": "tiny", "version": "1", "val_accuracy": 0.6, "command": "python train.py --model tiny"}
    made_up |= {"recipe": "reference", "weights": "none", "data": "made up", "seconds": 1}
    write_card(folder, model, **made_up | facts)
