"""Fill templates with results: the tables with their notes, and every value of `results/*.json`."""

import functools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from benchmarks.report import model_tables, training_tables
from benchmarks.report.tables import Column, Table, origins

TEMPLATES = Path(__file__).parent
TABLES = tomllib.loads((TEMPLATES / "tables.toml").read_text(encoding="utf-8"))
ROWS = training_tables.ROWS | model_tables.ROWS
# Blocks of `notes.md` without a table, and the result file of each.
SENTENCES = {"speedup": "training_cost", "fresh_clone": "fresh_clone", "stopping": "stopping"}
# Tables of the demo.
DEMO = "models comparison accuracy training_cost evaluation ood_detection serving latency parity".split()


def tables(stored: Mapping[str, Mapping]) -> dict[str, Table]:
    """Return the tables of all present results, each with its note from `notes.md` and its origin."""
    made, values = {}, _values(stored)
    for name, declared in TABLES.items():
        if declared["source"] in stored:
            found = ROWS[name](stored)
            rows, further = found if isinstance(found, tuple) else (found, [])
            columns = [Column(*each) for each in (*declared["columns"], *further)]
            note = _note(name, declared["source"], values | {"rows": rows})
            made[name] = Table(declared["title"], columns, rows, note)
    return made


def blocks(stored: Mapping[str, Mapping]) -> dict[str, str]:
    """Return the Markdown of every block `<!-- results: NAME -->`: tables with their notes, and sentences."""
    values = _values(stored)
    sentences = {name: _note(name, source, values) for name, source in SENTENCES.items() if source in stored}
    if values.get("backbones"):
        sentences |= {name: _sentences(name, values) for name in ("finding", "surprise")}
    return sentences | {name: table.markdown() for name, table in tables(stored).items()}


def report(stored: Mapping[str, Mapping]) -> str:
    """Return the report in Markdown. For a missing result it names the command that measures it."""
    values = {**_values(stored), "tables": blocks(stored), "origin": origins(list(stored.values()))}
    text = _environment().get_template("report_template.md").render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _note(name: str, source: str, values: Mapping[str, Any]) -> str:
    """Return a block of `notes.md`, followed by the origin of the result in small print."""
    own = [row for row in values.get("rows", ()) if isinstance(row, Mapping) and "hardware" in row]
    where = f"<sub>{origins(own or values[source])}; `results/{source}.json`</sub>"
    return f"{_sentences(name, values)} {where}".strip()


def _sentences(name: str, values: Mapping[str, Any]) -> str:
    """Return a block of `notes.md` in one line; empty if there is none."""
    template = _environment().get_template("notes.md")
    if name not in template.blocks:
        return ""
    return " ".join("".join(template.blocks[name](template.new_context(dict(values)))).split())


def _values(stored: Mapping[str, Mapping]) -> dict[str, Any]:
    """Return all results by name, and the values that notes derive from them."""
    values = dict(stored)
    if "comparison" in stored:
        values["backbones"] = training_tables.best_backbones(stored["comparison"])
    if "training_cost" in stored:
        values["speedup"], values["epochs"] = training_tables.speedup(stored)
    if "uploads" in stored:
        values["losses"] = model_tables.accuracy_losses(stored["uploads"])
    return values


@functools.cache
def _environment() -> jinja2.Environment:
    loader, undefined = jinja2.FileSystemLoader(TEMPLATES), jinja2.ChainableUndefined
    environment = jinja2.Environment(loader=loader, undefined=undefined, autoescape=False, lstrip_blocks=True)
    environment.filters["code"] = lambda names: ", ".join(f"`{name}`" for name in names)
    return environment
