"""The small fast network of Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498), airbench.

The filters of its first layer whiten 2×2 patches. They are computed from training images, not learned: `train.py` does so
before it trains; other code calls `models.layers.adapt`.
"""

import functools

import keras

from models.layers import DiracUniform, WhiteningConv2D, gelu
from models.preprocessing import cifar10_scaling
from models.registry import register_model


def speedrun_backbone(
    image_size: int, convention: str, *, widths: tuple[int, int, int], convolutions: int = 2, momentum: float = 0.6
) -> keras.Model:
    """Build whitening, then three blocks that each halve the map: (32, 32, 3) → (3, 3, widths[2]).

    A block is conv 3×3 → max-pool 2 → BN → GELU, then one or two times conv 3×3 → BN → GELU. With three convolutions, as in
    the paper's 96 % network, a shortcut skips the last two. No convolution has a bias. `convention` is not used,
    because there are no weights from another framework.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    x = WhiteningConv2D(2, dtype="float32", name="whitening")(cifar10_scaling(image))  # (b, S-1, S-1, 24)
    x = keras.layers.Activation(gelu, name="whitening_gelu")(x)
    for block, filters in enumerate(widths, start=1):
        shortcut = None
        for number in range(1, convolutions + 1):
            name = f"block_{block}_conv_{number}"
            x = keras.layers.Conv2D(
                filters, 3, padding="same", use_bias=False, kernel_initializer=DiracUniform(), name=name
            )(x)
            if number == 1:
                x = keras.layers.MaxPooling2D(name=f"block_{block}_pool")(x)
            x = keras.layers.BatchNormalization(scale=False, epsilon=1e-12, momentum=momentum, name=f"{name}_BN")(x)
            if number == 3:
                x = keras.layers.Add(name=f"block_{block}_add")([shortcut, x])
            x = keras.layers.Activation(gelu, name=f"{name}_gelu")(x)
            if number == 1:
                shortcut = x
    return keras.Model(image, x, name="speedrun_backbone")


# The networks for 94, 95 and 96 % accuracy, as in the author's code.
for _name, _options in {
    "speedrun_cnn": {"widths": (64, 256, 256)},
    "speedrun_cnn_95": {"widths": (128, 384, 384)},
    "speedrun_cnn_96": {"widths": (128, 384, 512), "convolutions": 3, "momentum": 0.9},
}.items():
    register_model(
        name=_name,
        backbone=functools.partial(speedrun_backbone, **_options),
        image_size=32,
        minimum_size=25,
        heads=("max_pool",),
    )
