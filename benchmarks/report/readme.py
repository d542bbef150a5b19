"""The README's tables, made from `results/*.json`."""

import json
from pathlib import Path

from benchmarks.report import comparison_tables, tables
from benchmarks.report import ood_tables as ood_tables
from benchmarks.report import upload_tables as upload_tables
from runtime.files import atomic_write

BEGIN, END = "<!-- results: written by `python benchmark.py --readme` -->", "<!-- end of results -->"
TABLES = {
    "comparison": comparison_tables.comparison,
    **tables.TABLES,
    "domain_gap": upload_tables.domain_gap,
    "ood_detector": ood_tables.shipped_novelty,
    "upload_cost": ood_tables.upload_cost,
}


def write_readme(readme: Path, results: Path) -> None:
    """Replace what stands between the results marks of the README by the tables of the results that there are."""
    with atomic_write(readme) as temporary:
        temporary.write_text(rendered(readme.read_text(encoding="utf-8"), results), encoding="utf-8")


def rendered(text: str, results: Path) -> str:
    """Return the README's text with its results part made anew.

    Raises:
        ValueError: if a mark is missing.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"The README must hold the marks {BEGIN!r} and {END!r} once each.")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    stored = read_results(results)
    parts = [tables.from_file(name, table, stored) for name, table in TABLES.items() if name in stored]
    return f"{head}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{tail}"


def read_results(results: Path) -> dict[str, dict]:
    """Return the content of each result file by its name, without `.json`."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
