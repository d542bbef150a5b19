"""The report (`results/REPORT.md`, a self-contained HTML page) and the tables of the demo, from `results/*.json` alone."""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path

from markdown_it import MarkdownIt

from benchmarks.report import figures, model_tables, render
from benchmarks.results import read_all
from runtime.files import atomic_write
from training.plots import plot_confusion_matrix

STYLE = Path(__file__).with_name("report.css")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""


def write_report(results: Path) -> None:
    """Write `REPORT.md`, its figures, `report.html` and `tables.json` into the folder of results."""
    stored = read_all(results)
    draw(stored, results / "figures")
    for name, content in contents(stored, results).items():
        with atomic_write(results / name) as partial:
            partial.write_text(content, encoding="utf-8")


def contents(stored: Mapping[str, Mapping], results: Path) -> dict[str, str]:
    """Return the content of each rendered file by name; the page embeds the figures in `results`."""
    text, tables = render.report(stored), render.tables(stored)
    demo = [tables[name].data() for name in render.DEMO if name in tables]
    lines = json.dumps(demo, ensure_ascii=False, indent=1)
    return {"REPORT.md": text, "report.html": as_page(text, results), "tables.json": f"{lines}\n"}


def as_page(text: str, folder: Path) -> str:
    """Return Markdown as a self-contained HTML page; paths of pictures are relative to `folder`."""
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    body = re.sub(r"<table>.*?</table>", lambda table: f'<div class="table">{table[0]}</div>', body, flags=re.DOTALL)
    body = re.sub(r"<code>\w+</code>", lambda name: name[0].replace("_", "_<wbr>"), body)  # names may break there
    body = re.sub(r'src="([^":]+\.png)"', lambda picture: f'src="{_data_uri(folder / picture[1])}"', body)
    title = re.search(r"^# (.+)$", text, re.MULTILINE)[1]
    return PAGE.format(title=title, style=STYLE.read_text(encoding="utf-8"), body=body)


def _data_uri(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")


def draw(stored: Mapping[str, Mapping], folder: Path) -> None:
    """Draw the figures of all present results."""
    if compared := stored.get("comparison"):
        curves = {row["model"]: row["runs"][0]["curve"] for row in compared["models"]}
        lines = {name: (range(1, len(curve) + 1), curve) for name, curve in curves.items()}
        figures.plot_lines(lines, folder / "learning_curves.png", "epoch", "validation accuracy")
        figures.plot_frontier(_costs(compared, stored.get("latency", {})), folder / "frontier.png")
    if evaluated := stored.get("evaluation"):
        models, found = evaluated["models"], evaluated["pairs"]
        figures.plot_reliability(models, folder / "reliability.png")
        keys = ("coverage", "accuracy")
        lines = {name: [[point[key] for point in each["coverage"]] for key in keys] for name, each in models.items()}
        label = "coverage: share of images, most confident first"
        figures.plot_lines(lines, folder / "coverage.png", label, "accuracy")
        for which in ("from", "to"):
            matrix = models[found[which]]["confusion_matrix"]
            title = f"{found[which]}: images, and percent of the true class"
            path = folder / f"confusion_{which}.png"
            plot_confusion_matrix(matrix, evaluated["class_names"], path, title=title, shares=True)
    if uploads := stored.get("uploads"):
        kinds = [kind for kind in model_tables.UPLOADS if kind not in model_tables.SINGLE]
        accuracies = {
            name: {title: [model_tables.mean_of(row, kind) for kind in kinds] for title, row in stages.items()}
            for name, stages in model_tables.stages_by_model(uploads).items()
        }
        names = [model_tables.NAMES.get(kind, kind) for kind in kinds]
        figures.plot_uploads(names, accuracies, folder / "uploads.png")


def _costs(compared: Mapping, latency: Mapping) -> list[dict]:
    times = {row["model"]: row["median_ms"] for row in latency.get("runs", []) if row["engine"] == "onnxruntime"}
    return [
        {
            "model": row["model"],
            "accuracy": row["accuracy_mean"],
            "parameters": row["parameters"]["total"],
            "latency_ms": times.get(row["model"]),
        }
        for row in compared["models"]
    ]
