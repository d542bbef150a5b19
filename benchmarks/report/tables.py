"""Tables of results, declared in `tables.toml`, as Markdown and as data for the demo."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CELL = re.compile(r"(`|\*\*|)\{(?P<key>[^{}:]+)(?P<spec>:[^}]*)?\}(?P<unit>[^`*]*)\1")


@dataclass(frozen=True)
class Column:
    """A column: its header, and the key and format of its cells, such as "{macro.f1:.4f}" or "**{seconds:.0f} s**"."""

    header: str
    cell: str

    def value(self, row: Mapping) -> Any:
        """Return the value of this column in a row; None is an empty cell."""
        if self._parts["key"] in row:
            return row[self._parts["key"]]
        for key in self._parts["key"].split("."):
            row = row[key]
        return row

    def markdown(self, row: Mapping) -> str:
        """Return the cell of a row as Markdown."""
        value, mark = self.value(row), self._parts[1]
        return "–" if value is None else f"{mark}{self.format.format(value)}{mark}".replace("|", r"\|")

    @property
    def format(self) -> str:
        """The format string of a value, without key and Markdown."""
        return f"{{{self._parts['spec'] or ''}}}{self._parts['unit']}"

    @property
    def _parts(self) -> re.Match:
        return CELL.fullmatch(self.cell)


@dataclass(frozen=True)
class Table:
    """The rows of a result with the columns that show them, and a note in Markdown below."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping]
    note: str = ""

    def markdown(self) -> str:
        """Return the table as Markdown, with its note."""
        lines = [[column.header for column in self.columns]]
        lines += [[column.markdown(row) for column in self.columns] for row in self.rows]
        head, *body = (f"| {' | '.join(cells)} |" for cells in lines)
        return "\n".join([head, f"|{'---|' * len(self.columns)}", *body, "", self.note])

    def data(self) -> dict[str, Any]:
        """Return the table as JSON: headers and format strings, values of the cells, and the note."""
        return {
            "title": self.title,
            "columns": [{"header": each.header.replace("`", ""), "format": each.format} for each in self.columns],
            "rows": [[column.value(row) for column in self.columns] for row in self.rows],
            "note": self.note,
        }


def origins(result: Any) -> str:
    """Return the machines and dates of a result: those of its rows if they have them, else its own."""
    found = [origin for part in _parts(result) for origin in _origins(part)] or list(_origins(result))
    machines = dict.fromkeys(machine for machine, _ in found)
    return "; ".join(f"{name}, {_span(date for machine, date in found if machine == name)}" for name in machines)


def _span(days: Iterable[str]) -> str:
    days = sorted(set(days))
    return " to ".join(dict.fromkeys((days[0], days[-1])))


def _origins(result: Any) -> Iterator[tuple[str, str]]:
    if isinstance(result, Mapping) and {"hardware", "date"} <= result.keys():
        yield result["hardware"], result["date"]
    for part in _parts(result):
        yield from _origins(part)


def _parts(result: Any) -> Iterable[Any]:
    return result.values() if isinstance(result, Mapping) else result if isinstance(result, list) else ()
