"""The JSON API as its users meet it: over HTTP, from gunicorn, started as the Procfile says."""

import base64
import io
import json

import pytest
import requests
from pictures import png
from PIL import Image

from benchmarks.server.server_process import ServerProcess
from inference.classifier import load_classifier

LABELS = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}


@pytest.fixture(scope="module")
def api(saved_models):
    limits = {
        "THAW_MODELS": str(saved_models),
        "WEB_CONCURRENCY": "1",
        "THAW_MAX_BATCH": "4",
        "THAW_MAX_PIXELS": "100000",
    }
    with ServerProcess(environment=limits) as server:
        yield server.url


@pytest.fixture(scope="module")
def expected(saved_models):
    return load_classifier(saved_models / "tiny_a").classify(png(), 3)


def problem(response, status):
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    document = response.json()
    assert set(document) == {"type", "title", "status", "detail", "request_id"}
    assert document["status"] == status
    assert document["request_id"] == response.headers["X-Request-ID"]
    return document["detail"]


def send(api, how, **options):
    if how == "multipart":
        return requests.post(f"{api}/predict", files={"file": ("cat.png", png())}, **options)
    if how == "alias":
        return requests.post(f"{api}/predict", files={"image": png()}, **options)
    if how == "raw":
        return requests.post(f"{api}/predict", data=png(), headers={"Content-Type": "image/png"}, **options)
    return requests.post(f"{api}/predict", json={"inputs": base64.b64encode(png()).decode()}, **options)


@pytest.mark.parametrize("how", ["multipart", "alias", "raw", "json"])
def test_an_image_is_answered_in_whichever_form_it_comes(api, expected, how):
    response = send(api, how, params={"model": "tiny_a"})
    assert response.status_code == 200
    answer = response.json()
    doubts = {"in_distribution", "warning"} if expected.warning else {"in_distribution"}
    assert set(answer) == {"predictions", "probabilities", "model", "request_id", "latency_ms"} | doubts
    assert answer["in_distribution"] == pytest.approx(expected.in_distribution, abs=1e-3)
    assert [each["label"] for each in answer["predictions"]] == [label for label, _ in expected.top]
    assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert set(answer["probabilities"]) == LABELS
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert answer["model"] == {"name": "tiny_a", "version": "1"}
    assert answer["latency_ms"] > 0


def test_a_picture_too_small_to_be_known_is_answered_with_a_warning(api):
    files = [("file", (f"{side}.png", png(side=side))) for side in (5, 40)]
    small, enough = requests.post(f"{api}/predict/batch", files=files, params={"model": "tiny_b"}).json()["results"]
    assert "5×5 pixels" in small["warning"]
    assert small["predictions"] and "warning" not in enough


@pytest.mark.parametrize("asked", [1, 10])
def test_top_k_by_query_and_by_json(api, asked):
    by_query = send(api, "raw", params={"top_k": asked}).json()["predictions"]
    body = {"inputs": base64.b64encode(png()).decode(), "parameters": {"top_k": asked}}
    by_json = requests.post(f"{api}/predict", json=body).json()["predictions"]
    assert by_query == by_json
    assert len(by_query) == asked
    assert [each["score"] for each in by_query] == sorted((each["score"] for each in by_query), reverse=True)


def test_every_model_can_be_asked_and_the_default_is_the_best(api, saved_models):
    listed = requests.get(f"{api}/models").json()
    assert listed["models"][0]["name"] == listed["default"]
    accuracies = {model["name"]: model["test_accuracy"] for model in listed["models"]}
    assert listed["default"] == max(accuracies, key=accuracies.get)
    for name in accuracies:
        assert send(api, "raw", params={"model": name}).json()["model"]["name"] == name
    assert send(api, "raw").json()["model"]["name"] == listed["default"]


