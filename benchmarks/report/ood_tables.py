"""Markdown tables of pictures of other things, and of what looking for them costs; functions as in `benchmarks.report.tables`."""

import statistics
from collections.abc import Mapping

from benchmarks.data.photographs import HALVES
from benchmarks.measures.ood_scores import SCORES, SHIPPED
from benchmarks.report.tables import origin
from benchmarks.report.upload_tables import origins_of, percent


def ood_detector(result: dict, stored: dict) -> str:
    """Return how well each score tells pictures of other things, for the model that answers where none is named."""
    name, model = _default(result)
    columns = [("scores", half, kind) for half in HALVES for kind in ("near", "far")]
    columns += [("scores_of_photographs", HALVES[-1], kind) for kind in ("near", "far")]
    rows = [
        f"| {score} | {' | '.join(_auroc(model[inside][score][half], kind) for inside, half, kind in columns)} |"
        for score in model["scores"]
    ]
    head = f"| `{name}`: score | near, to choose by | far, to choose by | near | far | photographs: near | far |\n|{'---|' * 7}"
    return (
        f"{head}\n"
        + "\n".join(rows)
        + "\n\nAUROC, mean over sets: how often a picture of the ten classes is ranked above one of "
        f"something else. To choose by: validation images against one half of each set; then {result['test_images']:,} test "
        f"images, and photographs of the ten classes, against the other half.{_chosen(result['models'])} The sets: "
        f"{_sets(result)}. "
        f"{origin(model)}"
    )


def _chosen(models: Mapping[str, Mapping]) -> str:
    """Return which of the published scores is best, over the models that allow all of them, on what may be chosen by."""
    allowing = [model["scores"] for model in models.values() if set(SCORES) <= set(model["scores"])]
    if not allowing:
        return ""

    def area(scores: Mapping, score: str) -> float:
        found = scores[score]["choice"]
        kinds = [[value for name, value in found.items() if name.startswith(kind)] for kind in ("near", "far")]
        return statistics.mean(statistics.mean(values) for values in kinds if values)

    means = {score: statistics.mean(area(scores, score) for scores in allowing) for score in (*SCORES, SHIPPED)}
    best, second, *_ = sorted(SCORES, key=means.__getitem__, reverse=True)
    return (
        f" By the former, near and far weighed alike, {best} is the best of the published scores with {100 * means[best]:.1f} "
        f"on average over the {len(allowing)} networks that allow all of them ({second}: {100 * means[second]:.1f}). NNGuide "
        f"ships, of few images and directions ({100 * means[SHIPPED]:.1f}), and without energies where logits take more than "
        "one layer; nearest neighbours are left of it there."
    )


def _sets(result: Mapping) -> str:
    return "; ".join(
        f"{name} ({counts['report']:,}{'; ' + counts['source'] if counts.get('source') else ''})"
        for name, counts in result["sets"].items()
    )


def shipped_novelty(result: dict, stored: dict) -> str:
    """Return by model how well what ships tells pictures of other things, and how many of each set it calls unlike."""
    models = result["models"]
    sets = list(next(iter(models.values()))["unlike"])
    rows = []
    for name, model in models.items():
        areas = " | ".join(
            _auroc(model[inside].get(SHIPPED, {}).get("report", {}), kind)
            for inside in ("scores", "scores_of_photographs")
            for kind in ("near", "far")
        )
        shares = " | ".join(percent(model["unlike"][each]) for each in sets)
        rows.append(f"| `{name}` | {areas} | {shares} |")
    head = (
        f"| model | AUROC near | far | photographs: near | far | called unlike: {' | '.join(sets)} |\n"
        f"|{'---|' * (5 + len(sets))}"
    )
    return (
        f"{head}\n"
        + "\n".join(rows)
        + "\n\nAUROC: how often a test image, or a photograph of the ten classes, is ranked "
        "above a picture of something else, in per cent; a mean over near sets, small photographs of other things, and over "
        "far ones. On the half that nothing was chosen by. A picture is called unlike what was learned where less than "
        f"{result['unlike']:.0%} of held-back images are as unlike. `{result['default']}` answers where no model is named. "
        f"<sub>{origins_of(result)}</sub>"
    )


def doubted_uploads(result: dict, stored: dict) -> str:
    """Return how often test images are called unlike as people upload them, and whether those answers are worse."""
    name, model = _default(result)
    rows = [
        f"| {condition} | {percent(found['unlike'])} | {_percent_or_dash(found['accuracy_of_unlike'])} | "
        f"{_percent_or_dash(found['accuracy_of_others'])} |"
        for condition, found in model["uploads"].items()
    ]
    head = f"| `{name}` | called unlike | right about those | right about the others |\n|{'---|' * 4}"
    return (
        f"{head}\n" + "\n".join(rows) + f"\n\n{result['upload_images']:,} test images as people would upload them. "
        f"{origin(model)}"
    )


def upload_cost(result: dict, stored: dict) -> str:
    """Return what an answer takes as shipped, beside one of the plainest fit and without a look at what is unlike."""
    rows = [
        f"| `{row['model']}` | {row['image']} | {row['plain_ms']:.2f} ms | {row['shipped_ms']:.2f} ms | "
        f"{row['shipped_ms'] / row['plain_ms'] - 1:+.1%} |"
        for row in result["runs"]
    ]
    head = "| model | image | plain | as shipped | more |\n|---|---|---|---|---|"
    return (
        f"{head}\n"
        + "\n".join(rows)
        + "\n\nMedian time of an answer from the file's bytes, in turns in one process. Plain: "
        f"fit `bilinear`, nothing told of pictures of other things. {origin(result)}"
    )


def _default(result: Mapping) -> tuple[str, Mapping]:
    return result["default"], result["models"][result["default"]]


def _auroc(found: Mapping[str, float], kind: str) -> str:
    values = [value for name, value in found.items() if name.startswith(kind)]
    return f"{100 * statistics.mean(values):.1f}" if values else "–"


def _percent_or_dash(value: float | None) -> str:
    return "–" if value is None else percent(value)
