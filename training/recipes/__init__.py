"""The registry of recipes. Each module in this folder registers its own."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.validation import require
from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class _Entry:
    recipe: Recipe
    doc: str
    networks: Mapping[str, Recipe] = field(default_factory=dict)


_ENTRIES: dict[str, _Entry] = {}
_DEFAULTS: dict[str, str] = {}


def register_recipe(
    name: str, recipe: Recipe, doc: str, *, networks: Mapping[str, Recipe] | None = None, default_for: str = ""
) -> None:
    """Add a recipe to the registry, with the docstring of its module, whose first line `train.py --list` shows.

    `networks` are complete recipes that replace it for certain networks. It is the default recipe of network `default_for`.
    """
    _ENTRIES[name] = _Entry(recipe, doc, networks or {})
    if default_for:
        _DEFAULTS[default_for] = name


def list_recipes() -> list[str]:
    """Return the names of all recipes, sorted."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return sorted(_ENTRIES)


def default_recipe(network: str) -> str:
    """Return the name of a network's default recipe: the one made for it, else "reference"."""
    list_recipes()
    return _DEFAULTS.get(network, "reference")


def load_recipe(name: str, network: str) -> Recipe:
    """Return a recipe for a network; raise ValueError if no recipe has this name."""
    entry = _entry(name)
    return entry.networks.get(network, entry.recipe)


def recipe_doc(name: str) -> str:
    """Return the docstring of a recipe's module: paper, method, and commands with their expected test accuracy."""
    return _entry(name).doc


def _entry(name: str) -> _Entry:
    names = list_recipes()
    require(name in names, f"recipe must be one of {', '.join(names)}", recipe=name)
    return _ENTRIES[name]
