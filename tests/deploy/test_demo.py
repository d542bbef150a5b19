"""The demo in a browser, on a phone, and through its API."""

import contextlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import requests
from browser import PHONE, overflows, watched
from image_files import photograph
from pictures import png
from PIL import Image

pytest.importorskip("gradio", reason="gradio is not installed")

import gradio_client

from deploy import demo, demo_predictions, demo_results
from inference.classifier import Prediction, load_classifier
from inference.model_store import ModelStore
from models.saved.card import ONNX_FILE

RESULTS = Path(demo.__file__).parent.parent / "results"
TABS = ("Classify", "Compare", "Batch", "Benchmark", "About")


@pytest.fixture(scope="module")
def store(saved_models):
    return ModelStore(saved_models)


@pytest.fixture(scope="module")
def address(store):
    page = demo.build(store)
    assert not any(map(store.is_loaded, store.cards))
    with contextlib.redirect_stdout(io.StringIO()):
        yield demo.launch(page, host="127.0.0.1", prevent_thread_lock=True, quiet=True)
    page.close()


@pytest.fixture(scope="module")
def client(address):
    return gradio_client.Client(address, verbose=False, analytics_enabled=False)


@pytest.fixture
def site(page, address):
    """The demo, open in a tab."""
    page.goto(address)
    page.get_by_role("tab", name="Classify").wait_for()
    return page


def grad_cam_caption(site, label: str):
    return site.get_by_text(re.compile(f"Grad-CAM .*{label}"))


def upload(site, *files):
    site.locator("[role=tabpanel]:visible input[type=file]").first.set_input_files(files)


def file(name: str, data: bytes) -> dict:
    return {"name": name, "mimeType": "image/png", "buffer": data}


def saved(folder: Path, name: str, image: Image.Image, **options) -> str:
    image.save(folder / name, **options)
    return str(folder / name)


def test_an_upload_is_classified_and_a_click_on_a_class_shows_its_grad_cam(site, saved_models):
    upload(site, file("noise.png", png()))
    prediction = site.locator("#prediction")
    expected = load_classifier(saved_models / "tiny_a").classify(png(), 3).top
    prediction.get_by_role("heading", name=expected[0][0]).wait_for()
    shown = prediction.inner_text()
    for label, share in expected:
        assert re.search(rf"{label}\s+{share:.0%}", shown), shown
    grad_cam_caption(site, expected[0][0]).wait_for()
    prediction.get_by_text(expected[1][0], exact=True).click()
    grad_cam_caption(site, expected[1][0]).wait_for()
    assert site.problems == []


def test_a_warning_is_shown(site):
    site.get_by_label("Model", exact=True).click()
    site.get_by_role("option", name="tiny_b").click()
    upload(site, file("small.png", png(side=5)))
    site.locator("#warning", has_text="5×5 pixels").wait_for()
    site.get_by_role("tab", name="Compare").click()
    upload(site, file("small.png", png(side=5)))
    cards = site.locator("#comparison .thaw-card")
    cards.nth(1).locator(".thaw-warning", has_text="5×5 pixels").wait_for()


def test_a_warning_has_every_reason():
    sure, unsure = (("cat", 0.9),), (("cat", 0.4),)
    assert demo_predictions.warning(Prediction({}, sure)) == ""
    assert demo_predictions.warning(Prediction({}, sure, None, "OOD.")) == "OOD."
    assert re.search("cat 40%.*OOD", demo_predictions.warning(Prediction({}, unsure, None, "OOD.")))


def test_a_file_that_cannot_be_decoded_takes_the_place_of_an_example(site, tmp_path):
    for name in ("cat", "pizza"):
        site.get_by_role("button", name=f"Example: {name}").click()
        site.locator(f"[data-testid=image] img[src*='{name}.']").wait_for()
    heading = site.locator("#prediction").get_by_role("heading")
    heading.wait_for()
    for data, message in ((png()[:500], "damaged"), (b"text", "JPEG, PNG"), (bytes(11_000_000), "maximum")):
        (tmp_path / "broken.png").write_bytes(data)
        upload(site, str(tmp_path / "broken.png"))
        site.get_by_text(message).wait_for()
        heading.wait_for(state="detached")
    assert "Traceback" not in site.content()


