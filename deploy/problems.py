"""Errors as problem documents (RFC 9457): what the client did, never what the server is made of."""

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
    """A request that is not as the API's description says. Its message is shown to the client."""


STATUS: dict[type[Exception], int] = {  # the first that fits
    UnsupportedFormatError: 415,
    ImageError: 422,
    UnknownModelError: 404,
    NotExplainableError: 409,
    BadRequestError: 400,
    BusyError: 503,
}


def problem(status: int, detail: str) -> dict:
    """Return a problem document's members."""
    return {
        "type": "about:blank",  # by the RFC: the status says it all
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": flask.g.request_id,
    }


def of_error(error: Exception) -> dict | None:
    """Return the problem document of an error that is the request's fault or the load's, None of any other."""
    for kind, status in STATUS.items():
        if isinstance(error, kind):
            return problem(status, str(error))
    return None


def answer(document: dict) -> flask.Response:
    """Return a problem document as a response."""
    response = flask.jsonify(document)
    response.status_code = document["status"]
    response.content_type = CONTENT_TYPE
    if document["status"] == 503:
        response.headers["Retry-After"] = "1"
    return response


def _limits() -> str:
    config = flask.current_app.config
    return (
        f"The body may have at most {config['MAX_CONTENT_LENGTH']:,} bytes; "
        f"a form, {config['MAX_FORM_PARTS']} parts and {config['MAX_FORM_MEMORY_SIZE']:,} bytes of text."
    )


def register(app: flask.Flask) -> None:
    """Let every error of an app leave as a problem document."""

    @app.errorhandler(HTTPException)
    def of_http(error: HTTPException) -> flask.Response:
        status = error.code or 500
        detail = _limits() if isinstance(error, RequestEntityTooLarge) else error.description
        response = answer(problem(status, detail if status < 500 else "The server failed."))
        for name, value in error.get_headers():
            if name not in ("Content-Type", "Content-Length"):
                response.headers[name] = value  # such as Allow, of 405
        return response

    @app.errorhandler(Exception)
    def of_any(error: Exception) -> flask.Response:
        document = of_error(error)
        if document is None:
            log.exception("Request %s failed.", flask.g.request_id)
            document = problem(500, "The server failed; its log has the reason under this request_id.")
        return answer(document)
