"""Tables of results: each is declared once, by its columns, and rendered as Markdown and as data for the demo."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        header: its name.
        value: a dotted key of the row, such as "macro.f1", or a function of the row; None makes an empty cell.
        format: a format string for one value.
        mark: Markdown around the cell: "`" for code, "**" for bold.
    """

    header: str
    value: str | Callable[[Any], Any]
    format: str = "{}"
    mark: str = ""

    def of(self, row: Any) -> Any:
        """Return the value of this column in a row."""
        if callable(self.value):
            return self.value(row)
        for key in self.value.split("."):
            row = row[key]
        return row

    def markdown(self, row: Any) -> str:
        """Return the cell as Markdown."""
        value = self.of(row)
        return "–" if value is None else f"{self.mark}{self.format.format(value)}{self.mark}".replace("|", r"\|")


@dataclass(frozen=True)
class Table:
    """Rows of a result, and how to show them.

    Attributes:
        title: of the table.
        columns: from left to right.
        rows: the records that the columns read.
        note: Markdown below the table.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Any]
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
            "columns": [{"header": column.header.replace("`", ""), "format": column.format} for column in self.columns],
            "rows": [[column.of(row) for column in self.columns] for row in self.rows],
            "note": self.note,
        }


def points(deviation: float | None) -> float | None:
    """Return a standard deviation of accuracies, 0..1, in percentage points."""
    return None if deviation is None else 100 * deviation


def origins(result: Any) -> str:
    """Return the machines and dates of a result: those of its rows if they have their own, else those of the whole."""
    inner = [origin for part in _parts(result) for origin in _origins(part)]
    found = inner or list(_origins(result))
    machines = dict.fromkeys(machine for machine, _ in found)
    return "; ".join(f"{name}, {dates(date for machine, date in found if machine == name)}" for name in machines)


def dates(days: Iterable[str]) -> str:
    """Return a span of ISO dates, such as "2026-11-25 to 2026-11-27"."""
    days = sorted(set(days))
    return " to ".join(dict.fromkeys((days[0], days[-1])))


def _origins(result: Any) -> Iterator[tuple[str, str]]:
    if isinstance(result, Mapping) and {"hardware", "date"} <= result.keys():
        yield result["hardware"], result["date"]
    for part in _parts(result):
        yield from _origins(part)


def _parts(result: Any) -> Iterable[Any]:
    return result.values() if isinstance(result, Mapping) else result if isinstance(result, list) else ()