def test_all_models_are_compared(site, saved_models):
    site.get_by_role("tab", name="Compare").click()
    upload(site, file("noise.png", png()))
    cards = site.locator("#comparison .thaw-card")
    cards.nth(1).wait_for()
    tops = [load_classifier(saved_models / name).classify(png(), 3).top[0][0] for name in ("tiny_a", "tiny_b")]
    for card, name, top in zip(cards.all(), ("tiny_a", "tiny_b"), tops, strict=True):
        assert card.get_by_role("heading").inner_text() == name
        assert card.locator(".thaw-prediction strong").inner_text() == top
        assert re.search(r"\d ms", card.inner_text())
        assert card.locator("img").evaluate("image => image.naturalWidth") == 160
    assert cards.locator(".thaw-chip").all_inner_texts() == (["agrees"] * 2 if tops[0] == tops[1] else [])


def test_many_files_become_a_table_and_a_csv_file(site, saved_models, tmp_path):
    site.get_by_role("tab", name="Batch").click()
    pictures = [file(f"{seed}.png", png(seed)) for seed in range(3)]
    upload(site, *pictures, file("broken.png", b"These are words."))
    site.locator("a[href$='broken.png']").wait_for()
    site.get_by_role("button", name="Classify all").click()
    site.locator("#results").get_by_text("JPEG").wait_for()
    assert site.locator("#results tbody td:first-child").all_inner_texts() == ["0.png", "1.png", "2.png", "broken.png"]
    with site.expect_download() as download:
        site.get_by_role("button", name="Download CSV").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("file,label,probability,airplane,")
    assert len(lines) == 5 and lines[4].startswith("broken.png,,,")
    classifier = load_classifier(saved_models / "tiny_a")
    for seed, line in enumerate(lines[1:4]):
        name, label, probability, *shares, near = line.split(",")[:14]
        expected = classifier.classify(png(seed), 3)
        assert (name, label) == (f"{seed}.png", expected.top[0][0])
        assert float(probability) == pytest.approx(expected.top[0][1], abs=1e-6)
        assert [float(share) for share in shares] == pytest.approx(list(expected.probabilities.values()), abs=1e-6)
        assert float(near) == pytest.approx(expected.in_distribution, abs=1e-3)


def test_the_benchmark_sorts_by_numbers(site):
    site.get_by_role("tab", name="Benchmark").click()
    table = site.locator(".thaw-table:visible", has=site.locator("th", has_text="with TTA"))
    runs = json.loads((RESULTS / "accuracy.json").read_text(encoding="utf-8"))["runs"]
    by_size = [f"{count:,}" for count in sorted(run["parameters"]["total"] for run in runs)]
    for order, aria in ((by_size, "ascending"), (by_size[::-1], "descending")):
        table.get_by_role("button", name="parameters").click()
        table.locator(f"th[aria-sort={aria}]").wait_for()
        assert table.locator("tbody td:nth-child(4)").all_inner_texts() == order


def test_it_fits_a_phone_in_dark_mode(chromium, address, store):
    context = chromium.new_context(viewport=PHONE, color_scheme="dark", has_touch=True)
    page = watched(context.new_page())
    external = []
    page.on("request", lambda request: external.append(request.url) if "//127.0.0.1" not in request.url else None)
    page.goto(address)
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)
        assert not overflows(page), tab
        colour = page.evaluate("getComputedStyle(document.querySelector('.gradio-container')).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", colour)[:3])) < 120, f"{tab}: {colour} is not dark"
    text = page.locator("#cards").inner_text()
    for card in store.cards.values():
        assert f"{card.test_accuracy:.2%}" in text
        assert card.command in text
    assert [url for url in external if not url.startswith(("data:", "blob:"))] == []
    context.close()


def transparent() -> Image.Image:
    image = photograph(32, 32)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


QUARTER_TURN = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


@pytest.mark.parametrize("name", ["tiny_a", "tiny_b"])
@pytest.mark.parametrize(
    ("file_name", "image", "options"),
    [
        ("small.png", photograph(32, 32), {}),
        ("transparent.png", transparent(), {}),
        ("turned.jpg", photograph(90, 60), {"exif": QUARTER_TURN}),
        ("grey.webp", photograph(70, 70).convert("L"), {"lossless": True}),
        ("animated.gif", photograph(40, 40), {"save_all": True, "append_images": [Image.new("RGB", (40, 40))]}),
    ],
)
def test_the_file_is_shown_as_the_model_sees_it(client, saved_models, tmp_path, name, file_name, image, options):
    path = saved(tmp_path, file_name, image, **options)
    label, _, pixels, overlay, note = client.predict(gradio_client.handle_file(path), name, api_name="/classify")
    classifier = load_classifier(saved_models / name)
    expected = classifier.classify(path, 3).top
    assert [each["label"] for each in label["confidences"]] == [top for top, _ in expected]
    assert [each["confidence"] for each in label["confidences"]] == pytest.approx([p for _, p in expected], abs=1e-6)
    assert Image.open(overlay).size == (demo_predictions.IMAGE_SIDE, demo_predictions.IMAGE_SIDE)
    pixels = np.asarray(Image.open(pixels))[12::24, 12::24]  # each of the 16×16 is a square of 24
    np.testing.assert_array_equal(pixels, classifier.preprocess(path).pixels.round())
    assert "16×16" in note


