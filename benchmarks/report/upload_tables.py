"""Markdown tables of what people upload; functions as in `benchmarks.report.tables`."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmarks.experiments.uploads import CLEAN, CONDITIONS
from benchmarks.report.tables import changed_options, origins
from training.recipes import MADE_FOR

SHOWN = ("jpeg_30", "jpeg_10", "bicubic_16", "bicubic_8")  # single conditions beside the means of their groups
ROBUST = (
    *("identity", "mirror+shift_2_2", "shift_-2_2", "pixels_12"),
    *("mirror", "shift_2_-2", "mirror+shift_-2_-2", "mirror+jpeg_10"),
)
DEGRADED = ("pixels_12", "mirror+jpeg_10")  # of the views of `robust`, by the names that the results have
WORSE = 0.02  # by how much a model must have lost under a condition to be named
UPLOADS = (CLEAN, *CONDITIONS, *SHOWN, "photographs")
"""What tables have a row of: test images as they are, groups of conditions, single conditions, photographs."""


def domain_gap(result: dict, stored: dict) -> str:
    """Return accuracy by kind of upload and model, from stage to stage: one row a kind."""
    models = _by_model(result)

    def row(
        head: str, cell: Callable[[Mapping], str], change: Callable[[list[Mapping]], str] = lambda stages: ""
    ) -> str:
        cells = [_arrows(stages, cell) + change([stage for stage in stages if stage]) for stages in models.values()]
        return f"| {head} | {' | '.join(cells)} |"

    def tested(model: Mapping) -> str:
        found = _test_accuracy(model, stored)
        return "–" if found is None else f"{found:.2%}"

    rows = [
        row("trained by", _trained_by),
        row("fit", lambda model: model["fit"]),
        row("whole test set, by training", tested),
        row(CLEAN, lambda model: percent(_mean(model, CLEAN, "accuracy"))),
    ]
    rows += [
        row(
            kind,
            lambda model, kind=kind: percent(_mean(model, kind, "accuracy")),
            lambda stages, kind=kind: _recovered(stages, kind),
        )
        for kind in UPLOADS[1:-1]
    ]
    rows.append(row("photographs", lambda model: percent(_mean(model, UPLOADS[-1], "accuracy"))))
    stage = next(iter(result["stages"].values()))
    several = len(result["stages"]) > 1
    stages = f", {' → '.join(result['stages'])}," if several else ""
    recovered = " In brackets: how much of what was lost against the images as they are came back." if several else ""
    return (
        f"{_head('', models)}\n" + "\n".join(rows) + f"\n\nAccuracy{stages} on "
        f"{stage['test_images']:,} test images as people would upload them, a mean over each group's conditions, and on the "
        f"half of the photographs ({_photographs(stage)} of them) by which nothing was chosen. jpeg_30 is compressed at "
        "quality 30, bicubic_16 has 16×16 pixels, bars_1.5 is 1.5 times as wide by black bars, screenshot_0.25 stands in a "
        f"window whose frame is a quarter as wide as the picture.{recovered} "
        f"{_seen_in_training()} {_worse(models, stored)}{_origins(result)}"
    )


def _worse(models: Mapping[str, Sequence[Mapping | None]], stored: Mapping) -> str:
    """Return what the last stage does worse than the first, a sentence; empty where nothing is."""
    single = [name for names in CONDITIONS.values() for name in names]

    def accuracies(model: Mapping) -> dict[str, float]:
        tested = _test_accuracy(model, stored)
        found = {} if tested is None else {"the whole test set": tested}
        return found | {kind: _mean(model, kind, "accuracy") for kind in (UPLOADS[-1], *single)}

    lost = []
    for name, stages in models.items():
        asked = [stage for stage in stages if stage]
        was, now = (accuracies(asked[number]) for number in (0, -1))
        told = [
            f"{kind} ({percent(was[kind])} → {percent(now[kind])})"
            for kind in now
            if kind in was and was[kind] - now[kind] > (WORSE if kind in single else 0)
        ]
        lost += [f"`{name}` on {', '.join(told)}"] if told else []
    return (
        f"Worse than before (single conditions by more than {100 * WORSE:g} points): {'; '.join(lost)}. "
        if lost
        else ""
    )


def _trained_by(model: Mapping) -> str:
    words = model["command"].split()
    network = words[words.index("--model") + 1]
    recipe = words[words.index("--recipe") + 1] if "--recipe" in words else MADE_FOR.get(network, "reference")
    return f"{recipe} {changed_options(model)}".strip()


def _test_accuracy(model: Mapping, stored: Mapping) -> float | None:
    rows = stored.get("accuracy", {}).get("runs", [])
    return next((row["accuracy"] for row in rows if row["command"] == model["command"]), None)


def _recovered(stages: Sequence[Mapping], kind: str) -> str:
    """Return, in brackets, the share of the first stage's loss on a kind of upload that the last one has made good."""
    first, last = stages[0], stages[-1]
    lost = _mean(first, CLEAN, "accuracy") - _mean(first, kind, "accuracy")
    if first is last or lost <= 0:
        return ""
    return f" ({(_mean(last, kind, 'accuracy') - _mean(first, kind, 'accuracy')) / lost:.0%})"


