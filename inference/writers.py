"""Output formats of `predict.py`: each writes one file's result at a time to standard output."""

import csv
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.batch import FileResult


class TableWriter:
    """One line per file: its name, the top classes with their probabilities, the warning. Errors go to standard error."""

    def __init__(self, files: Sequence[str], top_k: int):
        self.width = min(60, max((len(file) for file in files), default=0))

    def write(self, result: "FileResult") -> None:
        if result.prediction is None:
            print(f"{result.file:{self.width}}  error: {result.error}", file=sys.stderr)
        else:
            cells = (f"{label} {probability:6.1%}" for label, probability in result.prediction.top)
            warning = f"   ! {result.prediction.warning}" if result.prediction.warning else ""
            print(f"{result.file:{self.width}}  {'   '.join(cells)}{warning}")


class JsonLinesWriter:
    """One JSON object per file: `file`, then `error` or the API's response (`predictions`, `probabilities` …)."""

    def __init__(self, files: Sequence[str], top_k: int):
        pass

    def write(self, result: "FileResult") -> None:
        content = {"error": result.error} if result.prediction is None else result.prediction.as_dict()
        print(json.dumps({"file": result.file} | content))  # ASCII, for any terminal and any file name


class CsvWriter:
    """One row per file: file, label_1, score_1, … label_k, score_k, in_distribution, warning, error."""

    def __init__(self, files: Sequence[str], top_k: int):
        self.top_k = top_k
        self.writer = csv.writer(sys.stdout, lineterminator="\n")
        pairs = [f"{name}_{rank}" for rank in range(1, top_k + 1) for name in ("label", "score")]
        self.writer.writerow(["file", *pairs, "in_distribution", "warning", "error"])

    def write(self, result: "FileResult") -> None:
        cells = [""] * (2 * self.top_k + 2)
        if result.prediction is not None:
            share = result.prediction.in_distribution
            cells = [value for label, score in result.prediction.top for value in (label, f"{score:.6f}")]
            cells += ["" if share is None else f"{share:.6f}", result.prediction.warning]
        self.writer.writerow([result.file, *cells, result.error or ""])


WRITERS = {"table": TableWriter, "jsonl": JsonLinesWriter, "csv": CsvWriter}
