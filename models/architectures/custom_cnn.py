"""Two small CNNs trained from scratch: the baselines that a pretrained backbone has to beat.

Their `convention` is not used, because there are no weights from another framework.
"""

import keras

from models.preprocessing import unit_scaling
from models.registry import register_model


def custom_cnn_backbone(image_size: int, convention: str) -> keras.Model:
    """Build conv 32-64-128 (3×3, same, ReLU), each followed by a 2×2 max-pool: (S, S, 3) → (S/8, S/8, 128)."""
    image = keras.Input((image_size, image_size, 3), name="image")
    x = unit_scaling(image)
    for block, filters in enumerate((32, 64, 128), start=1):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"block_{block}_conv")(x)
        x = keras.layers.MaxPooling2D(name=f"block_{block}_pool")(x)
    return keras.Model(image, x, name="custom_cnn_backbone")


def custom_cnn_bn_backbone(image_size: int, convention: str) -> keras.Model:
    """Build two blocks of two 3×3 convolutions (32, then 64 filters), each with ReLU and BN: (32, 32, 3) → (6, 6, 64).

    The first convolution of a block pads, the second does not; a 2×2 max-pool and Dropout(0.25) end the block.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    x = unit_scaling(image)
    for block, filters in enumerate((32, 64), start=1):
        for number, padding in enumerate(("same", "valid"), start=1):
            name = f"block_{block}_conv_{number}"
            x = keras.layers.Conv2D(filters, 3, padding=padding, activation="relu", name=name)(x)
            x = keras.layers.BatchNormalization(name=f"{name}_BN")(x)
        x = keras.layers.MaxPooling2D(name=f"block_{block}_pool")(x)
        x = keras.layers.Dropout(0.25, name=f"block_{block}_dropout")(x)
    return keras.Model(image, x, name="custom_cnn_bn_backbone")


register_model(
    name="custom_cnn", backbone=custom_cnn_backbone, image_size=32, minimum_size=8, heads=("flatten", "dense", "linear")
)
register_model(
    name="custom_cnn_bn",
    backbone=custom_cnn_bn_backbone,
    image_size=32,
    minimum_size=12,
    heads=("flatten_bn", "linear"),
)
