"""Tables that a click on a column sorts. Those of the benchmark tab come from `results/tables.json`."""

import html
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

TABLES_FILE = "tables.json"


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    header: str
    format: str = "{}"  # of a cell; "{}" for text, anything else for numbers

    @property
    def kind(self) -> str:
        """The CSS class of its cells, which decides how they are aligned and sorted."""
        return "words" if self.format == "{}" else "number"


@dataclass(frozen=True)
class Table:
    """A table that is sorted by its values, not by their formatted text."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]  # values of the cells; None for an empty one
    note: str = ""  # Markdown below the table

    def as_html(self) -> str:
        """Return the table as HTML, whose columns `demo.js` sorts on a click."""
        heads = "".join(
            f'<th class="{column.kind}" scope="col"><button type="button">{html.escape(column.header)}</button></th>'
            for column in self.columns
        )
        rows = "".join(f"<tr>{''.join(map(_cell, row, self.columns))}</tr>" for row in self.rows)
        return f'<div class="thaw-table"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(cell: Any, column: Column) -> str:
    shown = "–" if cell is None else html.escape(column.format.format(cell))
    value = "" if cell is None else html.escape(str(cell))
    return f'<td class="{column.kind}" data-value="{value}">{shown}</td>'


def tables(results: Path) -> list[Table]:
    """Return the tables in a folder of results; if they cannot be read, none, and a warning in the log."""
    file = results / TABLES_FILE
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return [Table(**{**each, "columns": [Column(**column) for column in each["columns"]]}) for each in stored]
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("Could not read the tables of %s: %s: %s", file, type(error).__name__, error)
        return []


def pictures(results: Path) -> list[tuple[Path, str]]:
    """Return the plots in a folder of results, each with its title."""
    return [(path, path.stem.replace("_", " ").capitalize()) for path in sorted(results.glob("*.png"))]
