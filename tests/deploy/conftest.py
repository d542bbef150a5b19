"""What the tests of the API and of the demo share: a browser to look with."""

from browser import chromium, page  # noqa: F401  # fixtures
