"""The demo as its visitors meet it: a browser, a phone, a client of its API."""

import contextlib
import io
import json
import re
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import requests
from browser import DESKTOP, PHONE, overflows, watched
from pictures import png
from PIL import Image

pytest.importorskip("gradio", reason="gradio is not installed")

import gradio_client

from deploy import demo, demo_answers, demo_results
from inference.classifier import Prediction, load_classifier
from inference.model_store import ModelStore
from models.saved.card import ONNX_FILE

ROOT = Path(demo.__file__).parent.parent
RESULTS = ROOT / "results"
TABS = ("Classify", "Compare", "Batch", "Benchmark", "About")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def store(saved_models):
    return ModelStore(saved_models)


@pytest.fixture(scope="module")
def address(store):
    page = demo.build(store)
    assert not any(map(store.is_loaded, store.cards))
    with contextlib.redirect_stdout(io.StringIO()):
        yield demo.launch(page, host="127.0.0.1", port=free_port(), prevent_thread_lock=True, quiet=True)
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


def upload(site, *files):
    site.locator("[role=tabpanel]:visible input[type=file]").first.set_input_files(files)


def file(name: str, data: bytes) -> dict:
    return {"name": name, "mimeType": "image/png", "buffer": data}


def saved(folder: Path, name: str, image: Image.Image, **options) -> str:
    image.save(folder / name, **options)
    return str(folder / name)


def test_an_upload_is_answered_and_shown(site, saved_models, tmp_path):
    upload(site, file("noise.png", png()))
    answer = site.locator("#answer")
    expected = load_classifier(saved_models / "tiny_a").classify(png(), 3).top
    answer.get_by_role("heading", name=expected[0][0]).wait_for()
    shown = answer.inner_text()
    for label, share in expected:
        assert re.search(rf"{label}\s+{share:.0%}", shown), shown
    site.get_by_text("the more it speaks for").wait_for()
    screenshot = Image.open(io.BytesIO(site.screenshot(path=tmp_path / "desktop.png")))
    assert screenshot.size == (DESKTOP["width"], DESKTOP["height"])
    assert len(np.unique(np.asarray(screenshot.convert("RGB")).reshape(-1, 3), axis=0)) > 1000
    assert site.problems == []


def test_an_uncertain_answer_is_marked(site, tmp_path):
    site.get_by_label("Model", exact=True).click()
    site.get_by_role("option", name="tiny_b").click()
    upload(site, file("small.png", png(side=5)))
    site.locator("#doubt", has_text="This picture has 5×5 pixels").wait_for()
    site.get_by_role("tab", name="Compare").click()
    upload(site, file("small.png", png(side=5)))
    cards = site.locator("#compared .thaw-card")
    cards.nth(1).locator(".thaw-doubt", has_text="5×5 pixels").wait_for()


@pytest.mark.parametrize(
    ("share", "warning", "doubt"),
    [
        (0.9, "", ""),
        (0.9, "Unlike.", "Unlike."),
        (0.4, "", "The model is not sure: it gives cat 40%."),
        (0.4, "Unlike.", "The model is not sure: it gives cat 40%. Unlike."),
    ],
)
def test_what_makes_an_answer_uncertain(share, warning, doubt):
    assert demo_answers.doubt(Prediction({}, (("cat", share),), None, warning)) == doubt


def test_a_click_on_a_class_shows_where_the_model_sees_it(site, saved_models):
    upload(site, file("noise.png", png()))
    second = load_classifier(saved_models / "tiny_a").classify(png(), 3).top[1][0]
    site.locator("#answer").get_by_text(second, exact=True).click()
    site.get_by_text(re.compile(f"speaks? for {second}")).wait_for()


def test_an_example_is_a_click_away(site):
    for name in ("cat", "horse"):
        site.get_by_role("button", name=f"Example: {name}").click()
        site.locator(f"[data-testid=image] img[src*='{name}.']").wait_for()
    site.get_by_text("the more it speaks for").wait_for()


