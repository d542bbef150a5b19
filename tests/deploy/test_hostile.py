"""Hostile requests against a real server: each is refused as a problem document, and the server is as before."""

import requests
from hostile import hostile_requests, odd_but_fine
from pictures import png

from benchmarks.server.server_process import ServerProcess


def sent(url, request):
    session = requests.Session()
    prepared = requests.Request(
        request.method, url + request.path, headers=request.headers, data=request.body
    ).prepare()
    prepared.url = url + request.path  # as it is, without what requests would make of it
    return session.send(prepared, timeout=60)


def test_whatever_comes_is_refused_and_leaves_no_trace(saved_models):
    corpus = hostile_requests()
    assert len(corpus) >= 300
    with ServerProcess(environment={"THAW_MODELS": str(saved_models), "WEB_CONCURRENCY": "1"}) as server:

        def normal():
            for _ in range(10):
                assert requests.post(f"{server.url}/predict", files={"file": png(side=512)}, timeout=60).ok
            return server.resident_mb()

        workers, before = server.workers, normal()
        for request in corpus:
            response = sent(server.url, request)
            assert response.status_code in request.statuses, (
                f"{request.name}: {response.status_code} {response.text[:300]}"
            )
            if request.method != "HEAD":
                assert response.headers["Content-Type"] == "application/problem+json", request.name
                assert response.json()["status"] == response.status_code
        once = normal()
        for request in corpus[::3]:
            sent(server.url, request)
        assert server.workers == workers, "a worker died"
        assert normal() < once + 15, f"memory grows: {before:.0f} MB before, {once:.0f} after once"


def test_what_is_odd_but_fine_is_answered(saved_models):
    corpus = odd_but_fine()
    assert len(corpus) >= 20
    with ServerProcess(environment={"THAW_MODELS": str(saved_models), "WEB_CONCURRENCY": "1"}) as server:
        for request in corpus:
            response = sent(server.url, request)
            assert response.status_code == 200, f"{request.name}: {response.text[:300]}"
            answer = response.json()
            for each in answer.get("results", [answer]):
                assert "error" in each or abs(sum(each["probabilities"].values()) - 1) < 1e-6
