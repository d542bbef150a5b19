"""gunicorn with two workers under load: what is lost when a worker is killed, and when the server is told to stop."""

import os
import signal
import threading
import time

import pytest
import requests
from pictures import png

from deploy.measure.load import load, multipart
from deploy.measure.server_process import ServerProcess


@pytest.fixture(scope="module")
def bodies():
    return [multipart(png())]


@pytest.fixture
def server(saved_models):
    with ServerProcess(environment={"THAW_MODELS": str(saved_models), "WEB_CONCURRENCY": "2"}) as running:
        yield running


def while_loaded(server, bodies, act, seconds=4.0):
    """Let `act` happen in the middle of a load; return what the connections saw."""
    threading.Timer(seconds / 2, act).start()
    return load(f"{server.url}/predict", bodies, connections=8, seconds=seconds)


def test_a_killed_worker_loses_its_own_requests_only_and_is_replaced(server, bodies):
    victim = server.workers[0]
    report = while_loaded(server, bodies, lambda: os.kill(victim, signal.SIGKILL))
    assert len(report.latencies) > 50
    assert len(report.errors) <= 8  # at most what was in flight
    deadline = time.monotonic() + 20
    while len(set(server.workers) - {victim}) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(set(server.workers) - {victim}) == 2
    body, headers = bodies[0]
    assert all(requests.post(f"{server.url}/predict", body, headers=headers).ok for _ in range(8))


def test_sigterm_answers_everything_in_flight(server, bodies):
    report = while_loaded(server, bodies, lambda: server.process.send_signal(signal.SIGTERM), seconds=3.0)
    assert len(report.latencies) > 50
    assert set(report.errors) <= {"ConnectionRefusedError"}  # of requests made after it had closed its door
    assert server.process.wait(timeout=30) == 0


def test_a_full_queue_answers_503_at_once(saved_models, bodies):
    small = {"THAW_MODELS": str(saved_models), "WEB_CONCURRENCY": "1", "THAW_CONCURRENCY": "1", "THAW_QUEUE": "1"}
    with ServerProcess(environment=small) as server:
        report = load(f"{server.url}/predict", bodies, connections=12, seconds=2)
    assert report.latencies
    assert set(report.errors) == {"503"}


def test_without_a_model_it_does_not_start(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(RuntimeError, match="There is no saved model in"):
        ServerProcess(environment={"THAW_MODELS": str(tmp_path)}, log=log).__enter__()