def test_a_file_that_cannot_be_answered_is_a_message(site, tmp_path):
    site.get_by_role("button", name="Example: cat").click()
    site.get_by_text("the more it speaks for").wait_for()
    for data, message in (
        (png()[:500], "The PNG file is damaged or incomplete."),
        (b"These are words.", "The image must be a JPEG, PNG, WebP, BMP or GIF file. Received: 16 bytes"),
        (bytes(11_000_000), "exceed the maximum allowed size of 10.0 Mb"),
    ):
        (tmp_path / "broken.png").write_bytes(data)
        upload(site, str(tmp_path / "broken.png"))
        site.get_by_text(message).wait_for()
        site.locator("#answer").get_by_role("heading").wait_for(state="detached")
    assert "Traceback" not in site.content()


def test_models_stand_side_by_side(site, saved_models):
    site.get_by_role("tab", name="Compare").click()
    upload(site, file("noise.png", png()))
    cards = site.locator("#compared .thaw-card")
    cards.nth(1).wait_for()
    tops = [load_classifier(saved_models / name).classify(png(), 3).top[0][0] for name in ("tiny_a", "tiny_b")]
    for card, name, top in zip(cards.all(), ("tiny_a", "tiny_b"), tops, strict=True):
        assert card.get_by_role("heading").inner_text() == name
        assert card.locator(".thaw-answer strong").inner_text() == top
        assert re.search(r"\d ms", card.inner_text())
        assert card.locator("img").evaluate("image => image.naturalWidth") == 160
    assert cards.locator(".thaw-chip").all_inner_texts() == (["agrees"] * 2 if tops[0] == tops[1] else [])


def test_many_files_become_a_table_and_a_csv_file(site, saved_models, tmp_path):
    site.get_by_role("tab", name="Batch").click()
    pictures = [file(f"{seed}.png", png(seed)) for seed in range(3)]
    upload(site, *pictures, file("broken.png", b"These are words."))
    site.locator("a[href$='broken.png']").wait_for()
    site.get_by_role("button", name="Classify all").click()
    site.locator("#answers").get_by_text("must be a JPEG").wait_for()
    assert site.locator("#answers tbody td:first-child").all_inner_texts() == ["0.png", "1.png", "2.png", "broken.png"]
    with site.expect_download() as download:
        site.get_by_role("button", name="Download CSV").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("file,label,probability,airplane,")
    assert len(lines) == 5
    assert lines[4].startswith("broken.png,,,")
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
    strangers = []
    page.on("request", lambda request: strangers.append(request.url) if "//127.0.0.1" not in request.url else None)
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
    assert [url for url in strangers if not url.startswith(("data:", "blob:"))] == []
    context.close()


def picture(side: int, mode: str = "RGB") -> Image.Image:
    return Image.open(io.BytesIO(png(side=side))).convert(mode)


def see_through(side: int) -> Image.Image:
    image = picture(side, "RGBA")
    image.putalpha(Image.linear_gradient("L").resize((side, side)))
    return image


QUARTER_TURN = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


@pytest.mark.parametrize("name", ["tiny_a", "tiny_b"])
@pytest.mark.parametrize(
    ("file_name", "image", "options"),
    [
        ("small.png", picture(32), {}),
        ("clear.png", see_through(32), {}),
        ("turned.jpg", picture(90).crop((0, 0, 90, 60)), {"exif": QUARTER_TURN}),
        ("grey.webp", picture(70, "L"), {"lossless": True}),
        ("many.gif", picture(40), {"save_all": True, "append_images": [Image.new("RGB", (40, 40))]}),
    ],
)
def test_what_is_shown_is_what_the_file_gets(client, saved_models, tmp_path, name, file_name, image, options):
    path = saved(tmp_path, file_name, image, **options)
    label, _, saw, looked, note = client.predict(gradio_client.handle_file(path), name, api_name="/classify")
    classifier = load_classifier(saved_models / name)
    expected = classifier.classify(path, 3).top
    assert [each["label"] for each in label["confidences"]] == [top for top, _ in expected]
    assert [each["confidence"] for each in label["confidences"]] == pytest.approx([p for _, p in expected], abs=1e-6)
    assert Image.open(looked).size == (demo_answers.PICTURE, demo_answers.PICTURE)
    pixels = np.asarray(Image.open(saw))[12::24, 12::24]  # each of the 16×16 is a square of 24
    np.testing.assert_array_equal(pixels, classifier.preprocess(path).pixels.round())
    assert "16×16 pixels" in note