def _seen_in_training() -> str:
    """Return which conditions models were trained on, as views of `robust`."""
    parts = {part for view in ROBUST for part in view.split("+")}
    seen = [name for names in CONDITIONS.values() for name in names if name in parts]
    return f"Of these conditions {', '.join(seen)} is a view that `robust` trains on." if seen else ""


def robust_views(result: dict, stored: dict) -> str:
    """Return validation accuracy by what was done to the images, one row a set of views."""
    conditions = list(result["runs"][0]["accuracy"])
    rows = [
        f"| {run['views']} | {len(run['set'])} | "
        + " | ".join(percent(run["accuracy"][name]) for name in conditions)
        + f" | {sum(run['seconds'].values()) / 60:.0f} min |"
        for run in result["runs"]
    ]
    head = f"| views | number | {' | '.join(conditions).replace('identity', CLEAN)} | time |\n|{'---|' * (3 + len(conditions))}"
    return (
        f"{head}\n" + "\n".join(rows) + f"\n\n{result['model']} at {result['image_size']}×{result['image_size']} by "
        f"`{result['recipe']}`, {result['epochs']:g} epochs, seed {result['seed']}, n = 1: accuracy on "
        f"{result['validation_images']:,} validation images. {_untried(result)}<sub>{origins(result['runs'])}</sub>"
    )


def _untried(result: Mapping) -> str:
    """Return that the views which `robust` takes are not among those measured, where they are not."""
    if list(ROBUST) in [run["set"] for run in result["runs"]]:
        return ""
    return (
        f"`robust` has {len(ROBUST)} views, {len(DEGRADED)} of which are degraded ({', '.join(DEGRADED)}); this very set was "
        "not tried here. "
    )


def blend(result: dict, stored: dict) -> str:
    """Return validation accuracy by what was done to the images, one row a share of the other recipe's weights."""
    conditions = list(result["runs"][0]["accuracy"])
    taken = result["taken"]

    def row(run: Mapping) -> str:
        share = f"**{run['share']:.0%}**" if run["share"] == taken else f"{run['share']:.0%}"
        cells = (percent(run["accuracy"][name]) for name in conditions)
        return f"| {share} | {run['loss']:.3f} | {' | '.join(cells)} |"

    rows = [row(run) for run in result["runs"]]
    names = " | ".join(conditions).replace("identity", CLEAN)
    return (
        f"| share of `{result['blend']}` | cross-entropy | {names} |\n|{'---|' * (2 + len(conditions))}\n"
        + "\n".join(rows)
        + f"\n\n{result['model']} at {result['image_size']}×{result['image_size']}, seed {result['seed']}, n = 1: the average "
        f"of the weights by `{result['blend']}` and by the views of `{result['recipe']}`. Cross-entropy, in nats, of "
        f"calibrated answers to clean images; accuracy on {result['validation_images']:,} validation images. "
        f"`{result['recipe']}` takes {taken:.0%}. "
        f"<sub>{origins([result])}</sub>"
    )


def fits(result: dict, stored: dict) -> str:
    """Return validation accuracy by condition and how an upload is fitted, means over models: one row a condition."""
    models = list(result["models"].values())
    ways = list(models[0]["fits"])

    def row(name: str, accuracy: Callable[[Mapping], float]) -> str:
        means = [statistics.mean(accuracy(model["fits"][way]) for model in models) for way in ways]
        return f"| {name} | {' | '.join(map(percent, means))} |"

    conditions = models[0]["fits"][ways[0]]["conditions"]
    rows = [row(name, lambda fit, name=name: fit["conditions"][name]) for name in conditions]
    rows.append(row("photographs", lambda fit: fit["photographs"]))
    rows.append(f"| answers a picture | {' | '.join(str(result['passes'][way]) for way in ways)} |")
    names = [f"{way} (ships)" if way == result["shipped"] else way for way in ways]
    head = f"| fitted | {' | '.join(names)} |\n|{'---|' * (1 + len(ways))}"
    best, once = result["best"], result["best_at_once"]
    cheaper = "" if best == once else f"; of those that ask the model once, `{once}`"
    return (
        f"{head}\n"
        + "\n".join(rows)
        + f"\n\nMean accuracy of {', '.join(f'`{name}`' for name in result['models'])} on "
        f"{models[0]['images']:,} validation images each, and on the half of the photographs to choose by. Right most often, "
        f"photographs and images weighed alike, is `{best}`{cheaper}. What ships is "
        f"`{result['shipped']}`. {_best_by_condition(result)}<sub>{origins_of(result)}</sub>"
    )


