"""EfficientNet-Lite0 with its real weights and its 1000 classes recognises photographs.

The photographs come with scikit-image (public domain or CC0, see its data folder) and scikit-learn (CC BY).
"""

import numpy as np
import pytest
from PIL import Image, ImageOps

from models.registry import create_model

# Photograph → numbers of the ImageNet classes that describe it.
EXPECTED = {
    "chelsea": {281, 282, 285},  # tabby, tiger cat, Egyptian cat
    "coffee": {967},  # espresso
    "rocket": {657, 744},  # missile, projectile
    "china.jpg": {442, 663, 698},  # bell cote, monastery, palace
}


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("photograph", EXPECTED)
def test_efficientnet_lite0_recognises_photographs(photograph):
    data = pytest.importorskip("skimage.data")
    from sklearn.datasets import load_sample_image

    array = load_sample_image(photograph) if "." in photograph else getattr(data, photograph)()
    image = ImageOps.fit(Image.fromarray(array), (224, 224), Image.Resampling.BICUBIC)
    model = create_model("efficientnet_lite0", classes=1000, image_size=224, weights="imagenet", require_head=True)
    probabilities = model.predict_on_batch(np.asarray(image, "float32")[None])[0]
    assert int(probabilities.argmax()) in EXPECTED[photograph]
