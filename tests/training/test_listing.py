"""The table of `train.py --list`."""

import re

from models.registry import list_models
from training.listing import catalogue


def test_every_model_has_its_row_with_parameters_phases_and_weights(tiny_network):
    table = catalogue()
    rows = {line.split()[0]: line for line in table.splitlines() if line and line.split()[0] in list_models()}
    assert set(rows) == set(list_models())
    assert re.search(r"32×32 +620,362 +– +– +620,362 +–$", rows["custom_cnn"])
    assert re.search(
        r"160×160 +2,423,242 +165,258 +1,999,690 \(last 50\) +– +imagenet, keras, file$", rows["mobilenet_v2"]
    )
    assert rows["resnet18"].endswith("imagenet (hub), file")
    assert rows["resnet50"].endswith("keras")
    assert max(map(len, table.splitlines())) <= 128
