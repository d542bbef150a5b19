"""The report: every number from the results, every picture inside, and everything follows when a result changes."""

import json
import re
from pathlib import Path

import made_up_results
import numpy as np
import pytest
from browser import DESKTOP, PHONE, overflows
from PIL import Image

from benchmarks.report.comparison_tables import comparison, costs, finding, latency, pairs, surprise
from benchmarks.report.readme import BEGIN, END, read_results, rendered
from benchmarks.report.report import as_page, report_text, write_report
from deploy import demo_results

A4 = {"width": 688, "height": 1017}  # inside its margins, in CSS pixels


@pytest.fixture
def results(tmp_path):
    """A folder of made-up results of the comparison, the store and latency."""
    for name in (
        "comparison",
        "evaluation",
        "latency",
        "domain_gap",
        "ood_detector",
        "fits",
        "robust_views",
        "blend",
        "upload_cost",
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(getattr(made_up_results, name)()))
    pictures = ("mistakes.png", "figures/photographs-after.png")
    (tmp_path / "figures").mkdir()
    for picture in pictures:
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / picture)
    return tmp_path


def test_the_page_holds_its_pictures_and_asks_for_nothing_else(results):
    write_report(results)
    text, page = (results / "REPORT.md").read_text(), (results / "report.html").read_text()
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 10
    assert all((results / picture).stat().st_size for picture in pictures)
    assert page.count('src="data:image/png;base64,') == len(pictures)
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("<table>") == page.count('<div class="table"><table>') == text.count("\n|---")
    assert 'name="viewport"' in page and "@media print" in page
    assert "{{" not in text and "{%" not in text


def test_the_page_is_whole_on_a_desktop_a_phone_and_paper(results, page):
    write_report(results)
    page.goto((results / "report.html").as_uri())
    assert all(page.evaluate("[...document.images].map(image => image.naturalWidth)"))
    for size, medium in ((DESKTOP, "screen"), (PHONE, "screen"), (A4, "print")):
        page.set_viewport_size(size)
        page.emulate_media(media=medium)
        assert not overflows(page), medium
        assert page.locator("h2").last.inner_text() == "10. Limits"
    assert page.problems == []


def test_the_report_in_the_repository_is_current():
    results = Path(__file__).parents[2] / "results"
    text = report_text(read_results(results))
    again = "run `python benchmark.py --report`"
    assert (results / "REPORT.md").read_text(encoding="utf-8") == text, again
    assert (results / "report.html").read_text(encoding="utf-8") == as_page(text, results), again


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
    commands = (
        "--budget controlled",
        "--accuracy",
        "--evaluation",
        "--domain-gap before",
        "--ood_detector",
        "--serving",
    )
    for command in (*commands, "--latency", "--training-cost"):
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
    costly = costs(result, stored)
    assert "| `mobilenet_v2` | 32 | 1.2 MB | 300 M | 1.5, 2.5 ms; 700 | 11.5, 2.5 ms; 700 | 333 s | 2 |" in costly
    assert "(not measured yet: `python benchmark.py --latency`)" in costs(result, {})
    assert "(not measured yet" not in costly
    assert "One run alone, for its length, of `speedrun_cnn`. The" in table
    result["models"][0]["epochs_to_converge"] = 3
    assert "| 333 s | not before the last, 3 |" in costs(result, stored)
    assert "| `vgg16` | 32 | 1.2 MB | 300 M | – | – |" in costs(result, stored)
    compared = pairs(result, stored)
    assert "| `speedrun_cnn` | `mobilenet_v2` | 500 | 300 | 0.2 | not told apart |" in compared
    assert "| `mobilenet_v2` | `vgg16` | 500 | 300 | 1e-08 | better |" in compared
    assert "all 3 pairs, of which 2 differ" in compared
    result["pairs"][2] |= {"only_first": 300, "only_second": 500}  # ahead over all seeds, behind in the first
    assert "| `mobilenet_v2` | `vgg16` | 300 | 500 | 1e-08 | worse |" in pairs(result, stored)


def test_the_finding_says_which_way_it_went():
    result = made_up_results.comparison()
    start, end = (
        "`mobilenet_v2`, reaches 88.00% (3 runs) on CIFAR-10, ",
        " the 90.00% (1 run) of the best network from scratch",
    )
    untold = f"{start}which McNemar's test does not tell apart from{end}"
    assert untold in finding(result)
    assert "it trains 0.5% as many parameters and takes 3.00 times as long, frozen layers included." in finding(result)
    assert "past 1 of 2 frozen backbones: `vgg16`." in surprise(result)
    result["pairs"][0]["p_holm"] = 1e-9
    assert f"{start}2.0 points below{end}" in finding(result)
    assert "past 2 of 2 frozen backbones: `mobilenet_v2`, `vgg16`" in surprise(result)
    for pair in result["pairs"][:2]:
        pair |= {"only_first": 300, "only_second": 500}  # ahead in the first seed, behind in the mean
    assert untold in finding(result)
    result["models"][0]["accuracy_mean"] = 0.80
    assert f"{start}8.0 points above{end.replace('90', '80')}" in finding(result)
    assert surprise(result) == "No network from scratch overtakes any of the frozen backbones."


def test_times_are_compared_on_one_machine_alone():
    result = made_up_results.comparison()
    assert "as many parameters and takes" in finding(result)
    assert "times are those of one run, on an abacus. Live" in comparison(result, {})
    runs = result["models"][1]["runs"]
    runs[1]["hardware"] = "a slide rule"
    assert "as many parameters and takes" in finding(result), "its times are of the run that filled the cache"
    runs[0]["seconds"], runs[1]["seconds"] = runs[1]["seconds"], runs[0]["seconds"]
    assert finding(result).endswith("it trains 0.5% as many parameters.")
    assert "times are those of one run. Live" in comparison(result, {})
    assert "2.0 + 1.0 min <sub>a slide rule</sub> |" in comparison(result, {})
    assert "| 333 s <sub>an abacus</sub> | 2 |" in costs(result, {})


def test_models_that_are_as_quick_are_named():
    result = made_up_results.latency()
    assert "tell apart" not in latency({**result, "same_ranking": None}, {})
    result["ties"] = [("keras", "alexnet", "vgg16")]
    assert "do not tell apart, by a sign test at 1 %: `alexnet` and `vgg16` under keras." in latency(result, {})


@pytest.mark.parametrize(("same", "words"), [(None, ""), (True, "the same way"), (False, "some of them otherwise")])
def test_a_second_measurement_of_latency_says_whether_the_ranking_held(same, words):
    table = latency({**made_up_results.latency(), "same_ranking": same}, {})
    assert words in table and ("measurement before" in table) == (same is not None)
