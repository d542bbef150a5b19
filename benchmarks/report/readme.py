"""The measured parts of READMEs: blocks `<!-- results: NAME -->` … `<!-- end -->` are rendered from results."""

import re
from pathlib import Path

from benchmarks.report.render import blocks
from benchmarks.results import read_all
from runtime.files import atomic_write

FILES = ("README.md", "deploy/README.md", "models/pretrained/README.md", "benchmarks/README.md")
BLOCK = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def write_readmes(results: Path, root: Path = Path()) -> None:
    """Fill the blocks of all READMEs that exist."""
    for readme in existing(root):
        text = filled(readme.read_text(encoding="utf-8"), blocks(read_all(results)))
        with atomic_write(readme) as partial:
            partial.write_text(text, encoding="utf-8")


def existing(root: Path) -> list[Path]:
    """Return the READMEs that may have blocks."""
    return [root / name for name in FILES if (root / name).is_file()]


def filled(text: str, known: dict[str, str]) -> str:
    """Return a text with its blocks filled; ValueError for a block that is not in `known`."""
    for _, name, _ in BLOCK.findall(text):
        if name not in known:
            raise ValueError(f"A results block must be one of {', '.join(sorted(known))}. Received: {name}")
    return BLOCK.sub(lambda found: f"{found[1]}\n{known[found[2]]}\n\n{found[3]}", text)
