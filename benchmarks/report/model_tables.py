"""Tables of trained models: evaluation, uploads, OOD detection, ports, serving. Each function takes all results by name."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.data.photographs import listed_photographs
from benchmarks.measures.conditions import CLEAN, CONDITIONS
from benchmarks.measures.diagnosis import calibration_error_by_chance
from benchmarks.report.tables import Column, Table
from benchmarks.report.training_tables import changed_options

PHOTOGRAPHS = "photographs"
SINGLE = ("jpeg_30", "jpeg_10", "bicubic_16", "bicubic_8")  # conditions that are shown beside the means of their kinds
UPLOADS = (CLEAN, *CONDITIONS, *SINGLE, PHOTOGRAPHS)
DETECTOR = "as shipped"
NAMES = {CLEAN: "clean", "of the ten classes": "test images"}  # how the report calls what results call otherwise


def evaluation(stored: Mapping) -> Table:
    """The shipped models, with macro averages and calibration."""
    columns = (
        Column("model", "name", mark="`"),
        Column("recipe", "recipe"),
        Column("test accuracy", "accuracy", "{:.2%}", "**"),
        Column("precision", "macro.precision", "{:.4f}"),
        Column("recall", "macro.recall", "{:.4f}"),
        Column("F1", "macro.f1", "{:.4f}"),
        Column("ECE", "calibration.ece_before", "{:.2%}"),
        Column("ECE, calibrated", "calibration.ece_after", "{:.2%}"),
        Column("ECE by chance", lambda row: calibration_error_by_chance(row["reliability"]["after"]), "{:.2%}"),
        Column("temperature", "calibration.temperature", "{:.2f}"),
        Column("exponent", "calibration.exponent", "{:.2f}"),
    )
    return Table("The shipped models", columns, by_accuracy(stored["evaluation"]))


def by_accuracy(result: Mapping) -> list[dict[str, Any]]:
    """Return the evaluated models with their `name`, the most accurate first."""
    rows = [{"name": name, **row} for name, row in result["models"].items()]
    return sorted(rows, key=lambda row: -row["accuracy"])


def per_class(stored: Mapping) -> Table:
    """Precision, recall and F1 of every class."""

    def three(row: Mapping, label: str) -> str:
        return " / ".join(f"{100 * row['per_class'][label][name]:.0f}" for name in ("precision", "recall", "f1"))

    result = stored["evaluation"]
    columns = [Column("precision / recall / F1, %", str)]
    for row in by_accuracy(result):
        columns.append(Column(f"`{row['name']}`", lambda label, row=row: three(row, label)))
    return Table("Classes", columns, result["class_names"])


def confusion_pairs(stored: Mapping) -> Table:
    """The pairs of classes that the first network confuses most, and what is left of them with the second."""
    found = stored["evaluation"]["pairs"]
    columns = (
        Column("confused classes", lambda row: " and ".join(row["classes"])),
        Column(f"`{found['from']}`", "before", "{:d}"),
        Column(f"`{found['to']}`", "after", "{:d}"),
        Column("change", "change", "{:+.0%}"),
    )
    return Table("The hardest pairs", columns, found["rows"][:10])


def uploads(stored: Mapping) -> Table:
    """Accuracy by kind of upload and model, stage after stage, with the share of the drop recovered."""
    result = stored["uploads"]

    def cell(stages: Sequence[Mapping], kind: str) -> str:
        if kind in PREPARATION:
            return _arrows(stages, PREPARATION[kind])
        shown = _arrows(stages, lambda row: f"{mean_of(row, kind, 'accuracy'):.1%}")
        recovered = None if kind == PHOTOGRAPHS else share_recovered(stages, kind)
        return shown if recovered is None else f"{shown} ({recovered:.0%})"

    return _by_model("Uploads", "accuracy", [*PREPARATION, *UPLOADS], result, cell)


PREPARATION: dict[str, Callable[[Mapping], str]] = {
    "recipe": lambda row: _recipe(row["command"]),
    "resize mode": lambda row: row["fit"],
}


def uploads_calibration(stored: Mapping) -> Table:
    """Mean confidence and expected calibration error by kind of upload and model."""

    def one(row: Mapping, kind: str) -> str:
        shown = f"{mean_of(row, kind, 'confidence'):.1%}"  # too few photographs for a calibration error
        return shown if kind == PHOTOGRAPHS else f"{shown}, {mean_of(row, kind, 'calibration_error'):.1%}"

    def cell(stages: Sequence[Mapping], kind: str) -> str:
        return _arrows(stages, lambda row: one(row, kind))

    return _by_model("Calibration on uploads", "confidence, ECE", UPLOADS, stored["uploads"], cell)


def _by_model(title: str, corner: str, rows: Sequence[str], result: Mapping, cell: Callable) -> Table:
    """Return a table with a row for each kind of upload and a column for each model."""
    columns = [Column(corner, lambda kind: NAMES.get(kind, kind))]
    for name, stages in stages_by_model(result).items():
        columns.append(Column(f"`{name}`", lambda kind, stages=stages: cell(list(stages.values()), kind)))
    return Table(title, columns, rows)


def stages_by_model(result: Mapping) -> dict[str, dict[str, Mapping]]:
    """Return the rows of `uploads.json` by model and stage."""
    names = dict.fromkeys(name for stage in result["stages"].values() for name in stage["models"])
    return {
        name: {title: stage["models"][name] for title, stage in result["stages"].items() if name in stage["models"]}
        for name in names
    }


def mean_of(row: Mapping, kind: str, key: str) -> float:
    """Return the mean over the conditions of a kind of upload; of photographs the value on half "report"."""
    if kind == PHOTOGRAPHS:
        return row["photographs"]["report"][key]
    return statistics.mean(row["conditions"][name][key] for name in CONDITIONS.get(kind, (kind,)))


def share_recovered(stages: Sequence[Mapping], kind: str) -> float | None:
    """Return the share of the first stage's clean-accuracy drop that the last stage has recovered; None without a drop."""
    first, last = stages[0], stages[-1]
    drop = mean_of(first, CLEAN, "accuracy") - mean_of(first, kind, "accuracy")
    if first is last or drop <= 0:
        return None
    return (mean_of(last, kind, "accuracy") - mean_of(first, kind, "accuracy")) / drop


