"""Rows of the tables of trained models. Each function takes all results by name and returns the rows for `tables.toml`."""

import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.data.photographs import listed_photographs
from benchmarks.measures.conditions import CLEAN, CONDITIONS
from benchmarks.measures.diagnosis import calibration_error_by_chance
from benchmarks.report.training_tables import Rows, changed_options

Columns = list[tuple[str, str]]  # header and cell of columns besides those in tables.toml
PHOTOGRAPHS = "photographs"
SINGLE = ("jpeg_30", "jpeg_10", "bicubic_16", "bicubic_8")  # shown besides the means of their kinds
UPLOADS = (CLEAN, *CONDITIONS, *SINGLE, PHOTOGRAPHS)
NAMES = {CLEAN: "clean", "of the ten classes": "test images"}  # the report's names for keys of results
SERVERS = {"thaw": "Thaw", "plain": "Flask, model.predict"}
PREPARATION: dict[str, Callable[[Mapping], str]] = {
    "recipe": lambda row: _recipe(row["command"]),
    "resize mode": lambda row: row["fit"],
}


def evaluation(stored: Mapping) -> Rows:
    """The shipped models, the most accurate first."""
    rows = [
        {"name": name, "ece_by_chance": calibration_error_by_chance(row["reliability"]["after"]), **row}
        for name, row in stored["evaluation"]["models"].items()
    ]
    return sorted(rows, key=lambda row: -row["accuracy"])


def per_class(stored: Mapping) -> tuple[Rows, Columns]:
    """Precision, recall and F1 of every class, with a column for each model."""
    models, keys = evaluation(stored), ("precision", "recall", "f1")
    rows = [
        {"label": label}
        | {each["name"]: " / ".join(f"{100 * each['per_class'][label][key]:.0f}" for key in keys) for each in models}
        for label in stored["evaluation"]["class_names"]
    ]
    return rows, _column_each(each["name"] for each in models)


def confusion_pairs(stored: Mapping) -> Rows:
    """The ten pairs of classes that the first network confuses most."""
    return [row | {"names": " and ".join(row["classes"])} for row in stored["evaluation"]["pairs"]["rows"][:10]]


def stages_by_model(result: Mapping) -> dict[str, dict[str, Mapping]]:
    """Return the rows of `uploads.json` by model and stage."""
    found: dict[str, dict[str, Mapping]] = {}
    for title, stage in result["stages"].items():
        for name, row in stage["models"].items():
            found.setdefault(name, {})[title] = row
    return found


def mean_of(row: Mapping, kind: str, key: str = "accuracy") -> float:
    """Return the mean over the conditions of a kind of upload; of photographs the value on half "report"."""
    if kind == PHOTOGRAPHS:
        return row["photographs"]["report"][key]
    return statistics.mean(row["conditions"][name][key] for name in CONDITIONS.get(kind, (kind,)))


def share_recovered(stages: Sequence[Mapping], kind: str) -> float | None:
    """Return the share of the first stage's drop below clean accuracy that the last stage recovers; None without a drop."""
    first, last = stages[0], stages[-1]
    drop = mean_of(first, CLEAN) - mean_of(first, kind)
    return None if first is last or drop <= 0 else (mean_of(last, kind) - mean_of(first, kind)) / drop


def accuracy_losses(result: Mapping, least: float = 0.02) -> list[tuple[str, str, float, float]]:
    """Return (model, condition, before, after) where the last stage is worse than the first by more than `least`."""
    losses = []
    for name, stages in stages_by_model(result).items():
        for kind in (PHOTOGRAPHS, *itertools.chain(*CONDITIONS.values())):
            accuracies = [mean_of(row, kind) for row in stages.values()]
            if accuracies[0] - accuracies[-1] > least:
                losses.append((name, kind, accuracies[0], accuracies[-1]))
    return losses


def uploads(stored: Mapping) -> tuple[Rows, Columns]:
    """Accuracy by kind of upload and stage, with a column for each model."""

    def cell(kind: str, stages: Sequence[Mapping]) -> str:
        if kind in PREPARATION:
            return " → ".join(map(PREPARATION[kind], stages))
        shown = " → ".join(f"{mean_of(row, kind):.1%}" for row in stages)
        recovered = None if kind == PHOTOGRAPHS else share_recovered(stages, kind)
        return shown if recovered is None else f"{shown} ({recovered:.0%})"

    return _by_model(stored["uploads"], (*PREPARATION, *UPLOADS), cell)


