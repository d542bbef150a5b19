"""What `train.py --list` and `--explain` print."""

import re

import pytest

from models.registry import create_model, list_models
from training.config import make_config
from training.freezing.feeds import prepare_caches
from training.listing import explain, list_networks, list_recipe_lines
from training.recipes import list_recipes


def test_every_network_has_its_row_with_parameters_phases_and_weights(tiny_network):
    table = list_networks()
    rows = {line.split()[0]: line for line in table.splitlines() if line and line.split()[0] in list_models()}
    assert set(rows) == set(list_models())
    assert re.search(r"32×32 +620,362 +– +– +620,362 +–$", rows["custom_cnn"])
    assert re.search(
        r"160×160 +2,423,242 +165,258 +1,999,690 \(last 50\) +– +imagenet, keras, file$", rows["mobilenet_v2"]
    )
    assert rows["resnet18"].endswith("imagenet (hub), file")
    assert rows["resnet50"].endswith("keras")


def test_every_recipe_is_listed():
    assert set(list_recipes()) <= set(re.findall(r"\w+", list_recipe_lines()))


@pytest.mark.parametrize("recipe", ["reference", "strong"])
def test_an_explanation_tells_what_the_phases_train_and_cache(recipe, tiny_network, dataset, cache):
    config = make_config("finetune", tiny_network, recipe, learning_rate=3e-4, epochs=7, weights="none")
    text = explain(config, dataset.classes)
    assert not list(cache.glob("**/*")) and "0.0003" in text and "7 epochs" in text
    model = create_model(tiny_network, classes=dataset.classes, weights=None, head=config.head)
    caches = prepare_caches(model, config, config.phases, dataset.x_train)
    for phase in config.phases:
        block = text.partition(f"phase {phase.name}\n")[2].partition("\n\n")[0]
        arrays = caches[phase.name].views
        assert f"{sum(array[0].nbytes for array in arrays[0]):,} bytes per image and view, {len(arrays)} views" in block
    assert f"{sum(weight.numpy().size for weight in model.trainable_weights):,} parameters" in block


@pytest.mark.parametrize(
    ("options", "token"),
    [
        (
            {"model": "mobilenet_v2", "recipe": "strong"},
            "block_6_project_BN: 12,800 bytes per image and view, 4 views, 2.56 GB",
        ),
        ({"model": "mobilenet_v2", "recipe": "strong"}, "mobilenet_v2 --recipe strong .*95"),
        ({"model": "mobilenet_v2", "recipe": "robust"}, "35% strong and 65% robust"),
        ({"model": "mobilenet_v2", "augment": "crop"}, "cache +none"),
        ({"model": "speedrun_cnn"}, "nothing is frozen"),
        ({"model": "resnet18"}, "not measured"),
    ],
)
def test_an_explanation_tells_cache_averaging_and_results(options, token):
    assert re.search(token, explain(make_config(**options)))
