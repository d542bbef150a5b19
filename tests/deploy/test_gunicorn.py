"""gunicorn with two workers under load: what is lost when a worker is killed, and when the server is told to stop."""

import contextlib
import os
import signal
import socket
import threading
import time

import pytest
import requests
from pictures import png

from benchmarks.server.load import load, multipart
from benchmarks.server.server_process import ServerProcess


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


def test_stalled_clients_do_not_hold_the_server(saved_models):
    small = {"THAW_MODELS": str(saved_models), "WEB_CONCURRENCY": "1", "THAW_QUEUE": "1", "THAW_BODY_SECONDS": "1"}
    with ServerProcess(environment=small) as server, contextlib.ExitStack() as stack:
        host, port = server.url.removeprefix("http://").split(":")
        for _ in range(8):  # twice as many as there are threads
            stalled = stack.enter_context(socket.create_connection((host, int(port))))
            stalled.sendall(
                b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc"
            )
        time.sleep(0.2)
        assert requests.get(f"{server.url}/healthz", timeout=10).ok
        assert b" 400 " in stalled.recv(1000)


def test_without_a_model_it_does_not_start(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(RuntimeError, match="did not become ready"):
        ServerProcess(environment={"THAW_MODELS": str(tmp_path)}, log=log).__enter__()
    assert "There is no saved model in" in log.read_text()  # gunicorn may have more to say after it


def test_a_reload_keeps_the_counts_and_the_end_leaves_nothing(saved_models, tmp_path):
    environment = {"THAW_MODELS": str(saved_models), "WEB_CONCURRENCY": "1", "TMPDIR": str(tmp_path)}
    count = 'thaw_requests_total{endpoint="models",status="200"} 1.0'
    with ServerProcess(environment=environment) as server:
        requests.get(f"{server.url}/models")
        (before,) = server.workers
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while before in server.workers or not server.workers:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert count in requests.get(f"{server.url}/metrics").text
        assert len(list(tmp_path.glob("thaw-metrics-*"))) == 1
    assert list(tmp_path.glob("thaw-metrics-*")) == []


def test_a_start_that_fails_leaves_nothing(tmp_path):
    environment = {"THAW_MODELS": str(tmp_path), "WEB_CONCURRENCY": "2", "TMPDIR": str(tmp_path)}
    with pytest.raises(RuntimeError), ServerProcess(environment=environment):
        pass
    assert list(tmp_path.glob("thaw-metrics-*")) == []