def test_only_what_answers_a_picture_is_an_endpoint(client):
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/classify", "/compare"}


def test_a_file_that_was_not_uploaded_is_not_read(address, tmp_path):
    path = saved(tmp_path, "secret.png", picture(32))
    sent = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, "tiny_a"]}
    call = f"{address}gradio_api/call/classify"
    event = requests.post(call, json=sent, timeout=10).json()["event_id"]
    assert requests.get(f"{call}/{event}", timeout=10).text.startswith("event: error")


def test_a_model_without_grad_cam_says_so(saved_models, monkeypatch, tmp_path):
    classifier = load_classifier(saved_models / "tiny_a")
    monkeypatch.setattr(classifier.engine, "explains", False)
    seen = demo_answers.seen(classifier, saved(tmp_path, "noise.png", picture(32)))
    assert seen.pixels.size == (demo_answers.PICTURE, demo_answers.PICTURE)
    assert seen.heat is None and "cannot show where it looked" in seen.sentence


def test_a_model_that_cannot_be_run_stands_beside_the_others(saved_models, tmp_path):
    shutil.copytree(saved_models / "tiny_a", tmp_path / "models" / "whole")
    shutil.copytree(saved_models / "tiny_b", tmp_path / "models" / "<broken>")
    for damaged in ("model.keras", ONNX_FILE):
        (tmp_path / "models" / "<broken>" / damaged).unlink()
    store = ModelStore(tmp_path / "models")
    answers = demo_answers.compare(store, saved(tmp_path, "noise.png", picture(32)))
    page = demo_answers.side_by_side(answers, store.cards)
    assert page.count('class="thaw-card"') == 2
    assert "There is no model.onnx" in page
    assert "The only model says" in page
    assert "<broken>" not in page
    assert "&lt;broken&gt;" in page


def test_models_that_differ_from_the_most_are_marked(store):
    card = store.cards["tiny_a"]
    answers = says(("cat", 0.9), ("dog", 0.8), ("dog", 0.2))
    page = demo_answers.side_by_side(answers, dict.fromkeys((each.model for each in answers), card))
    assert re.findall(r">(agrees|differs)<", page) == ["differs", "agrees", "agrees"]
    nobody = demo_answers.side_by_side(answers[:2], dict.fromkeys((each.model for each in answers), card))
    assert "thaw-chip" not in nobody


def says(*tops: tuple[str, float]) -> list[demo_answers.Answer]:
    return [demo_answers.Answer(f"model {n}", Prediction({}, (top,))) for n, top in enumerate(tops)]


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([], "No model could be run."),
        (says(("cat", 0.9)), "The only model says cat."),
        (says(("cat", 0.9), ("cat", 0.5)), "All 2 models say cat."),
        (says(("cat", 0.9), ("dog", 0.5), ("dog", 0.2)), "2 of 3 models say dog."),
        (says(("cat", 0.9), ("dog", 0.5)), "All 2 models differ."),
    ],
)
def test_the_verdict_counts_votes(answers, verdict):
    assert demo_answers.verdict(answers) == verdict


def test_of_equal_votes_the_surer_wins():
    assert demo_answers.majority(says(("cat", 0.6), ("dog", 0.9))) == ("dog", 1)


@pytest.mark.parametrize("content", ["no JSON", '[{"title": "A table without columns"}]', None])
def test_tables_that_could_not_be_read_are_left_out(tmp_path, caplog, content):
    if content:
        (tmp_path / "tables.json").write_text(content)
    assert demo_results.tables(tmp_path) == []
    assert len(caplog.records) == 1


def test_the_rendered_tables_become_html():
    tables = demo_results.tables(RESULTS)
    assert len(tables) >= 4
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert table.as_html().count("<tr>") == 1 + len(table.rows)


def test_example_pictures_are_small_and_accounted_for():
    sources = (demo.EXAMPLES / "SOURCES.md").read_text(encoding="utf-8")
    pictures = [path for path in demo.EXAMPLES.iterdir() if path.suffix != ".md"]
    assert len(pictures) >= 4
    for path in pictures:
        assert f"`{path.name}`" in sources
        assert path.stat().st_size <= 40 * 1024
        assert min(Image.open(path).size) > 32  # nothing of CIFAR-10
