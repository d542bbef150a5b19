"""The notebook as it is committed: complete, executed from top to bottom, and small. CI executes it anew."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "cifar10_transfer_learning.ipynb"


@pytest.fixture(scope="module")
def notebook():
    found = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(found)
    return found


def test_it_has_fourteen_sections_in_order(notebook):
    titles = [line for cell in notebook.cells for line in re.findall(r"^## (\d+)\. .+$", cell.source, re.MULTILINE)]
    assert titles == [str(number) for number in range(1, 15)]


def test_every_cell_was_executed_in_order_and_none_failed(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert "error" not in kinds and {"stream", "display_data"} <= kinds


ABSOLUTE_PATH = re.compile(r"(?:^|[\s'\"(<])/\w[\w.-]*/\w", re.MULTILINE)


def test_it_is_small_and_names_no_path_of_a_machine(notebook):
    assert NOTEBOOK.stat().st_size < 1_000_000
    words = [output.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not ABSOLUTE_PATH.search("".join(words))
    assert ABSOLUTE_PATH.search(f"from {Path(__file__).resolve()}"), "the pattern would find one"
