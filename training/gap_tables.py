"""Markdown tables of what people upload and of pictures of other things; functions as in `training.tables`."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from training.corruptions import CLEAN, CONDITIONS
from training.photographs import HALVES
from training.tables import origin, origins

SHOWN = ("jpeg_10", "bicubic_16", "bicubic_8")  # single conditions beside the means of their groups
UPLOADS = (CLEAN, *CONDITIONS, *SHOWN, "photographs")
"""What tables have a row of: test images as they are, groups of conditions, single conditions, photographs."""


def domain_gap(result: dict, stored: dict) -> str:
    """Return accuracy by kind of upload and model, from stage to stage: one row a kind."""
    models = list(dict.fromkeys(name for name, *_ in _by_model(result)))

    def row(head: str, cell: Callable[[Mapping], str]) -> str:
        found = [[stage["models"].get(name) for stage in result["stages"].values()] for name in models]
        cells = [" → ".join(cell(model) if model else "–" for model in each) for each in found]
        return f"| {head} | {' | '.join(cells)} |"

    rows = [row("fit", lambda model: model["fit"])]
    rows += [row(kind, lambda model, kind=kind: _share(_mean(model, kind, "accuracy"))) for kind in UPLOADS]
    stage = next(iter(result["stages"].values()))
    stages = " → ".join(result["stages"])
    return (
        f"{_head('', models)}\n" + "\n".join(rows) + f"\n\nAccuracy{f', {stages},' if len(result['stages']) > 1 else ''} on "
        f"{stage['test_images']:,} test images as people would upload them, a mean over each group's conditions, and on the "
        f"half of the photographs ({_photographs(stage)} of them) by which nothing was chosen. {_origins(result)}"
    )  # fmt: skip


def robust_views(result: dict, stored: dict) -> str:
    """Return validation accuracy by what was done to the images, one row a set of views."""
    conditions = list(result["runs"][0]["accuracy"])
    rows = [
        f"| {run['views']} | {len(run['set'])} | "
        + " | ".join(_share(run["accuracy"][name]) for name in conditions)
        + f" | {sum(run['seconds'].values()) / 60:.0f} min |"
        for run in result["runs"]
    ]
    head = f"| views | number | {' | '.join(conditions).replace('identity', CLEAN)} | time |\n|{'---|' * (3 + len(conditions))}"
    return (
        f"{head}\n" + "\n".join(rows) + f"\n\n{result['model']} at {result['image_size']}×{result['image_size']} by "
        f"`{result['recipe']}`, {result['epochs']:g} epochs, seed {result['seed']}, n = 1: accuracy on "
        f"{result['validation_images']:,} validation images. <sub>{origins(result['runs'])}</sub>"
    )  # fmt: skip


def fits(result: dict, stored: dict) -> str:
    """Return validation accuracy by condition and how an upload is fitted, means over models: one row a condition."""
    models = list(result["models"].values())
    ways = list(models[0]["fits"])

    def row(name: str, accuracy: Callable[[Mapping], float]) -> str:
        means = [statistics.mean(accuracy(model["fits"][way]) for model in models) for way in ways]
        return f"| {name} | {' | '.join(map(_share, means))} |"

    conditions = models[0]["fits"][ways[0]]["conditions"]
    rows = [row(name, lambda fit, name=name: fit["conditions"][name]) for name in conditions]
    rows.append(row("photographs", lambda fit: fit["photographs"]))
    head = f"| fitted | {' | '.join(ways)} |\n|{'---|' * (1 + len(ways))}"
    return (
        f"{head}\n" + "\n".join(rows) + f"\n\nMean accuracy of {', '.join(f'`{name}`' for name in result['models'])} on "
        f"{models[0]['images']:,} validation images each, and on the half of the photographs to choose by. "
        f"`{_best_fit(models)}` is right most often, photographs and images weighed alike. <sub>{_origins_of(result)}</sub>"
    )  # fmt: skip


def gap_calibration(result: dict, stored: dict) -> str:
    """Return mean confidence and calibration error by kind of upload and model, in the last stage."""
    last = list(result["stages"])[-1]
    models = result["stages"][last]["models"]
    rows = [
        f"| {kind} | "
        + " | ".join(
            ", ".join(_share(_mean(model, kind, key)) for key in ("confidence", "calibration_error"))
            for model in models.values()
        )
        + " |"
        for kind in UPLOADS
    ]
    return (
        f"{_head('confidence, calibration error', models)}\n" + "\n".join(rows) + "\n\nMean confidence, and expected "
        "calibration error, at the temperature of each card, which was fitted on clean validation images. "
        f"<sub>{_origins_of(result['stages'][last])}</sub>"
    )  # fmt: skip


def novelty(result: dict, stored: dict) -> str:
    """Return how well each score tells pictures of other things, for the first model of the result that has scores."""
    name, model = next((name, model) for name, model in result["models"].items() if model["scores"])
    columns = [("scores", half, kind) for half in HALVES for kind in ("near", "far")]
    columns += [("scores_of_photographs", HALVES[-1], kind) for kind in ("near", "far")]
    rows = [
        f"| {score} | {' | '.join(_auroc(model[inside][score][half], kind) for inside, half, kind in columns)} |"
        for score in model["scores"]
    ]
    head = f"| `{name}`: score | near, to choose by | far, to choose by | near | far | photographs: near | far |\n|{'---|' * 7}"
    sets = ", ".join(f"{each} ({counts['report']:,})" for each, counts in result["sets"].items())
    return (
        f"{head}\n"
        + "\n".join(rows)
        + "\n\nAUROC, mean over sets: how often a picture of the ten classes is ranked above one of "
        f"something else. To choose by: validation images against one half of each set; then {result['test_images']:,} test "
        f"images, and photographs of the ten classes, against the other half: {sets}. {origin(model)}"
    )


def warnings(result: dict, stored: dict) -> str:
    """Return how many pictures of each set are answered with a warning, by model, on the half that nothing was chosen by."""
    models = {name: model["warned"]["report"] for name, model in result["models"].items()}
    sets = list(next(iter(models.values()), {}))
    rows = [f"| `{name}` | {' | '.join(_share(warned[each]) for each in sets)} |" for name, warned in models.items()]
    head = f"| answered with a warning | {' | '.join(sets)} |\n|{'---|' * (1 + len(sets))}"
    return (
        f"{head}\n" + "\n".join(rows) + "\n\nA picture is called unlike what was learned where less than "
        f"{result['unlike']:.0%} of held-back images are as unlike; one with fewer pixels than those is warned of too, "
        f"as digits and faces here are. <sub>{_origins_of(result)}</sub>"
    )  # fmt: skip


def upload_cost(result: dict, stored: dict) -> str:
    """Return what an answer takes as shipped, beside one of the plainest fit and without a look at what is unlike."""
    rows = [
        f"| `{row['model']}` | {row['image']} | {row['plain_ms']:.2f} ms | {row['shipped_ms']:.2f} ms | "
        f"{row['shipped_ms'] / row['plain_ms'] - 1:+.1%} |"
        for row in result["runs"]
    ]
    head = "| model | image | plain | as shipped | more |\n|---|---|---|---|---|"
    return (
        f"{head}\n" + "\n".join(rows) + "\n\nMedian time of an answer from the file's bytes, in turns in one process. Plain: "
        f"fit `bilinear`, nothing told of pictures of other things. {origin(result)}"
    )  # fmt: skip


def by_kind(result: dict) -> tuple[list[str], dict[str, dict[str, list[float]]]]:
    """Return the kinds of upload, and by model and stage the accuracy in each."""
    kinds = [kind for kind in UPLOADS if kind not in SHOWN]
    found: dict[str, dict[str, list[float]]] = {}
    for name, stage, model in _by_model(result):
        found.setdefault(name, {})[stage] = [_mean(model, kind, "accuracy") for kind in kinds]
    return kinds, found


def failures(result: dict) -> tuple[str, list[dict]]:
    """Return which model of the last stage is the best on clean images, and the photographs that it is wrong about.

    They are of the half that nothing was chosen by.
    """
    models = list(result["stages"].values())[-1]["models"]
    best = max(models, key=lambda name: models[name]["conditions"][CLEAN]["accuracy"])
    return best, models[best]["photographs"]["report"]["wrong"]


def _origins(result: dict) -> str:
    return " ".join(
        f"{name.capitalize()}: <sub>{_origins_of(stage)}</sub>." for name, stage in result["stages"].items()
    )


def _origins_of(stage: Mapping) -> str:
    return origins(list(stage["models"].values()))


def _by_model(result: dict) -> Iterable[tuple[str, str, dict]]:
    names = dict.fromkeys(name for stage in result["stages"].values() for name in stage["models"])
    for name in names:
        for stage, found in result["stages"].items():
            if name in found["models"]:
                yield name, stage, found["models"][name]


def _head(corner: str, columns: Iterable[str]) -> str:
    names = [f"`{name}`" for name in columns]
    return f"| {corner} | {' | '.join(names)} |\n|{'---|' * (1 + len(names))}"


def _mean(model: Mapping, kind: str, key: str) -> float:
    """Return a mean over the conditions of a kind of upload, or what it is on the photographs to report by."""
    if kind == UPLOADS[-1]:
        return model["photographs"]["report"][key]
    return statistics.mean(model["conditions"][name][key] for name in CONDITIONS.get(kind, (kind,)))


def _photographs(stage: Mapping) -> int:
    return next(iter(stage["models"].values()))["photographs"]["report"]["images"]


def _best_fit(models: Sequence[Mapping]) -> str:
    """Return the way to fit that is right most often: the mean over models, of images and photographs alike."""

    def accuracy(name: str) -> float:
        found = [model["fits"][name] for model in models]
        images = statistics.mean(statistics.mean(each["conditions"].values()) for each in found)
        return (images + statistics.mean(each["photographs"] for each in found)) / 2

    return max(models[0]["fits"], key=accuracy)


def _auroc(found: Mapping[str, float], kind: str) -> str:
    values = [value for name, value in found.items() if name.startswith(kind)]
    return f"{100 * statistics.mean(values):.1f}" if values else "–"


def _share(value: float) -> str:
    return f"{value:.1%}"
