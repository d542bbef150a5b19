"""The JSON API: `POST /predict`, `POST /predict/batch`, the models, health checks and metrics.

Serve it: `gunicorn --config deploy/gunicorn.conf.py`. Develop: `flask --app deploy.api run`.
"""

import logging
import re
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

import flask

from deploy import metrics, problems, uploads
from deploy.concurrency import ConcurrencyLimiter
from deploy.openapi import description
from deploy.settings import Settings
from inference import explain
from inference.classifier import Classifier, ModelInput, Prediction
from inference.model_store import ModelStore

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


class Service:
    """The state that the endpoints share."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.store = ModelStore(
            settings.models, default=settings.model or None, engine=settings.engine, threads=settings.threads
        )
        self.limiter = ConcurrencyLimiter(settings.concurrency, settings.queue, settings.queue_seconds)
        self.ready = threading.Event()  # set once the default model has run

    def warm_up(self) -> None:
        try:
            seconds = self.store.get().warm_up()
        except Exception:
            log.exception("Could not run the model %s.", self.store.default)
        else:
            log.info("The model %s is warm (%.0f ms).", self.store.default, seconds * 1000)
            self.ready.set()

    def preprocess(self, classifier: Classifier, upload: uploads.Upload) -> ModelInput:
        with metrics.STAGE.labels("decode").time():
            return classifier.preprocess(upload.data, max_pixels=self.settings.max_pixels)

    def predict(self, classifier: Classifier, inputs: list[ModelInput], top_k: int) -> list[Prediction]:
        with metrics.STAGE.labels("inference").time():
            return classifier.predict(inputs, top_k)

    def top_k(self, classifier: Classifier, parameters: Mapping[str, Any]) -> int:
        maximum = min(self.settings.max_top_k, len(classifier.card.labels))
        return uploads.top_k(parameters.get("top_k", min(uploads.DEFAULT_TOP_K, maximum)), maximum)


def create_app(settings: Settings | None = None) -> flask.Flask:
    """Create the WSGI application; without settings, it reads them from the environment.

    Raises:
        ValueError: if a setting is out of range.
        ModelFileError: if there is no saved model to serve.
    """
    service = Service(settings or Settings.from_environment())
    app = flask.Flask(__name__, static_folder="static")
    app.config["MAX_CONTENT_LENGTH"] = service.settings.max_bytes
    app.config["MAX_FORM_PARTS"] = service.settings.max_batch + 8
    app.json.sort_keys = False
    app.extensions["thaw"] = service
    _register_hooks(app, service.settings)
    problems.register(app)
    _register_predict(app, service)
    _register_info(app, service)
    threading.Thread(target=service.warm_up, name="warm-up", daemon=True).start()
    return app


def _register_hooks(app: flask.Flask, settings: Settings) -> None:
    """Give every request an id, count and time it, and set the response headers."""

    @app.before_request
    def begin() -> None:
        flask.g.started = time.perf_counter()
        given = flask.request.headers.get("X-Request-ID", "")
        flask.g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex

    @app.after_request
    def end(response: flask.Response) -> flask.Response:
        endpoint = flask.request.endpoint or "none"
        metrics.REQUESTS.labels(endpoint, str(response.status_code)).inc()
        metrics.LATENCY.labels(endpoint).observe(time.perf_counter() - flask.g.started)
        response.headers.update(HEADERS)
        response.headers["X-Request-ID"] = flask.g.request_id
        if flask.request.method == "POST":
            response.headers["Cache-Control"] = "no-store"
        _allow_origin(response, settings.origins)
        return response


def _allow_origin(response: flask.Response, allowed: tuple[str, ...]) -> None:
    origin = flask.request.headers.get("Origin")
    if not allowed or origin is None:
        return
    response.vary.add("Origin")
    if "*" in allowed or origin in allowed:
        response.headers["Access-Control-Allow-Origin"] = "*" if "*" in allowed else origin
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
        response.headers["Access-Control-Allow-Headers"] = "Content-Type, X-Request-ID"
        response.headers["Access-Control-Expose-Headers"] = "X-Request-ID"


def _register_predict(app: flask.Flask, service: Service) -> None:
    @app.post("/predict")
    def predict() -> dict:
        query = flask.request.args
        classifier, name = service.store.get(query.get("model")), query.get("model") or service.store.default
        explain_requested = uploads.flag("explain", query.get("explain"))
        upload, parameters = uploads.one_image(flask.request)
        top_k = service.top_k(classifier, query.to_dict() | parameters)
        with service.limiter.slot():
            model_input = service.preprocess(classifier, upload)
            (prediction,) = service.predict(classifier, [model_input], top_k)
            explanation = classifier.explain(model_input) if explain_requested else None
        document = prediction.as_dict()
        if explanation is not None:
            overlay = explain.overlay(explanation.image, explanation.heat, side=320)
            document["explanation"] = {"label": explanation.label, "heat_map": explain.png_data_uri(overlay)}
        return document | _metadata(classifier, name)

    @app.post("/predict/batch")
    def predict_batch() -> dict:
        query = flask.request.args
        classifier, name = service.store.get(query.get("model")), query.get("model") or service.store.default
        files = uploads.several_images(flask.request, service.settings.max_batch)
        top_k = service.top_k(classifier, query)
        with service.limiter.slot():
            results: list[dict] = [{"filename": upload.filename} for upload in files]
            decoded = []
            for upload, result in zip(files, results, strict=True):
                try:
                    decoded.append((result, service.preprocess(classifier, upload)))
                except ValueError as error:
                    document = problems.of_error(error)
                    if document is None:
                        raise
                    result["error"] = document
            inputs = [model_input for _, model_input in decoded]
            predictions = service.predict(classifier, inputs, top_k) if inputs else []
            for (result, _), prediction in zip(decoded, predictions, strict=True):
                result.update(prediction.as_dict())
        return {"results": results} | _metadata(classifier, name)


def _metadata(classifier: Classifier, name: str) -> dict:
    return {
        "model": {"name": name, "version": classifier.card.version},
        "request_id": flask.g.request_id,
        "latency_ms": round((time.perf_counter() - flask.g.started) * 1000, 2),
    }


def _register_info(app: flask.Flask, service: Service) -> None:
    @app.get("/")
    def page() -> flask.Response:
        return flask.send_from_directory(app.static_folder, "index.html")

    @app.get("/models")
    def models() -> dict:
        return {
            "default": service.store.default,
            "models": [
                {**card.as_dict(), "name": name, "network": card.name, "loaded": service.store.is_loaded(name)}
                for name, card in service.store.cards.items()
            ],
        }

    @app.get("/healthz")
    def healthz() -> dict:
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> flask.Response | dict:
        if service.ready.is_set():
            return {"status": "ready"}
        return problems.response(problems.problem(503, "The default model is not loaded yet."))

    @app.get("/metrics")
    def exposition() -> flask.Response:
        return flask.Response(metrics.exposition(), content_type=metrics.CONTENT_TYPE)

    @app.get("/openapi.json")
    def openapi() -> dict:
        return description(service.store, service.settings)
