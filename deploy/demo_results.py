"""The tables of the demo's benchmark tab, made from `results/*.json`. A file that is missing is left out."""

import html
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        header: its name.
        shown: how a cell is written: a format string; "{}" for words.
    """

    header: str
    shown: str = "{}"


@dataclass(frozen=True)
class Table:
    """A table to sort by any column: by the numbers themselves, however they are written.

    Attributes:
        title: what it is.
        columns: how each column is called and written.
        rows: the cells, numbers as numbers; None for none.
        note: where the numbers come from.
    """

    title: str
    columns: tuple[Column, ...]
    rows: list[list]
    note: str = ""

    def as_html(self) -> str:
        """Return the table as HTML, whose columns `demo.js` sorts on a click."""
        kinds = ["words" if column.shown == "{}" else "number" for column in self.columns]
        heads = "".join(
            f'<th class="{kind}" scope="col"><button type="button">{html.escape(column.header)}</button></th>'
            for column, kind in zip(self.columns, kinds, strict=True)
        )
        rows = "".join(f"<tr>{''.join(map(_cell, row, self.columns, kinds))}</tr>" for row in self.rows)
        return f'<div class="thaw-table"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(cell: Any, column: Column, kind: str) -> str:
    shown = "–" if cell is None else html.escape(column.shown.format(cell))
    value = "" if cell is None else html.escape(str(cell))
    return f'<td class="{kind}" data-value="{value}">{shown}</td>'


def tables(results: Path) -> list[Table]:
    """Return the tables that can be made of a folder of results; a file that is damaged is logged and left out."""
    made = []
    for name, make in TABLES.items():
        file = results / f"{name}.json"
        if not file.is_file():
            continue
        try:
            made.append(make(json.loads(file.read_text(encoding="utf-8"))))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be shown: %s %s", file, type(error).__name__, error)
    return made


def pictures(results: Path) -> list[tuple[Path, str]]:
    """Return the plots in a folder of results, each with its title."""
    return [(path, path.stem.replace("_", " ").capitalize()) for path in sorted(results.glob("*.png"))]


def _networks(result: dict) -> Table:
    columns = (
        Column("Network"),
        Column("Input", "{:d} px"),
        Column("Parameters", "{:,}"),
        Column("Trained", "{:,}"),
        Column("Phase"),
        Column("Test accuracy", "{:.2%}"),
        Column("Macro F1", "{:.4f}"),
    )
    rows = [
        [
            run["model"],
            run["image_size"],
            run["parameters"]["total"],
            run["parameters"]["trainable"],
            run["phase"],
            run["accuracy"],
            run["macro_f1"],
        ]
        for run in result["runs"]
    ]
    note = f"All of CIFAR-10, recipe {result['recipe']}, one seed. {_origin(result)}"
    return Table("Networks by the reference recipe", columns, rows, note)


def _comparison(result: dict) -> Table:
    columns = (
        Column("Network"),
        Column("Strategy"),
        Column("Status"),
        Column("Test accuracy", "{:.2%}"),
        Column("Deviation, points", "±{:.2f}"),
        Column("Runs", "{:d}"),
        Column("Macro F1", "{:.4f}"),
        Column("Trained", "{:,}"),
        Column("Parameters", "{:,}"),
        Column("FLOPs", "{:,.0f} M"),
        Column("Training", "{:.1f} min"),
    )
    rows = [
        [
            row["model"],
            row["strategy"],
            row["status"],
            row["accuracy_mean"],
            None if row["accuracy_deviation"] is None else 100 * row["accuracy_deviation"],
            len(row["runs"]),
            row["macro_f1"],
            row["parameters"]["trainable"],
            row["parameters"]["total"],
            row["flops"] / 1e6,
            (row["frozen_seconds"] + row["training_seconds"]) / 60,
        ]
        for row in result["models"]
    ]
    machines = "; ".join(
        dict.fromkeys(f"{run['hardware']}, {run['date']}" for row in result["models"] for run in row["runs"])
    )
    budget = result["budget"]
    words = f"{budget['epochs']} epochs of {budget['optimizer'].capitalize()}, batch {budget['batch_size']}, for all."
    return Table("One budget for all", columns, rows, f"{words} {machines}.")


def _accuracy(result: dict) -> Table:
    columns = (
        Column("Network"),
        Column("Recipe"),
        Column("Input", "{:d} px"),
        Column("Parameters", "{:,}"),
        Column("Test accuracy", "{:.2%}"),
        Column("Averaged over views", "{:.2%}"),
        Column("Everything", "{:.0f} min"),
        Column("Measured on"),
    )
    rows = [
        [
            run["model"],
            run["recipe"],
            run["image_size"],
            run["parameters"]["total"],
            run["accuracy"],
            run["accuracy_tta"],
            run["seconds"]["total"] / 60,
            f"{run['hardware']}, {run['date']}",
        ]
        for run in result["runs"]
    ]
    return Table("As far as a recipe takes it", columns, rows, "One run a row.")


def _reference(result: dict) -> Table:
    columns = (
        Column("Command"),
        Column("Test accuracy", "{:.2%}"),
        Column("Deviation, points", "±{:.2f}"),
        Column("Runs", "{:d}"),
    )
    rows = []
    for phase in ("head", "finetune"):
        if spread := result.get(phase):
            deviation = spread["accuracy_deviation"]
            points = None if deviation is None else 100 * deviation
            rows.append([f"train.py --phase {phase}", spread["accuracy_mean"], points, spread["n"]])
    note = f"{result['model']}, mean and deviation over seeds. {_origin(result)}"
    return Table("The reference recipe", columns, rows, note)


def _training_cost(result: dict) -> Table:
    columns = (
        Column("What"),
        Column("Plain Keras", "{:.1f} s"),
        Column("Thaw", "{:.1f} s"),
        Column("Ratio", "{:.1f}×"),
    )
    rows = []
    for phase, epochs in result["epochs"]["measured"].items():
        plain, cached = (result[way]["seconds"][phase] / epochs for way in ("plain", "cached"))
        rows.append([f"one epoch of phase {phase}", plain, cached, plain / cached])
    rows.append(["frozen layers, once", None, result["cached"]["seconds"]["cache"], None])
    note = f"{result['model']} on {result['images']:,} images, both ways in one run. {_origin(result)}"
    return Table("What training costs", columns, rows, note)


def _parity(result: dict) -> Table:
    columns = (
        Column("Port"),
        Column("Original"),
        Column("Parameters, theirs", "{:,}"),
        Column("Ours", "{:,}"),
        Column("Largest difference", "{:.1e}"),
        Column("Round trip"),
    )
    rows = [
        [
            run["model"],
            f"{run['original']} ({run['naming']})",
            run["parameters_theirs"],
            run["parameters_ours"],
            run["max_abs_difference"],
            run["round_trip"] or None,
        ]
        for run in result["runs"]
    ]
    note = f"The same random weights on both sides, in double precision. {_origin(result)}"
    return Table("Ports against their originals", columns, rows, note)


def _serving(result: dict) -> Table:
    columns = (
        Column("Server"),
        Column("Image"),
        Column("Requests/s", "{:.0f}"),
        Column("Median", "{:.0f} ms"),
        Column("99th percentile", "{:.0f} ms"),
        Column("Memory", "{:.0f} MB"),
        Column("First answer", "{:.1f} s"),
    )
    names = {"thaw": "Thaw", "plain": "Flask, model.predict"}
    rows = [
        [
            names.get(run["app"], run["app"]),
            run["image"],
            run["requests_per_second"],
            run["p50_ms"],
            run["p99_ms"],
            run["resident_mb"],
            run["first_answer_s"],
        ]
        for run in result["runs"]
    ]
    note = f"{result['model']}, {result['workers']} workers, {result['connections']} connections. {_origin(result)}"
    return Table("Serving", columns, rows, note)


TABLES: dict[str, Callable[[dict], Table]] = {
    "comparison": _comparison,
    "accuracy": _accuracy,
    "networks": _networks,
    "reference": _reference,
    "training_cost": _training_cost,
    "serving": _serving,
    "parity": _parity,
}


def _origin(result: dict) -> str:
    return f"{result['hardware']}, {result['date']}."
