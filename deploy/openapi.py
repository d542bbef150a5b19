"""The OpenAPI 3.1 description, built from the served models and the configured limits."""

from typing import Any

from deploy import problems
from deploy.settings import Settings
from inference.decode import FORMATS
from inference.model_store import ModelStore

TITLES = {
    400: "The request does not follow this description.",
    404: "There is no model of that name.",
    409: "The model does not support Grad-CAM.",
    413: "The request body is too large.",
    415: "Unsupported content type or image format.",
    422: "The image is damaged or has too many pixels.",
    500: "Internal server error.",
    503: "Too many concurrent requests, or not ready yet; try again.",
}


def description(store: ModelStore, settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI document."""
    card = store.cards[store.default]
    about = f"Image classification: {', '.join(card.labels)}."
    return {
        "openapi": "3.1.0",
        "info": {"title": "Thaw", "version": card.version, "description": about},
        "paths": {
            "/predict": {"post": _predict(store, settings)},
            "/predict/batch": {"post": _predict_batch(store, settings)},
            "/models": _get("listModels", "The served models, the default model first.", _json(_MODELS)),
            "/healthz": _get("isAlive", "Whether the process is alive. Runs no model.", _json(_status("ok"))),
            "/readyz": _get(
                "isReady", "Whether the default model is loaded and has run once.", _json(_status("ready")), 503
            ),
            "/metrics": _get("getMetrics", "Prometheus metrics.", {"text/plain": {}}),
        },
        "components": {"schemas": {"Problem": _PROBLEM, "Prediction": _PREDICTION}},
    }


def _predict(store: ModelStore, settings: Settings) -> dict[str, Any]:
    image = {"type": "string", "format": "base64-image", "description": "An image file in base64, or a data URI."}
    parameters = _object({"top_k": _top_k(store, settings)}, required=[])
    json_body = _object({"inputs": image, "parameters": parameters}, required=["inputs"])
    explanation = _object({"label": _STRING, "heat_map": {"type": "string", "description": "A PNG as a data URI."}})
    response = _object(
        _PREDICTED | _RELIABILITY | {"explanation": explanation} | _METADATA, required=[*_PREDICTED, *_METADATA]
    )
    return {
        "operationId": "predict",
        "summary": f"Classify one image: {', '.join(FORMATS)}.",
        "parameters": [*_queries(store, settings), _query("explain", {"type": "boolean", "default": False})],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": _form(_FILE),
                "application/json": {"schema": json_body},
                **{f"image/{name.lower()}": {"schema": _FILE} for name in FORMATS},
            },
        },
        "responses": _ok(response) | _problems(400, 404, 409, 413, 415, 422, 500, 503),
    }


def _predict_batch(store: ModelStore, settings: Settings) -> dict[str, Any]:
    filename = {"filename": {"type": ["string", "null"]}}
    result = {
        "oneOf": [
            _object(filename | _PREDICTED | _RELIABILITY, required=[*filename, *_PREDICTED]),
            _object(filename | {"error": {"$ref": "#/components/schemas/Problem"}}),
        ]
    }
    files = {"type": "array", "items": _FILE, "minItems": 1, "maxItems": settings.max_batch}
    return {
        "operationId": "predictBatch",
        "summary": "Classify several images. A bad image gets an error in its own result.",
        "parameters": _queries(store, settings),
        "requestBody": {"required": True, "content": {"multipart/form-data": _form(files)}},
        "responses": _ok(_object({"results": {"type": "array", "items": result}} | _METADATA))
        | _problems(400, 404, 413, 415, 500, 503),
    }


def _get(operation: str, summary: str, content: dict, *statuses: int) -> dict[str, Any]:
    responses = {"200": {"description": "Success.", "content": content}} | _problems(*statuses, 500)
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}


def _object(properties: dict, required: list[str] | None = None) -> dict[str, Any]:
    required = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _form(file: dict) -> dict[str, Any]:
    return {"schema": _object({"file": file}), "encoding": {"file": {"contentType": "image/*"}}}


def _queries(store: ModelStore, settings: Settings) -> list[dict[str, Any]]:
    model = {"type": "string", "enum": list(store.cards)}
    return [_query("top_k", _top_k(store, settings)), _query("model", model)]


def _query(name: str, schema: dict) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def _json(schema: dict) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ok(schema: dict) -> dict[str, Any]:
    return {"200": {"description": "Success.", "content": _json(schema)}}


def _problems(*statuses: int) -> dict[str, Any]:
    content = {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): {"description": TITLES[status], "content": content} for status in statuses}


def _status(value: str) -> dict[str, Any]:
    return _object({"status": {"const": value}})


def _top_k(store: ModelStore, settings: Settings) -> dict[str, Any]:
    most = min(settings.max_top_k, *(len(card.labels) for card in store.cards.values()))
    return {"type": "integer", "minimum": 1, "maximum": most, "default": min(3, most)}


_STRING = {"type": "string"}
_FILE = {"type": "string", "format": "binary"}
_SCORE = {"type": "number", "minimum": 0, "maximum": 1}
_PREDICTION = _object({"label": _STRING, "score": _SCORE})
_PREDICTED = {
    "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}, "minItems": 1},
    "probabilities": {"type": "object", "additionalProperties": _SCORE},
}
_RELIABILITY = {
    "in_distribution": {
        **_SCORE,
        "description": "Share of held-out training images whose in-distribution score is at most this image's. Near 0 the "
        "image is out-of-distribution. Absent where the model has no OOD detector.",
    },
    "warning": {
        "type": "string",
        "description": "Why the prediction may be wrong, for instance an out-of-distribution image. Absent without a reason.",
    },
}
_METADATA = {
    "model": _object({"name": _STRING, "version": _STRING}),
    "request_id": _STRING,
    "latency_ms": {"type": "number", "minimum": 0},
}
_STATUS = {"type": "integer", "minimum": 400, "maximum": 599}
_PROBLEM = _object(
    {"type": {"const": "about:blank"}, "title": _STRING, "status": _STATUS, "detail": _STRING, "request_id": _STRING}
)
_MODEL = {"type": "object", "required": ["name", "labels", "loaded"]}
_MODELS = _object({"default": _STRING, "models": {"type": "array", "items": _MODEL}})
