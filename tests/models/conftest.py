"""A network that is small enough to be built in every test."""

import keras
import pytest

from models import registry
from models.preprocessing import caffe_scaling, imagenet_scaling
from models.pretrained.mapping import PytorchMapping
from models.pretrained.sources import Pretrained
from models.registry import ModelSpec


@pytest.fixture
def two_conventions(monkeypatch):
    """The name of a network with two scalings and two PyTorch namings, whose padding depends on the size of the image."""

    def backbone(size, convention):
        image = keras.Input((size, size, 3), name="image")
        x = caffe_scaling(image) if convention == "keras" else imagenet_scaling(image)
        x = keras.layers.ZeroPadding2D(((size % 2, 1), (size % 2, 1)), name="pad")(x)
        return keras.Model(image, keras.layers.Conv2D(4, 3, strides=2, name="conv")(x))

    classifier = (("fc", "head_probabilities"),)
    mappings = tuple(
        PytorchMapping(naming, ((f"{naming}.0", "conv"),), classifier=classifier, symmetric_padding=False)
        for naming in ("features", "stem")
    )
    spec = ModelSpec(
        name="two_conventions",
        backbone=backbone,
        conventions=("pytorch", "keras"),
        pretrained=Pretrained(mappings=mappings),
    )
    monkeypatch.setitem(registry._SPECS, spec.name, spec)
    return spec.name
