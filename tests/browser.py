"""Headless Chromium by Playwright, for the tests that look at a page as a visitor does.

The browser is the system's (`apt-get install chromium`), because Playwright's own is a download of its own. Tests that ask
for the fixtures are left out where either is missing.
"""

import os
import shutil
from urllib.parse import urlsplit

import pytest

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def chromium():
    """A headless browser; `chromium.new_context(viewport=PHONE, color_scheme="dark")` opens a phone in dark mode."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as running:
        # Chromium refuses to run its sandbox as root, as which containers run.
        flags = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        browser = running.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A tab of a desktop's size that gets nothing from other hosts. `page.problems` lists errors of its scripts."""
    context = chromium.new_context(viewport=DESKTOP)
    yield watched(context.new_page())
    context.close()


def watched(page):
    """Cut a page off from other hosts, and list the errors of its scripts in `page.problems`."""
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.route(lambda url: urlsplit(url).hostname not in ("127.0.0.1", "localhost", None), lambda route: route.abort())
    page.set_default_timeout(15_000)
    return page


def overflows(page) -> bool:
    """Whether the page is wider than the window, so that one has to scroll sideways."""
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1")
