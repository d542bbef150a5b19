"""The JSON API as its users meet it: over HTTP, from gunicorn, started as the Procfile says."""

import base64
import io
import json

import pytest
import requests
from pictures import png
from PIL import Image

from inference.classifier import load_classifier


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


BODIES = {
    "multipart": {"files": {"file": ("cat.png", png())}},
    "alias": {"files": {"image": png()}},
    "raw": {"data": png(), "headers": {"Content-Type": "image/png"}},
    "json": {"json": {"inputs": base64.b64encode(png()).decode()}},
}


def send(api, kind="raw", **params):
    return requests.post(f"{api}/predict", params=params, **BODIES[kind])


@pytest.mark.parametrize("kind", BODIES)
def test_every_kind_of_body_gives_the_same_prediction(api, expected, kind):
    response = send(api, kind, model="tiny_a")
    assert response.status_code == 200
    document = response.json()
    optional = {"in_distribution", "warning"} if expected.warning else {"in_distribution"}
    assert set(document) == {"predictions", "probabilities", "model", "request_id", "latency_ms"} | optional
    assert document["in_distribution"] == pytest.approx(expected.in_distribution, abs=1e-3)
    assert [each["label"] for each in document["predictions"]] == [label for label, _ in expected.top]
    assert document["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert document["model"] == {"name": "tiny_a", "version": "1"}
    assert document["latency_ms"] > 0


def test_an_image_of_few_pixels_gets_a_warning(api):
    files = [("file", (f"{side}.png", png(side=side))) for side in (5, 40)]
    small, enough = requests.post(f"{api}/predict/batch", files=files, params={"model": "tiny_b"}).json()["results"]
    assert "5×5 pixels" in small["warning"]
    assert small["predictions"] and "warning" not in enough


@pytest.mark.parametrize("top_k", [1, 10])
def test_top_k_by_query_and_by_json(api, top_k):
    by_query = send(api, top_k=top_k).json()["predictions"]
    body = BODIES["json"]["json"] | {"parameters": {"top_k": top_k}}
    assert by_query == requests.post(f"{api}/predict", json=body).json()["predictions"]
    assert len(by_query) == top_k
    assert [each["score"] for each in by_query] == sorted((each["score"] for each in by_query), reverse=True)


def test_each_model_predicts_and_the_default_is_the_best(api):
    listed = requests.get(f"{api}/models").json()
    assert [model["name"] for model in listed["models"]] == ["tiny_a", "tiny_b"]
    assert listed["default"] == send(api).json()["model"]["name"] == "tiny_a"
    assert send(api, model="tiny_b").json()["model"]["name"] == "tiny_b"


def test_an_explanation_is_an_image(api, expected):
    explanation = send(api, explain="true").json()["explanation"]
    assert explanation["label"] == expected.top[0][0]
    kind, _, data = explanation["heat_map"].partition(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (320, 320)


def test_a_batch_has_a_result_or_an_error_for_each_file(api, expected):
    files = [("file", ("a.png", png())), ("file", ("b.txt", b"no image")), ("file", ("c.png", png()[:90]))]
    response = requests.post(f"{api}/predict/batch", files=files, params={"model": "tiny_a"})
    assert response.status_code == 200
    good, other, damaged = response.json()["results"]
    assert good["filename"] == "a.png"
    assert good["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert (other["error"]["status"], damaged["error"]["status"]) == (415, 422)
    assert "predictions" not in other


def test_a_batch_has_at_most_16_images(api):
    assert "16" in problem(requests.post(f"{api}/predict/batch", files=[("file", png())] * 17), 400)


@pytest.mark.parametrize(
    ("status", "request_", "word"),
    [
        (400, {"json": {"inputs": "*"}}, "base64"),
        (400, {"json": {"input": "aaaa"}}, "inputs"),
        (400, {"files": {"picture": png()}}, "file"),
        (400, BODIES["raw"] | {"params": {"top_k": "0"}}, "top_k"),
        (400, BODIES["raw"] | {"params": {"explain": "maybe"}}, "explain"),
        (404, BODIES["raw"] | {"params": {"model": "nonsense"}}, "tiny_a"),
        (415, {"data": b"x=1", "headers": {"Content-Type": "text/plain"}}, "multipart/form-data"),
        (415, {"files": {"file": b"GIMP xcf"}}, "WebP"),
        (422, {"files": {"file": png()[:200]}}, "damaged"),
    ],
)
def test_an_error_names_what_is_wrong(api, status, request_, word):
    assert word in problem(requests.post(f"{api}/predict", **request_), status)


@pytest.mark.parametrize("kind", ["image/png", "application/json"])
def test_a_body_in_chunks_has_the_same_limit(api, kind):
    def chunks(length):
        yield png()
        for start in range(len(png()), length, 2**16):
            yield bytes(min(2**16, length - start))

    headers = {"Content-Type": kind}
    limit = 8 * 2**20
    assert "8,388,608" in problem(requests.post(f"{api}/predict", data=chunks(limit + 1), headers=headers), 413)
    within = requests.post(f"{api}/predict", data=chunks(limit), headers=headers)
    assert within.status_code == (200 if kind == "image/png" else 400)


def test_unknown_paths_and_methods_are_problems_too(api):
    problem(requests.get(f"{api}/nonsense"), 404)
    response = requests.get(f"{api}/predict")
    problem(response, 405)
    assert "POST" in response.headers["Allow"]


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
    send(api)
    assert [value(name) for name in names] == [count + 1 for count in before]


def test_the_description_names_what_is_there(api):
    document = requests.get(f"{api}/openapi.json").json()
    assert set(document["paths"]) >= {"/predict", "/predict/batch", "/models", "/healthz", "/readyz", "/metrics"}
    assert json.dumps(document).count("tiny_b") == 2
    batch = document["paths"]["/predict/batch"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert batch["schema"]["properties"]["file"]["maxItems"] == 16