def _best_by_condition(result: Mapping) -> str:
    """Return where another model than the best one is right more often, by more than chance: what a choice of the model by
    an upload's resolution or kind would gain. Chance is two standard errors of the difference of two shares.
    """
    found = {name: model["fits"][result["shipped"]]["conditions"] for name, model in result["models"].items()}
    first = max(found, key=lambda name: statistics.mean(found[name].values()))
    images = result["models"][first]["images"]

    def variance(share: float) -> float:
        return share * (1 - share) / images

    better = [
        f"{condition} (`{name}`, {percent(found[name][condition])} against {percent(accuracy)})"
        for condition, accuracy in found[first].items()
        for name in [max(found, key=lambda name, condition=condition: found[name][condition])]
        if found[name][condition] - accuracy > 2 * (variance(found[name][condition]) + variance(accuracy)) ** 0.5
    ]
    if len(found) == 1:
        return ""
    where = f"on {', '.join(better)} alone" if better else "nowhere"
    return (
        f"By the mean of these conditions `{first}` is the best as shipped; another model beats it by more than chance "
        f"{where}. "
    )


def gap_calibration(result: dict, stored: dict) -> str:
    """Return mean confidence and calibration error by kind of upload and model, from stage to stage."""
    models = _by_model(result)

    def row(kind: str) -> str:
        keys = ("confidence",) if kind == UPLOADS[-1] else ("confidence", "calibration_error")  # they are too few
        cells = [
            _arrows(stages, lambda model: ", ".join(percent(_mean(model, kind, key)) for key in keys))
            for stages in models.values()
        ]
        return f"| {kind} | {' | '.join(cells)} |"

    return (
        f"{_head('confidence, calibration error', models)}\n"
        + "\n".join(map(row, UPLOADS))
        + "\n\nMean confidence, and "
        "expected calibration error, as each stage calibrated, fitted on clean validation images. "
        f"{_origins(result)}"
    )


def by_kind(result: dict) -> tuple[list[str], dict[str, dict[str, list[float]]]]:
    """Return the kinds of upload, and by model and stage the accuracy in each."""
    kinds = [kind for kind in UPLOADS if kind not in SHOWN]
    found = {
        name: {
            stage: [_mean(model, kind, "accuracy") for kind in kinds]
            for stage, model in zip(result["stages"], stages, strict=True)
            if model
        }
        for name, stages in _by_model(result).items()
    }
    return kinds, found


def failures(result: dict) -> tuple[str, list[dict], str | None]:
    """Return the default model of the last stage, which photographs it gets wrong, and the file that shows them.

    They are of the half that nothing was chosen by.
    """
    stage = list(result["stages"].values())[-1]
    model = stage["default"]
    return model, stage["models"][model]["photographs"]["report"]["wrong"], stage.get("picture")


def _arrows(stages: Sequence[Mapping | None], cell: Callable[[Mapping], str]) -> str:
    return " → ".join(cell(model) if model else "–" for model in stages)


def _origins(result: dict) -> str:
    return " ".join(f"{name.capitalize()}: <sub>{origins_of(stage)}</sub>." for name, stage in result["stages"].items())


def origins_of(stage: Mapping) -> str:
    """Return where and when the models of a result, or of a stage of it, were measured."""
    return origins(list(stage["models"].values()))


def _by_model(result: dict) -> dict[str, list[dict | None]]:
    """Return what each model has in each stage; None where it lacks one."""
    names = dict.fromkeys(name for stage in result["stages"].values() for name in stage["models"])
    return {name: [stage["models"].get(name) for stage in result["stages"].values()] for name in names}


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


def percent(value: float) -> str:
    """Return a share, 0..1, as tables show it."""
    return f"{value:.1%}"
