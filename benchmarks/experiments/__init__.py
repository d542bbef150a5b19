"""One module for each experiment. Its docstring states question, command, cost and result file.

Every module exports `add_arguments(parser)` and `run(options) -> dict`; `options` also hold the folders `runs` and `results`.
"""

import ast
import re
from pathlib import Path


def experiments() -> dict[str, dict[str, str]]:
    """Return `question`, `command`, `cost` and `result` of each experiment by name, without importing it."""
    files = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    return {path.stem: _described(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))) for path in files}


def _described(docstring: str) -> dict[str, str]:
    lines = re.findall(r"^(Command|Cost|Result): (.+)$", docstring, re.MULTILINE)
    return {"question": docstring.splitlines()[0], **{name.lower(): text for name, text in lines}}
