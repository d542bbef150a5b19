"""The report: every number from the results, every picture inside, and everything follows when a result changes."""

import json
import re

import made_up_results
import numpy as np
import pytest
from PIL import Image

from deploy import demo_results
from training.comparison_tables import comparison, costs, finding, latency, pairs, surprise
from training.readme import BEGIN, END, rendered
from training.report import report_text, write_report


@pytest.fixture
def results(tmp_path):
    """A folder of made-up results of the comparison, the shelf and latency."""
    for name in ("comparison", "evaluation", "latency", "domain_gap", "novelty"):
        (tmp_path / f"{name}.json").write_text(json.dumps(getattr(made_up_results, name)()))
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "mistakes.png")
    return tmp_path


def test_the_page_holds_its_pictures_and_asks_for_nothing_else(results):
    write_report(results)
    text, page = (results / "REPORT.md").read_text(), (results / "report.html").read_text()
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 12
    assert all((results / picture).stat().st_size for picture in pictures)
    assert page.count('src="data:image/png;base64,') == len(pictures)
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("<table>") == page.count('<div class="table"><table>') == text.count("\n|---")
    assert 'name="viewport"' in page and "@media print" in page
    assert "{{" not in text and "{%" not in text


def test_a_changed_result_changes_readme_report_and_demo(results):
    def shown():
        write_report(results)
        demo = {table.title: table.as_html() for table in demo_results.tables(results)}
        readme = rendered(f"{BEGIN}{END}", results)
        return (
            readme,
            (results / "REPORT.md").read_text(),
            (results / "report.html").read_text(),
            demo["One budget for all"],
        )

    assert all("88.00%" in text and "87.65%" not in text for text in shown())
    result = made_up_results.comparison()
    result["models"][1]["accuracy_mean"] = 0.8765
    (results / "comparison.json").write_text(json.dumps(result))
    assert all("87.65%" in text and "88.00%" not in text for text in shown())


def test_what_is_not_measured_says_how_to():
    text = report_text({})
    for command in ("--budget controlled", "--accuracy", "--evaluation", "--domain-gap before", "--novelty"):
        assert f"Not measured yet: `python benchmark.py {command}`" in text
    assert "Nothing measured yet" in text


def test_a_comparison_that_has_just_begun_is_shown(tmp_path):
    result = made_up_results.comparison()
    result["models"] = [row for row in result["models"] if row["model"] == "vgg16"]
    result["pairs"] = []
    (tmp_path / "comparison.json").write_text(json.dumps(result))
    write_report(tmp_path)
    text = (tmp_path / "REPORT.md").read_text()
    assert "| `vgg16` | frozen ImageNet backbone | study | **83.00%**" in text
    assert "best frozen ImageNet backbone" not in text


def test_each_table_names_its_file_and_the_head_all_machines(results):
    result = made_up_results.comparison()
    result["models"][0]["runs"][0] |= {"hardware": "a slide rule", "date": "2026-01-01"}
    (results / "comparison.json").write_text(json.dumps(result))
    write_report(results)
    text = (results / "REPORT.md").read_text()
    assert "*a slide rule; an abacus; 2026-01-01 to 2026-01-03." in text
    small_print = "<sub>a slide rule, 2026-01-01; an abacus, 2026-01-02</sub> <sub>`results/comparison.json`</sub>"
    assert text.count(small_print) == 3
    assert "(`results/latency.json`, <sub>an abacus, 2026-01-03</sub>)" in text


def test_tables_of_the_comparison():
    result, stored = made_up_results.comparison(), {"latency": made_up_results.latency()}
    table = comparison(result, stored)
    assert "| `mobilenet_v2` | frozen ImageNet backbone | live | **88.00%** ± 0.12 | 3 | 87.0% – 89.0% |" in table
    assert "| `speedrun_cnn` | from scratch | live | **90.00%** | 1 |" in table
    assert "| `mobilenet_v2` | 32 | 1.2 MB | 300 M | 1.5, 2.5 ms; 700 | 11.5, 2.5 ms; 700 | 333 s | 2 |" in costs(
        result, stored
    )
    assert "| `vgg16` | 32 | 1.2 MB | 300 M | – | – |" in costs(result, stored)
    compared = pairs(result, stored)
    assert "| `speedrun_cnn` | `mobilenet_v2` | 500 | 300 | 0.2 | not told apart |" in compared
    assert "| `mobilenet_v2` | `vgg16` | 500 | 300 | 1e-08 | better |" in compared
    assert "all 3 pairs, of which 2 differ" in compared
    result["pairs"][2] |= {"only_first": 300, "only_second": 500}  # ahead over all seeds, behind in the first
    assert "| `mobilenet_v2` | `vgg16` | 300 | 500 | 1e-08 | worse |" in pairs(result, stored)


def test_the_finding_says_which_way_it_went():
    result = made_up_results.comparison()
    start = "`mobilenet_v2`, reaches 88.00% on CIFAR-10, "
    assert f"{start}which is not told apart from the best network from scratch" in finding(result)
    assert "with 0.5% of its trainable parameters and 3.00 times its training time" in finding(result)
    assert "past 1 of 2 frozen backbones: `vgg16`." in surprise(result)
    result["pairs"][0]["p_holm"] = 1e-9
    assert f"{start}2.0 points below the best network from scratch" in finding(result)
    assert "past 2 of 2 frozen backbones: `mobilenet_v2`, `vgg16`" in surprise(result)
    result["models"][0]["accuracy_mean"] = 0.80
    for pair in result["pairs"][:2]:
        pair |= {"only_first": 300, "only_second": 500}
    assert f"{start}8.0 points above the best network from scratch" in finding(result)
    assert surprise(result) == "No network from scratch overtakes any of the frozen backbones."


def test_times_are_compared_on_one_machine_alone():
    result = made_up_results.comparison()
    assert "parameters and 3.00 times its training time" in finding(result)
    assert "the first seed's, on an abacus. Live" in comparison(result, {})
    result["models"][1]["runs"][0]["hardware"] = "a slide rule"
    assert finding(result).endswith("with 0.5% of its trainable parameters.")
    assert "the first seed's, on an abacus or a slide rule. Live" in comparison(result, {})


@pytest.mark.parametrize(("same", "words"), [(None, ""), (True, "the same way"), (False, "some of them otherwise")])
def test_a_second_measurement_of_latency_says_whether_the_ranking_held(same, words):
    table = latency({**made_up_results.latency(), "same_ranking": same}, {})
    assert words in table and ("measurement before" in table) == (same is not None)
