"""One server for all tests of the API, as the Procfile starts it."""

import pytest

from benchmarks.server.server_process import ServerProcess


@pytest.fixture(scope="session")
def server(saved_models):
    """The API with the default limits, one worker and the models tiny_a and tiny_b."""
    with ServerProcess(environment={"THAW_MODELS": str(saved_models), "WEB_CONCURRENCY": "1"}) as running:
        yield running


@pytest.fixture
def api(server):
    """The URL of the API."""
    return server.url
