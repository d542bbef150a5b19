"""The page of the API in a browser."""

import re

import pytest
import requests
from browser import DESKTOP, PHONE, overflows, watched
from pictures import png

from benchmarks.server.server_process import ServerProcess


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "noise.png"
    path.write_bytes(png())
    return path


def test_the_page_shows_the_response_of_the_api(api, page, picture):
    page.goto(api)
    page.locator("#file").set_input_files(picture)
    expected = requests.post(f"{api}/predict", files={"file": picture.read_bytes()}).json()["predictions"][0]
    page.wait_for_selector("#bars li")
    assert page.locator("#prediction").inner_text() == f"{expected['label']}, {100 * expected['score']:.1f} %"
    assert page.locator("#bars li").count() == 10
    widths = page.locator("#bars .bar").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert widths == sorted(widths, reverse=True)
    assert not page.problems


def test_a_warning_is_shown(api, page, tmp_path):
    page.goto(api)
    page.locator("#model").select_option("tiny_b")
    (tmp_path / "small.png").write_bytes(png(side=5))
    page.locator("#file").set_input_files(tmp_path / "small.png")
    page.locator("#warning", has_text="5×5 pixels").wait_for()
    (tmp_path / "enough.png").write_bytes(png(side=40))
    page.locator("#file").set_input_files(tmp_path / "enough.png")
    page.locator("#warning").wait_for(state="hidden")
    assert not page.problems


def test_another_model_and_grad_cam(api, page, picture):
    page.goto(api)
    page.locator("#file").set_input_files(picture)
    page.locator("#model").select_option("tiny_b")
    page.locator("#explain").check()
    page.locator("#meta", has_text="tiny_b").wait_for()
    page.locator("#heat img[src^='data:image/png']").wait_for()
    assert page.locator("#heat img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
    assert not page.problems


def test_all_classes_are_shown_where_top_k_is_limited(saved_models, page, picture):
    limits = {"THAW_MODELS": str(saved_models), "WEB_CONCURRENCY": "1", "THAW_MAX_TOP_K": "2"}
    with ServerProcess(environment=limits) as server:
        page.goto(server.url)
        page.locator("#file").set_input_files(picture)
        page.wait_for_selector("#bars li")
        assert page.locator("#bars li").count() == 10
        assert not page.problems


def test_a_file_that_is_no_image_gives_an_error(api, page, tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("no picture")
    page.goto(api)
    page.locator("#file").set_input_files(other)
    page.wait_for_selector("#error:not([hidden])")
    assert "JPEG, PNG" in page.locator("#error").inner_text()
    assert page.locator("#result").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_the_window(api, chromium, picture, window, scheme):
    context = chromium.new_context(viewport=window, color_scheme=scheme)
    page = watched(context.new_page())
    page.goto(api)
    page.locator("#file").set_input_files(picture)
    page.locator("#explain").check()
    page.locator("#heat img[src^='data:image/png']").wait_for()
    assert not overflows(page)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 384) == (scheme == "dark")
    context.close()