def test_an_explanation_is_a_picture(api):
    explanation = send(api, "multipart", params={"explain": "true"}).json()["explanation"]
    assert explanation["label"] in LABELS
    kind, _, data = explanation["heat_map"].partition(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (320, 320)


def test_a_batch_answers_the_good_and_tells_of_the_bad(api, expected):
    files = [("file", ("a.png", png())), ("file", ("b.txt", b"no image")), ("file", ("c.png", png()[:90]))]
    response = requests.post(f"{api}/predict/batch", files=files, params={"model": "tiny_a"})
    assert response.status_code == 200
    good, other, damaged = response.json()["results"]
    assert good["filename"] == "a.png"
    assert good["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert (other["error"]["status"], damaged["error"]["status"]) == (415, 422)
    assert "predictions" not in other


def test_a_batch_has_a_cap(api):
    detail = problem(requests.post(f"{api}/predict/batch", files=[("file", png())] * 5), 400)
    assert "at most 4 images" in detail


@pytest.mark.parametrize(
    ("status", "request_", "words"),
    [
        (400, {"json": {"inputs": "*"}}, "base64"),
        (400, {"json": {"input": "aaaa"}}, "inputs"),
        (400, {"data": b"{", "headers": {"Content-Type": "application/json"}}, "JSON"),
        (400, {"files": {"picture": png()}}, "named file"),
        (400, {"files": {"file": png()}, "params": {"top_k": "0"}}, "from 1 to 10"),
        (400, {"files": {"file": png()}, "params": {"explain": "maybe"}}, "true or false"),
        (404, {"files": {"file": png()}, "params": {"model": "nonsense"}}, "tiny_a"),
        (415, {"data": b"x=1", "headers": {"Content-Type": "text/plain"}}, "multipart/form-data"),
        (415, {"files": {"file": b"GIMP xcf"}}, "JPEG, PNG, WebP, BMP or GIF"),
        (422, {"files": {"file": png()[:200]}}, "damaged"),
        (422, {"files": {"file": png(side=400)}}, "100,000 pixels"),
        (413, {"data": b"\0" * (9 * 2**20), "headers": {"Content-Type": "image/png"}}, "at most 8,388,608 bytes"),
    ],
)
def test_what_is_wrong_is_told(api, status, request_, words):
    assert words in problem(requests.post(f"{api}/predict", **request_), status)


@pytest.mark.parametrize("kind", ["image/png", "application/json"])
def test_a_body_in_chunks_has_the_same_limit(api, kind):
    def chunks(length):
        yield png()
        for start in range(len(png()), length, 2**16):
            yield bytes(min(2**16, length - start))

    headers = {"Content-Type": kind}
    limit = 8 * 2**20
    assert "at most 8,388,608" in problem(requests.post(f"{api}/predict", data=chunks(limit + 1), headers=headers), 413)
    within = requests.post(f"{api}/predict", data=chunks(limit), headers=headers)
    assert within.status_code == (200 if kind == "image/png" else 400)


def test_unknown_paths_and_methods_are_problems_too(api):
    problem(requests.get(f"{api}/nonsense"), 404)
    problem(requests.get(f"{api}/predict"), 405)
    assert "POST" in requests.get(f"{api}/predict").headers["Allow"]


def test_request_ids_are_taken_over_when_they_are_harmless(api):
    assert requests.get(f"{api}/healthz", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    assert requests.get(f"{api}/healthz", headers={"X-Request-ID": "a b;<"}).headers["X-Request-ID"] != "a b;<"


def test_health_and_headers(api):
    response = requests.get(f"{api}/healthz")
    assert response.json() == {"status": "ok"}
    assert requests.get(f"{api}/readyz").json() == {"status": "ready"}
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in requests.get(f"{api}/", headers={"Origin": "https://a.test"}).headers


def test_metrics_count_requests_and_time_decoding_and_inference_apart(api):
    def value(line):
        text = requests.get(f"{api}/metrics").text
        return float(next((row.rpartition(" ")[2] for row in text.splitlines() if row.startswith(line)), 0))

    names = (
        'thaw_requests_total{endpoint="predict",status="200"}',
        'thaw_request_seconds_count{endpoint="predict"}',
        'thaw_stage_seconds_count{stage="decode"}',
        'thaw_stage_seconds_count{stage="inference"}',
    )
    before = [value(name) for name in names]
    send(api, "raw")
    assert [value(name) for name in names] == [count + 1 for count in before]


def test_the_description_names_what_is_there(api):
    document = requests.get(f"{api}/openapi.json").json()
    assert set(document["paths"]) >= {"/predict", "/predict/batch", "/models", "/healthz", "/readyz", "/metrics"}
    assert json.dumps(document).count("tiny_b") == 2
    assert (
        document["paths"]["/predict/batch"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"][
            "properties"
        ]["file"]["maxItems"]
        == 4
    )
