"""The small CNN trained from scratch: the baseline that a pretrained backbone has to beat."""

import keras

from models.registry import ModelSpec, register_model


def custom_cnn_backbone(image_size: int, convention: str) -> keras.Model:
    """Conv 32-64-128 (3×3, same, ReLU), each followed by a 2×2 max-pool: (S, S, 3) → (S/8, S/8, 128).

    `convention` is not used: these weights never come from another framework.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess_rescaling")(image)
    for block, filters in enumerate((32, 64, 128), start=1):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"block_{block}_conv")(x)
        x = keras.layers.MaxPooling2D(name=f"block_{block}_pool")(x)
    return keras.Model(image, x, name="custom_cnn_backbone")


register_model(
    ModelSpec(
        name="custom_cnn",
        backbone=custom_cnn_backbone,
        image_size=32,
        minimum_size=8,
        normalisation="x / 255",
        heads=("flatten", "dense", "linear"),
    )
)
