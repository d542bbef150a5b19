"""AlexNet in torchvision's form (Krizhevsky 2014, "One weird trick", arXiv 1404.5997): five convolutions."""

import keras

from models.preprocessing import imagenet_scaling
from models.pretrained.downloads import lpips_file
from models.pretrained.sources import plain_cnn_pretrained
from models.registry import register_model

# filters, kernel, stride, padding, whether a 3×3 max-pool of stride 2 follows
CONVOLUTIONS = (
    (64, 11, 4, 2, True),
    (192, 5, 1, 2, True),
    (384, 3, 1, 1, False),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, True),
)
PRETRAINED = plain_cnn_pretrained(
    "AlexNet",
    lpips_file("alexnet.ckpt", 9_884_491, "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    convolutions={"conv1": 0, "conv2": 3, "conv3": 6, "conv4": 8, "conv5": 10},
    classifier=(1, 4, 6),
    classifier_head="alexnet_classifier",
)


def alexnet_backbone(image_size: int, convention: str) -> keras.Model:
    """Build the five convolutions with ReLU and three max-pools: (S, S, 3) → (s, s, 256), s = 4 at 160, 6 at 224."""
    image = keras.Input((image_size, image_size, 3), name="image")
    x = imagenet_scaling(image)
    for number, (filters, kernel, stride, padding, pooled) in enumerate(CONVOLUTIONS, start=1):
        x = keras.layers.ZeroPadding2D(padding, name=f"conv{number}_pad")(x)
        x = keras.layers.Conv2D(filters, kernel, stride, activation="relu", name=f"conv{number}")(x)
        if pooled:
            x = keras.layers.MaxPooling2D(3, 2, name=f"conv{number}_pool")(x)
    return keras.Model(image, x, name="alexnet_backbone")


register_model(
    name="alexnet",
    backbone=alexnet_backbone,
    minimum_size=63,
    heads=("linear", "dense", "alexnet_classifier"),
    pretrained=PRETRAINED,
    unfreeze=7,
)
