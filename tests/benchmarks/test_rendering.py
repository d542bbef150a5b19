"""Tables, report and READMEs follow the results, and those in the repository are current."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
from browser import DESKTOP, PHONE, overflows
from PIL import Image

from benchmarks.report import figures, render
from benchmarks.report.readme import existing, filled
from benchmarks.report.report import contents, draw
from benchmarks.report.tables import Column, Table, origins
from benchmarks.report.training_tables import best_backbones
from benchmarks.results import read_all
from deploy import demo_results

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"


@pytest.fixture
def stored():
    return read_all(RESULTS)


def test_readme_and_report_are_current(stored):
    for name, content in contents(stored, RESULTS).items():
        assert (RESULTS / name).read_text(encoding="utf-8") == content, "run `python benchmark.py report`"
    for readme in existing(ROOT):
        text = readme.read_text(encoding="utf-8")
        assert filled(text, render.blocks(stored)) == text, "run `python benchmark.py readme`"


def test_a_changed_result_changes_readme_report_page_and_demo(stored):
    def shown():
        rendered = contents(stored, RESULTS)
        return [*rendered.values(), filled("<!-- results: accuracy -->\n<!-- end -->", render.blocks(stored))]

    row = next(row for row in stored["accuracy"]["runs"] if row["model"] == "vgg16")
    row["accuracy"] = 0.91234
    report, page, tables, readme = shown()
    assert all("91.23%" in text for text in (report, page, readme))
    assert any(0.91234 in cells for table in json.loads(tables) for cells in table["rows"])


def test_a_block_of_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="Received: accurcy"):
        filled("<!-- results: accurcy -->\n<!-- end -->", {"accuracy": ""})


def test_what_is_not_measured_names_its_command():
    text = render.report({})
    for name in set(render.SENTENCES.values()) | {each["source"] for each in render.TABLES.values()}:
        assert f"`python benchmark.py {name}" in text
    assert "{{" not in text and "None" not in text


def test_the_page_needs_no_other_file_and_fits_a_desktop_and_a_phone(page):
    text = (RESULTS / "report.html").read_text(encoding="utf-8")
    assert 'src="data:image/png;base64,' in text and not re.search(r'src="(?!data:)', text)
    page.goto((RESULTS / "report.html").as_uri())
    assert all(page.evaluate("[...document.images].map(image => image.naturalWidth)"))
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        assert not overflows(page)
    assert page.problems == []


def test_a_table_is_rendered_as_markdown_and_as_data():
    columns = (Column("name", "`{name}`"), Column("F1", "{macro.f1:.1%} of 1"), Column("n", "**{n:d}**"))
    table = Table("Some", columns, [{"name": "a|b", "macro": {"f1": 0.5}, "n": None}], "A note.")
    assert table.markdown() == "| name | F1 | n |\n|---|---|---|\n| `a\\|b` | 50.0% of 1 | – |\n\nA note."
    data = table.data()
    columns = [demo_results.Column(**column) for column in data["columns"]]
    shown = demo_results.Table(**{**data, "columns": columns}).as_html()
    assert "50.0% of 1" in shown and 'data-value="0.5"' in shown


def test_rows_with_their_own_origin_are_named_by_it():
    whole = {"hardware": "C", "date": "2026-01-09"}
    found = (("A", "2026-01-02"), ("B", "2026-01-01"), ("A", "2026-01-01"))
    rows = [{"hardware": machine, "date": day} for machine, day in found]
    assert origins(whole) == "C, 2026-01-09"
    assert origins({**whole, "runs": rows}) == "A, 2026-01-01 to 2026-01-02; B, 2026-01-01"


@pytest.mark.parametrize(
    ("p", "ahead", "mean", "verdict"),
    [
        (0.2, 500, 0.95, "not significantly different"),
        (1e-9, 500, 0.95, "better"),
        (1e-9, 100, 0.5, "worse"),
        (1e-9, 100, 0.95, "not significantly different"),  # the first seed disagrees with the mean
    ],
)
def test_the_finding_needs_a_significant_difference(stored, p, ahead, mean, verdict):
    result = copy.deepcopy(stored["comparison"])
    found = best_backbones(result)
    found["frozen"]["accuracy_mean"] = mean
    for pair in result["pairs"]:
        if {pair["first"], pair["second"]} == {found["frozen"]["model"], found["scratch"]["model"]}:
            first = pair["first"] == found["frozen"]["model"]
            counts = (ahead, 300) if first else (300, ahead)
            pair |= {"p_holm": p, "only_first": counts[0], "only_second": counts[1]}
    assert best_backbones(result)["verdict"] == verdict


def test_a_comparison_that_has_just_begun_is_shown(stored):
    result = stored["comparison"]
    result |= {"models": [row for row in result["models"] if row["model"] == "vgg16"], "pairs": []}
    text = render.report({"comparison": result})
    assert "`vgg16`" in text and "best frozen" not in text


def test_every_figure_is_drawn_from_the_results(stored, tmp_path):
    draw(stored, tmp_path)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {path.name for path in (RESULTS / "figures").glob("*.png")} - {"photographs-after.png"}
    assert all(np.asarray(Image.open(tmp_path / name)).std() > 10 for name in drawn), "no figure is blank"


def test_the_frontier_is_what_nothing_dominates():
    points = [(3, 0.9), (1, 0.7), (2, 0.6), (4, 0.9), (1, 0.6), (5, 0.95)]
    assert figures.frontier(points) == [(1, 0.7), (3, 0.9), (5, 0.95)]