def uploads_calibration(stored: Mapping) -> tuple[Rows, Columns]:
    """Confidence and expected calibration error by kind of upload and stage, with a column for each model."""

    def cell(kind: str, stages: Sequence[Mapping]) -> str:
        keys = ("confidence",) if kind == PHOTOGRAPHS else ("confidence", "calibration_error")  # too few for an ECE
        return " → ".join(", ".join(f"{mean_of(row, kind, key):.1%}" for key in keys) for row in stages)

    return _by_model(stored["uploads"], UPLOADS, cell)


def _by_model(result: Mapping, kinds: Sequence[str], cell: Callable) -> tuple[Rows, Columns]:
    models = {name: list(stages.values()) for name, stages in stages_by_model(result).items()}
    rows = [{"kind": NAMES.get(kind, kind)} | {name: cell(kind, models[name]) for name in models} for kind in kinds]
    return rows, _column_each(models)


def _column_each(models: Iterable[str]) -> Columns:
    return [(f"`{name}`", f"{{{name}}}") for name in models]


def _recipe(command: str) -> str:
    words = command.split()
    recipe = words[words.index("--recipe") + 1] if "--recipe" in words else "reference"
    return f"{recipe} {changed_options(command)}".strip()


def photograph_mistakes(stored: Mapping) -> Rows:
    """The photographs that the default model of the last stage misclassifies, with their authors."""
    stage = list(stored["uploads"]["stages"].values())[-1]
    rows, known = [], {each.file: each for each in listed_photographs()}
    for row in stage["models"][stage["default"]]["photographs"]["report"]["wrong"]:
        photograph = known[row["file"]]
        link = f"[{photograph.file}]({photograph.address})" if photograph.address else photograph.file
        rows.append({**row, "link": link, "author": f"{photograph.author} ({photograph.licence})"})
    return rows


def ood_detection(stored: Mapping) -> tuple[Rows, Columns]:
    """AUROC of every detector, and the share of each data set that it flags."""
    against = {"scores": "AUROC", "scores_of_photographs": "AUROC, photographs"}
    columns = [(f"{against[key]}, {kind}", f"{{{key}_{kind}:.3f}}") for key in against for kind in ("near", "far")]
    rows: Rows = []
    for name, model in stored["ood_detection"]["models"].items():
        row: dict[str, Any] = {"name": name, **model["unlike"]}
        for key, kind in itertools.product(against, ("near", "far")):
            areas = model[key]["as shipped"]["report"].items()
            found = [area for name, area in areas if name.startswith(kind)]
            row[f"{key}_{kind}"] = statistics.mean(found) if found else None
        rows.append(row)
    flagged = stored["ood_detection"]["models"][rows[0]["name"]]["unlike"]
    return rows, columns + [(f"flagged: {NAMES.get(name, name)}", f"{{{name}:.1%}}") for name in flagged]


def ood_uploads(stored: Mapping) -> Rows:
    """Corrupted test images that the default model's detector flags."""
    result = stored["ood_detection"]
    found = result["models"][result["default"]]["uploads"]
    return [{"condition": NAMES.get(name, name), **row} for name, row in found.items()]


def upload_cost(stored: Mapping) -> Rows:
    """Time of a prediction, as shipped and plain."""
    return [row | {"difference": row["shipped_ms"] / row["plain_ms"] - 1} for row in stored["upload_cost"]["runs"]]


def parity(stored: Mapping) -> Rows:
    """Every port against its original; the namings of its tensors share a row."""
    ports: dict[tuple[str, str], list[dict]] = {}
    for row in stored["parity"]["runs"]:
        ports.setdefault((row["model"], row["original"]), []).append(row)
    return [
        {
            **rows[0],
            "namings": ", ".join(row["naming"] for row in rows),
            "largest": max(row["max_abs_difference"] for row in rows),
            "round_trip": rows[0]["round_trip"] if all(row["round_trip"] for row in rows) else None,
        }
        for rows in ports.values()
    ]


def serving(stored: Mapping) -> Rows:
    """The API against Flask with `model.predict`."""
    return [row | {"server": SERVERS[row["app"]]} for row in stored["serving"]["runs"]]


def latency(stored: Mapping) -> Rows:
    """Every network in both engines, the fastest first."""
    return sorted(stored["latency"]["runs"], key=lambda row: (row["engine"], row["median_ms"]))


ROWS = {each.__name__: each for each in (evaluation, per_class, confusion_pairs, uploads, uploads_calibration)}
ROWS |= {each.__name__: each for each in (photograph_mistakes, ood_detection, ood_uploads, upload_cost)}
ROWS |= {each.__name__: each for each in (parity, serving, latency)}