def test_only_predictions_are_endpoints(client):
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/classify", "/compare"}


def test_a_file_that_was_not_uploaded_is_not_read(address, tmp_path):
    path = saved(tmp_path, "secret.png", photograph())
    sent = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, "tiny_a"]}
    call = f"{address}gradio_api/call/classify"
    event = requests.post(call, json=sent, timeout=10).json()["event_id"]
    assert requests.get(f"{call}/{event}", timeout=10).text.startswith("event: error")


def test_a_model_without_grad_cam_says_so(saved_models, monkeypatch, tmp_path):
    classifier = load_classifier(saved_models / "tiny_a")
    monkeypatch.setattr(classifier.engine, "explains", False)
    images = demo_predictions.input_images(classifier, saved(tmp_path, "noise.png", photograph()))
    assert images.overlay is None and "Grad-CAM" in images.caption


def test_a_model_that_cannot_be_loaded_does_not_stop_the_others(saved_models, tmp_path):
    shutil.copytree(saved_models / "tiny_a", tmp_path / "models" / "whole")
    shutil.copytree(saved_models / "tiny_b", tmp_path / "models" / "<broken>")
    for damaged in ("model.keras", ONNX_FILE):
        (tmp_path / "models" / "<broken>" / damaged).unlink()
    store = ModelStore(tmp_path / "models")
    results = demo_predictions.compare(store, saved(tmp_path, "noise.png", photograph()))
    page = demo_predictions.comparison_html(results, store.cards)
    assert page.count('class="thaw-card"') == 2
    assert page.count('class="thaw-error"') == 1 and "model.onnx" in page
    assert "<broken>" not in page and "&lt;broken&gt;" in page


def results_of(*tops: tuple[str, float]) -> list[demo_predictions.ModelResult]:
    return [demo_predictions.ModelResult(f"model {n}", Prediction({}, (top,))) for n, top in enumerate(tops)]


def test_models_that_differ_from_the_majority_are_marked(store):
    results = results_of(("cat", 0.9), ("dog", 0.8), ("dog", 0.2))
    cards = dict.fromkeys((each.model for each in results), store.cards["tiny_a"])
    marks = re.findall(r">(agrees|differs)<", demo_predictions.comparison_html(results, cards))
    assert marks == ["differs", "agrees", "agrees"]
    assert "thaw-chip" not in demo_predictions.comparison_html(results[:2], cards)


@pytest.mark.parametrize(
    ("results", "majority"),
    [
        ([], ("", 0)),
        (results_of(("cat", 0.9), ("dog", 0.5), ("dog", 0.2)), ("dog", 2)),
        (results_of(("cat", 0.6), ("dog", 0.9)), ("dog", 1)),  # on a tie the higher probability
    ],
)
def test_the_majority_counts_votes(results, majority):
    assert demo_predictions.majority(results) == majority


def test_tables_that_could_not_be_read_are_left_out(tmp_path, caplog):
    assert demo_results.tables(tmp_path) == []
    (tmp_path / "tables.json").write_text('[{"title": "A table without columns"}]')
    assert demo_results.tables(tmp_path) == []
    assert len(caplog.records) == 2


def test_the_rendered_tables_have_a_cell_for_each_column():
    tables = demo_results.tables(RESULTS)
    assert len(tables) >= 4
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_examples_are_small_and_have_a_source():
    sources = (demo.EXAMPLES / "SOURCES.md").read_text(encoding="utf-8")
    pictures = [path for path in demo.EXAMPLES.iterdir() if path.suffix != ".md"]
    assert len(pictures) >= 12
    for path in pictures:
        assert f"`{path.name}`" in sources
        assert path.stat().st_size <= 40 * 1024
        assert min(Image.open(path).size) > 32  # nothing of CIFAR-10