def accuracy_losses(result: Mapping, least: float = 0.02) -> list[tuple[str, str, float, float]]:
    """Return (model, condition, before, after) where the last stage is worse than the first by more than `least`."""
    single = (PHOTOGRAPHS, *(name for names in CONDITIONS.values() for name in names))
    found = []
    for name, stages in stages_by_model(result).items():
        first, *_, last = (*stages.values(), list(stages.values())[-1])
        for kind in single:
            before, after = (mean_of(row, kind, "accuracy") for row in (first, last))
            found += [(name, kind, before, after)] if before - after > least else []
    return found


def _arrows(stages: Sequence[Mapping], cell: Callable[[Mapping], str]) -> str:
    return " → ".join(map(cell, stages))


def _recipe(command: str) -> str:
    words = command.split()
    recipe = words[words.index("--recipe") + 1] if "--recipe" in words else "reference"
    return f"{recipe} {changed_options(command)}".strip()


def ood_detection(stored: Mapping) -> Table:
    """AUROC of every shipped OOD detector, and the share of each data set that it flags."""
    result = stored["ood_detection"]

    def area(row: Mapping, inside: str, kind: str) -> float | None:
        found = row[inside].get(DETECTOR, {}).get("report", {})
        values = [value for name, value in found.items() if name.startswith(kind)]
        return statistics.mean(values) if values else None

    columns = [Column("model", "name", mark="`")]
    for inside, against in (("scores", "AUROC"), ("scores_of_photographs", "AUROC, photographs")):
        for kind in ("near", "far"):
            columns.append(Column(f"{against}, {kind}", lambda row, i=inside, k=kind: area(row, i, k), "{:.3f}"))
    for name in next(iter(result["models"].values()))["unlike"]:
        columns.append(
            Column(f"flagged: {NAMES.get(name, name)}", lambda row, name=name: row["unlike"][name], "{:.1%}")
        )
    return Table("OOD detection", columns, [{"name": name, **row} for name, row in result["models"].items()])


