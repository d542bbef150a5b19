"""Hostile requests to a real server: each is rejected as a problem document and leaves the server as it was."""

import collections

import pytest
import requests
from hostile_requests import hostile_requests, odd_requests
from pictures import png


@pytest.fixture(scope="module")
def hostile():
    return hostile_requests()


def send(server, request):
    url = server.url + request.path
    prepared = requests.Request(request.method, url, headers=request.headers, data=request.body).prepare()
    prepared.url = url  # requests would normalise it
    with requests.Session() as session:
        return session.send(prepared, timeout=60)


def test_the_corpus_is_large_diverse_and_reproducible(hostile):
    assert len(hostile) >= 300
    assert hostile == hostile_requests()
    names = collections.Counter(request.name for request in [*hostile, *odd_requests()])
    contents = collections.Counter((r.method, r.path, str(r.headers), r.body) for r in hostile)
    assert max(names.values()) == max(contents.values()) == 1
    assert {status for request in hostile for status in request.statuses} == {400, 404, 405, 413, 415, 422}


def test_hostile_requests_are_rejected_and_leak_no_memory(server, hostile):
    def memory_after_normal_requests():
        for _ in range(10):
            assert requests.post(f"{server.url}/predict", files={"file": png(side=512)}, timeout=60).ok
        return server.resident_mb()

    workers, before = server.workers, memory_after_normal_requests()
    for request in hostile:
        response = send(server, request)
        assert response.status_code in request.statuses, f"{request.name}: {response.status_code} {response.text[:300]}"
        assert response.headers["Content-Type"] == "application/problem+json", request.name
        assert response.json()["status"] == response.status_code
    once = memory_after_normal_requests()
    for request in hostile[::3]:
        send(server, request)
    assert server.workers == workers, "a worker died"
    assert memory_after_normal_requests() < once + 15, f"memory grows: {before:.0f} MB before, {once:.0f} after once"


def test_unusual_requests_are_served(server):
    for request in odd_requests():
        response = send(server, request)
        assert response.status_code == 200, f"{request.name}: {response.text[:300]}"
        document = response.json()
        for result in document.get("results", [document]):
            assert "error" in result or sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-6)
