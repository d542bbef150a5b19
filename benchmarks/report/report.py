"""The report: `results/REPORT.md` and a page that holds its pictures, both made from `results/*.json` alone."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt

from benchmarks.data.photographs import listed_photographs
from benchmarks.report import comparison_tables, tables
from benchmarks.report import figures as report_figures
from benchmarks.report import ood_tables as ood_tables
from benchmarks.report import upload_tables as upload_tables
from benchmarks.report.readme import read_results
from runtime.files import atomic_write
from training.plots import plot_confusion_matrix

TEMPLATE = Path(__file__).with_name("report_template.md")
STYLE = Path(__file__).with_name("report.css")
_MORE_TABLES = {  # beside those of the README, by the result that each is made from
    "comparison": (comparison_tables.comparison, comparison_tables.pairs, comparison_tables.costs),
    "evaluation": (
        comparison_tables.shipped,
        comparison_tables.per_class,
        comparison_tables.confusion_pairs,
        comparison_tables.doubtful,
    ),
    "latency": (comparison_tables.latency,),
    "domain_gap": (upload_tables.domain_gap, upload_tables.gap_calibration),
    "fits": (upload_tables.fits,),
    "robust_views": (upload_tables.robust_views,),
    "blend": (upload_tables.blend,),
    "upload_cost": (ood_tables.upload_cost,),
    "ood_detector": (ood_tables.ood_detector, ood_tables.shipped_novelty, ood_tables.doubted_uploads),
}


def write_report(results: Path) -> None:
    """Write `REPORT.md`, its figures, and `report.html`, which holds all of them, into the folder of results.

    A part whose result file is missing says which command measures it.
    """
    stored = read_results(results)
    _draw(stored, results / "figures")
    text = report_text(stored)
    for name, content in (("REPORT.md", text), ("report.html", as_page(text, results))):
        with atomic_write(results / name) as partial:
            partial.write_text(content, encoding="utf-8")


def report_text(stored: dict[str, dict]) -> str:
    """Return the report in Markdown, from the results by their names."""
    made = {name: tables.from_file(name, table, stored) for name, table in tables.TABLES.items() if name in stored}
    for source, functions in _MORE_TABLES.items():
        if source in stored:
            made |= {table.__name__: tables.from_file(source, table, stored) for table in functions}
    compared = stored.get("comparison")
    words = {
        "tables": made,
        "finding": comparison_tables.finding(compared) if compared else "",
        "surprise": comparison_tables.surprise(compared) if compared else "",
        "failures": _failures(stored),
        "origin": _origins(stored),
    }
    environment = jinja2.Environment(
        undefined=jinja2.ChainableUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(stored | words)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def as_page(text: str, folder: Path) -> str:
    """Return Markdown as one HTML page that needs no other file.

    Args:
        text: Markdown with tables; pictures are named relative to `folder`.
        folder: where the pictures are.
    """
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    body = re.sub(r"<table>.*?</table>", lambda table: f'<div class="table">{table[0]}</div>', body, flags=re.DOTALL)
    # Where room is short, as in a table, a name breaks at its underscores.
    body = re.sub(r"<code>\w+</code>", lambda name: name[0].replace("_", "_<wbr>"), body)
    body = re.sub(r'src="([^":]+\.png)"', lambda picture: f'src="{_data_uri(folder / picture[1])}"', body)
    title = re.search(r"^# (.+)$", text, re.MULTILINE)[1]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n{body}</main>\n"
        "</body>\n</html>\n"
    )


def _data_uri(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")


def _origins(stored: dict[str, dict]) -> str:
    """Return the machines and the days of all results, and of what is inside of them."""
    found = list(_all_origins(stored))
    machines, days = sorted({machine for machine, _ in found}), sorted({day for _, day in found})
    return f"{'; '.join(machines)}; {days[0]} to {days[-1]}" if days else "Nothing measured yet"


def _all_origins(result: Any) -> Iterator[tuple[str, str]]:
    if isinstance(result, dict) and {"hardware", "date"} <= result.keys():
        yield result["hardware"], result["date"]
    parts = result.values() if isinstance(result, dict) else result if isinstance(result, list) else ()
    for part in parts:
        yield from _all_origins(part)


def _draw(stored: dict[str, dict], folder: Path) -> None:
    if compared := stored.get("comparison"):
        models = compared["models"]
        report_figures.plot_learning_curves(
            {row["model"]: row["runs"][0]["curve"] for row in models}, folder / "learning_curves.png"
        )
        times = {
            row["model"]: row for row in stored.get("latency", {}).get("runs", []) if row["engine"] == "onnxruntime"
        }
        points = [
            {
                "model": row["model"],
                "accuracy": row["accuracy_mean"],
                "parameters": row["parameters"]["total"],
                "latency_ms": times.get(row["model"], {}).get("median_ms"),
            }
            for row in models
        ]
        report_figures.plot_frontier(points, folder / "frontier.png")
    if evaluated := stored.get("evaluation"):
        models, found = evaluated["models"], evaluated["pairs"]
        report_figures.plot_reliability(models, folder / "reliability.png")
        report_figures.plot_coverage(
            {name: model["coverage"] for name, model in models.items()}, folder / "coverage.png"
        )
        for which in ("from", "to"):
            plot_confusion_matrix(
                models[found[which]]["confusion_matrix"],
                evaluated["class_names"],
                folder / f"confusion_{which}.png",
                title=f"{found[which]}: images, and percent of the true class",
                shares=True,
            )
        report_figures.plot_confusion_pairs(found["rows"], found["from"], found["to"], folder / "confusion_pairs.png")
    if gap := stored.get("domain_gap"):
        report_figures.plot_domain_gap(*upload_tables.by_kind(gap), folder / "domain_gap.png")


def _failures(stored: dict[str, dict]) -> dict:
    """Return which photographs a model is wrong about, whose work they are, and which file shows them."""
    if "domain_gap" not in stored:
        return {}
    model, wrong, picture = upload_tables.failures(stored["domain_gap"])
    known = {each.file: each for each in listed_photographs()}
    shown = [(known[row["file"]], row) for row in wrong]
    rows = [
        f"| {f'[{each.file}]({each.address})' if each.address else each.file} | {row['answer']}, {row['confidence']:.0%} | "
        f"{each.author} ({each.licence}) |"
        for each, row in shown
    ]
    return {"model": model, "rows": "\n".join(rows), "picture": picture} if rows else {}
