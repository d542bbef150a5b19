"""Real weights on real photographs: EfficientNet-Lite0 still has its 1000 classes, and names what everybody sees.

The photographs come with scikit-image (public domain or CC0: see its data folder) and scikit-learn (CC BY).
"""

import numpy as np
import pytest
from PIL import Image

from models.registry import create_model

data = pytest.importorskip("skimage.data")

# Numbers of ImageNet's classes that name the picture.
EXPECTED = {
    "cat": {281, 282, 285},  # tabby, tiger cat, Egyptian cat
    "coffee": {967},  # espresso
    "motorcycle": {665, 670},  # moped, motor scooter
    "temple": {442, 663, 698},  # bell cote, monastery, palace
    "rocket": {657, 744},  # missile, projectile
}


def photographs():
    from sklearn.datasets import load_sample_image

    return {
        "cat": data.chelsea(),
        "coffee": data.coffee(),
        "motorcycle": data.stereo_motorcycle()[0],
        "temple": load_sample_image("china.jpg"),
        "rocket": data.rocket(),
    }


def centre(photograph, size):
    image = Image.fromarray(photograph)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(square, "float32")


@pytest.mark.network
def test_efficientnet_lite0_names_what_the_photographs_show():
    model = create_model("efficientnet_lite0", classes=1000, image_size=224, weights="imagenet", require_head=True)
    images = photographs()
    probabilities = model.predict_on_batch(np.stack([centre(image, 224) for image in images.values()]))
    for name, row in zip(images, probabilities, strict=True):
        assert int(row.argmax()) in EXPECTED[name], (name, row.argsort()[::-1][:5], np.sort(row)[::-1][:5])
    assert probabilities.max(axis=1).mean() > 0.4
