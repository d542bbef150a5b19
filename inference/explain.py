"""Grad-CAM without automatic differentiation: the model file outputs the gradient in closed form (`models/grad_cam.py`)."""

import base64
import io

import numpy as np
from PIL import Image

# Black through red and yellow to white in equal steps: readable in greyscale and by the colour-blind.
COLOURS = np.array([[0, 0, 0], [140, 10, 40], [230, 70, 10], [255, 190, 40], [255, 255, 220]], np.float32)
OPACITY = 0.65


def heat_map(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the Grad-CAM heat map of one class, relu(features · weights) scaled to a maximum of 1: (h, w) float32.

    Args:
        features: (h, w, C), the last feature map.
        weights: (C,), the mean gradient of the class's logit with respect to each channel.
    """
    heat = np.maximum(features @ weights, 0.0)  # (h, w)
    peak = heat.max()
    return (heat / peak if peak > 0 else heat).astype(np.float32)


def overlay(image: np.ndarray, heat: np.ndarray, side: int | None = None) -> Image.Image:
    """Draw a heat map (h, w), float32 in 0..1, over an image (S, S, 3), uint8; the hotter, the more opaque.

    Both are resized bicubically to `side` pixels, by default S.
    """
    side = side or image.shape[0]
    base = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    smooth = Image.fromarray(heat).resize((side, side), Image.Resampling.BICUBIC)
    heat = np.asarray(smooth).clip(0, 1)[..., None]  # (side, side, 1)
    steps = np.linspace(0, 1, len(COLOURS))
    colours = np.concatenate([np.interp(heat, steps, COLOURS[:, channel]) for channel in range(3)], axis=-1)
    opacity = OPACITY * np.sqrt(heat)
    mixed = (1 - opacity) * np.asarray(base, np.float32) + opacity * colours
    return Image.fromarray(mixed.round().astype(np.uint8))


def png_data_uri(image: Image.Image) -> str:
    """Return an image as a `data:image/png;base64,…` URI."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
