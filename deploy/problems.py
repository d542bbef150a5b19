"""Errors as problem documents (RFC 9457). They say what is wrong with the request and reveal nothing of the server."""

import http
import logging

import flask
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from deploy.concurrency import BusyError
from inference.decode import ImageError, UnsupportedFormatError
from inference.model_store import UnknownModelError
from models.saved.card import NotExplainableError

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"


class BadRequestError(ValueError):
    """A request that does not follow the OpenAPI description. The client sees the message."""


STATUS: dict[type[Exception], int] = {  # the first match counts
    UnsupportedFormatError: 415,
    ImageError: 422,
    UnknownModelError: 404,
    NotExplainableError: 409,
    BadRequestError: 400,
    BusyError: 503,
}


def problem(status: int, detail: str) -> dict:
    """Return a problem document."""
    return {
        "type": "about:blank",  # by the RFC: the problem has no meaning beyond its status
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": flask.g.request_id,
    }


def of_error(error: Exception) -> dict | None:
    """Return the problem document of an error caused by the request or the load; None for any other error."""
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), None)
    return None if status is None else problem(status, str(error))


def response(document: dict) -> flask.Response:
    """Return a problem document as a response."""
    reply = flask.jsonify(document)
    reply.status_code = document["status"]
    reply.content_type = CONTENT_TYPE
    if document["status"] == 503:
        reply.headers["Retry-After"] = "1"
    return reply


def _limits() -> str:
    config = flask.current_app.config
    return (
        f"The body may have at most {config['MAX_CONTENT_LENGTH']:,} bytes; "
        f"a form, {config['MAX_FORM_PARTS']} parts and {config['MAX_FORM_MEMORY_SIZE']:,} bytes of text."
    )


def register(app: flask.Flask) -> None:
    """Make an app return every error as a problem document."""

    @app.errorhandler(HTTPException)
    def of_http(error: HTTPException) -> flask.Response:
        status = error.code or 500
        detail = _limits() if isinstance(error, RequestEntityTooLarge) else error.description
        reply = response(problem(status, detail if status < 500 else "Internal server error."))
        for name, value in error.get_headers():
            if name not in ("Content-Type", "Content-Length"):
                reply.headers[name] = value  # such as Allow for 405
        return reply

    @app.errorhandler(Exception)
    def of_any(error: Exception) -> flask.Response:
        document = of_error(error)
        if document is None:
            log.exception("Request %s failed.", flask.g.request_id)
            document = problem(500, "Internal server error. The server log has the cause under this request_id.")
        return response(document)
