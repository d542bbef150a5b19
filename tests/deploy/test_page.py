"""The API's own page, in a real browser: drop an image, see bars."""

import pytest
import requests
from browser import DESKTOP, PHONE, overflows, watched
from pictures import png

from benchmarks.server.server_process import ServerProcess


@pytest.fixture(scope="module")
def api(saved_models):
    with ServerProcess(environment={"THAW_MODELS": str(saved_models), "WEB_CONCURRENCY": "1"}) as server:
        yield server.url


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "noise.png"
    path.write_bytes(png())
    return path


def test_a_chosen_picture_is_answered_as_by_the_api(api, page, picture):
    page.goto(api)
    page.locator("#file").set_input_files(picture)
    expected = requests.post(f"{api}/predict", files={"file": picture.read_bytes()}).json()["predictions"][0]
    page.wait_for_selector("#bars li")
    assert page.locator("#verdict").inner_text() == f"{expected['label']}, {100 * expected['score']:.1f} %"
    assert page.locator("#bars li").count() == 10
    widths = page.locator("#bars .bar").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert widths == sorted(widths, reverse=True)
    assert not page.problems


def test_a_warning_stands_beside_the_answer(api, page, tmp_path):
    page.goto(api)
    page.locator("#model").select_option("tiny_b")
    (tmp_path / "small.png").write_bytes(png(side=5))
    page.locator("#file").set_input_files(tmp_path / "small.png")
    page.locator("#warning", has_text="5×5 pixels").wait_for()
    (tmp_path / "enough.png").write_bytes(png(side=40))
    page.locator("#file").set_input_files(tmp_path / "enough.png")
    page.locator("#warning").wait_for(state="hidden")
    assert not page.problems


def test_the_other_model_and_the_heat_map_are_a_click_away(api, page, picture):
    page.goto(api)
    page.locator("#file").set_input_files(picture)
    page.locator("#model").select_option("tiny_b")
    page.locator("#explain").check()
    page.locator("#meta", has_text="tiny_b").wait_for()
    page.locator("#heat img[src^='data:image/png']").wait_for()
    assert page.locator("#heat img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
    assert not page.problems


def test_it_answers_where_fewer_classes_may_be_named_than_there_are(saved_models, page, picture):
    limits = {"THAW_MODELS": str(saved_models), "WEB_CONCURRENCY": "1", "THAW_MAX_TOP_K": "2"}
    with ServerProcess(environment=limits) as server:
        page.goto(server.url)
        page.locator("#file").set_input_files(picture)
        page.wait_for_selector("#bars li")
        assert page.locator("#bars li").count() == 10
        assert not page.problems


def test_what_is_no_picture_is_told(api, page, tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("no picture")
    page.goto(api)
    page.locator("#file").set_input_files(other)
    page.wait_for_selector("#error:not([hidden])")
    assert "must be a JPEG, PNG, WebP, BMP or GIF file" in page.locator("#error").inner_text()
    assert page.locator("#answer").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_the_window(api, chromium, picture, window, scheme, tmp_path):
    context = chromium.new_context(viewport=window, color_scheme=scheme)
    page = watched(context.new_page())
    page.goto(api)
    page.locator("#file").set_input_files(picture)
    page.locator("#explain").check()
    page.locator("#heat img[src^='data:image/png']").wait_for()
    assert not overflows(page)
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 10_000
    context.close()
