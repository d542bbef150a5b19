"""Read the images and parameters of a request: multipart/form-data, a raw image body, or JSON with base64."""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

import flask
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from deploy.problems import BadRequestError

FIELDS = ("file", "image")
DEFAULT_TOP_K = 3
DATA_URI = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class Upload:
    """The bytes of one image, and its file name if the client sent one."""

    data: bytes
    filename: str | None = None


def one_image(request: flask.Request) -> tuple[Upload, dict[str, Any]]:
    """Return the image of a request and the parameters in its body. Only JSON bodies have parameters.

    Raises:
        BadRequestError: if the body is malformed, or holds no image or several.
        RequestEntityTooLarge: if the body exceeds the app's limit.
        UnsupportedMediaType: if the content type is not supported.
    """
    _reject_compression(request)
    content_type = request.mimetype
    if content_type == "multipart/form-data":
        files = _files(request)
        if len(files) != 1:
            raise BadRequestError(f"The form must have one file part named file. Received: {len(files)}.")
        return files[0], {}
    if content_type == "application/json":
        return _from_json(_body(request))
    if content_type.startswith("image/") or content_type == "application/octet-stream":
        return Upload(_body(request)), {}
    raise UnsupportedMediaType("Send multipart/form-data with a part named file, an image/* body, or application/json.")


def several_images(request: flask.Request, max_images: int) -> list[Upload]:
    """Return the images of a multipart request, from 1 to `max_images`; errors as in `one_image`."""
    _reject_compression(request)
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("Send multipart/form-data with a part named file for each image.")
    files = _files(request)
    if not files:
        raise BadRequestError("The form must have at least one file part named file. Received: none.")
    if len(files) > max_images:
        raise BadRequestError(f"A request may have at most {max_images} images. Received: {len(files)}.")
    return files


def top_k(value: Any, maximum: int) -> int:
    """Return `top_k` from a query's text or a JSON value. Raises a BadRequestError unless it is whole, from 1 to `maximum`."""
    digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10
    whole = isinstance(value, float) and value.is_integer()  # JSON does not tell 3.0 from 3
    number = int(value) if digits or whole else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= maximum:
        raise BadRequestError(f"top_k must be a whole number from 1 to {maximum}. Received: {_short(value)}.")
    return number


def flag(name: str, value: str | None) -> bool:
    """Return a boolean query parameter; None means False. Raises a BadRequestError for other values than true and false."""
    if value not in (None, "true", "false"):
        raise BadRequestError(f"{name} must be true or false. Received: {_short(value)}.")
    return value == "true"


def _files(request: flask.Request) -> list[Upload]:
    others = sorted({*request.form, *request.files} - set(FIELDS) | set(request.form))
    if others:
        raise BadRequestError(
            f"The form may have file parts named file only; parameters go into the query. Received: {_short(others)}."
        )
    parts = [part for name in FIELDS for part in request.files.getlist(name)]
    return [Upload(part.read(), part.filename) for part in parts]


def _body(request: flask.Request) -> bytes:
    body = request.get_data()
    # A chunked body has no Content-Length, and werkzeug truncates it at the limit without an error.
    truncated = request.content_length is None and len(body) == request.max_content_length
    if truncated and request.environ["wsgi.input"].read(1):
        raise RequestEntityTooLarge
    return body


def _from_json(body: bytes) -> tuple[Upload, dict[str, Any]]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested too deeply
        raise BadRequestError("The body must be JSON.") from None
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), str):
        raise BadRequestError('The body must be an object with the image as base64: {"inputs": "…"}.')
    parameters = document.get("parameters", {})
    if not isinstance(parameters, dict) or set(parameters) - {"top_k"} or set(document) - {"inputs", "parameters"}:
        raise BadRequestError('Besides "inputs" the body may only have {"parameters": {"top_k": …}}.')
    text = document["inputs"]
    if prefix := DATA_URI.match(text):
        text = text[prefix.end() :]
    try:
        return Upload(base64.b64decode(text, validate=True)), parameters
    except (binascii.Error, ValueError):
        raise BadRequestError("inputs must be base64.") from None


def _reject_compression(request: flask.Request) -> None:
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