def ood_uploads(stored: Mapping) -> Table:
    """How many degraded test images the default model's OOD detector flags."""
    result = stored["ood_detection"]
    rows = [{"condition": name, **row} for name, row in result["models"][result["default"]]["uploads"].items()]
    columns = (
        Column(f"`{result['default']}`", lambda row: NAMES.get(row["condition"], row["condition"])),
        Column("flagged as OOD", "unlike", "{:.1%}"),
        Column("accuracy, flagged", "accuracy_of_unlike", "{:.1%}"),
        Column("accuracy, not flagged", "accuracy_of_others", "{:.1%}"),
    )
    return Table("OOD detection on uploads", columns, rows)


def upload_cost(stored: Mapping) -> Table:
    """Time of a prediction as shipped against the plain way."""
    columns = (
        Column("model", "model", mark="`"),
        Column("image", "image"),
        Column("plain", "plain_ms", "{:.2f} ms"),
        Column("as shipped", "shipped_ms", "{:.2f} ms"),
        Column("difference", lambda row: row["shipped_ms"] / row["plain_ms"] - 1, "{:+.1%}"),
    )
    return Table("Cost of uploads", columns, stored["upload_cost"]["runs"])


def parity(stored: Mapping) -> Table:
    """Every port against its original."""
    ports: dict[tuple[str, str], list[dict]] = {}
    for row in stored["parity"]["runs"]:
        ports.setdefault((row["model"], row["original"]), []).append(row)
    columns = (
        Column("port", lambda rows: rows[0]["model"], mark="`"),
        Column("original", lambda rows: rows[0]["original"]),
        Column("tensor names of", lambda rows: ", ".join(row["naming"] for row in rows)),
        Column("its parameters", lambda rows: rows[0]["parameters_theirs"], "{:,}"),
        Column("ours", lambda rows: rows[0]["parameters_ours"], "{:,}"),
        Column("largest difference", lambda rows: max(row["max_abs_difference"] for row in rows), "{:.1e}"),
        Column("round trip", lambda rows: rows[0]["round_trip"] if all(row["round_trip"] for row in rows) else None),
    )
    return Table("Ports against their originals", columns, list(ports.values()))


def serving(stored: Mapping) -> Table:
    """The API against Flask with `model.predict`."""
    names = {"thaw": "Thaw", "plain": "Flask, model.predict"}
    columns = (
        Column("server", lambda row: names[row["app"]]),
        Column("image", "image"),
        Column("requests/s", "requests_per_second", "{:.0f}", "**"),
        Column("median", "p50_ms", "{:.0f} ms"),
        Column("99th percentile", "p99_ms", "{:.0f} ms"),
        Column("errors", "errors", "{:d}"),
        Column("memory", "resident_mb", "{:.0f} MB"),
        Column("first response", "first_answer_s", "{:.1f} s"),
    )
    return Table("Serving", columns, stored["serving"]["runs"])


def latency(stored: Mapping) -> Table:
    """Time of a prediction by network and engine."""
    columns = (
        Column("network", "model", mark="`"),
        Column("engine", "engine"),
        Column("input", "input_size", "{:d} px"),
        Column("one image, median", "median_ms", "{:.2f} ms"),
        Column("95th percentile", "p95_ms", "{:.2f} ms"),
        Column("images/s, 32 at a time", "images_per_second", "{:,.0f}"),
    )
    return Table("Latency", columns, sorted(stored["latency"]["runs"], key=lambda r: (r["engine"], r["median_ms"])))


def photograph_mistakes(stored: Mapping) -> Table:
    """The photographs that the default model of the last stage classifies wrongly."""
    stage = list(stored["uploads"]["stages"].values())[-1]
    known = {each.file: each for each in listed_photographs()}
    wrong = stage["models"][stage["default"]]["photographs"]["report"]["wrong"]
    rows = [(known[row["file"]], row) for row in wrong]
    columns = (
        Column("photograph", lambda row: f"[{row[0].file}]({row[0].address})" if row[0].address else row[0].file),
        Column("predicted", lambda row: row[1]["answer"]),
        Column("confidence", lambda row: row[1]["confidence"], "{:.0%}"),
        Column("author (licence)", lambda row: f"{row[0].author} ({row[0].licence})"),
    )
    return Table("Mistakes on photographs", columns, rows)
