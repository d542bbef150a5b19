"""What a client sent: the images of a request and its parameters, in whichever of the three forms."""

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
    """The bytes of one image and the name that the client gave the file, or None."""

    data: bytes
    filename: str | None = None


def one_image(request: flask.Request) -> tuple[Upload, dict[str, Any]]:
    """Return the image of a request and the parameters in its body (empty but for JSON).

    Raises:
        BadRequestError: no image, several, or a body that is not of its form.
        RequestEntityTooLarge: a body above the app's limit.
        UnsupportedMediaType: a body of another form.
    """
    _refuse_encodings(request)
    kind = request.mimetype
    if kind == "multipart/form-data":
        files = _files(request)
        if len(files) != 1:
            raise BadRequestError(f"There must be one file part named file. Received: {len(files)}.")
        return files[0], {}
    if kind == "application/json":
        return _from_json(_body(request))
    if kind.startswith("image/") or kind == "application/octet-stream":
        return Upload(_body(request)), {}
    raise UnsupportedMediaType("Send multipart/form-data with a part named file, an image/* body, or application/json.")


def several_images(request: flask.Request, most: int) -> list[Upload]:
    """Return the images of a multipart request, from 1 to `most`.

    Raises:
        BadRequestError: no image, or more than `most`.
        UnsupportedMediaType: another form than multipart.
    """
    _refuse_encodings(request)
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("Send multipart/form-data with a part named file for each image.")
    files = _files(request)
    if not files:
        raise BadRequestError("There must be at least one file part named file. Received: none.")
    if len(files) > most:
        raise BadRequestError(f"There may be at most {most} images in a request. Received: {len(files)}.")
    return files


def top_k(given: Any, most: int) -> int:
    """Return how many classes to name, from a query's text or JSON's value.

    Raises:
        BadRequestError: no whole number from 1 to `most`.
    """
    digits = isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 10
    whole = isinstance(given, float) and given.is_integer()  # to JSON, 3.0 is a whole number
    number = int(given) if digits or whole else given
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
        raise BadRequestError(f"top_k must be a whole number from 1 to {most}. Received: {_short(given)}.")
    return number


def flag(name: str, given: str | None) -> bool:
    """Return a query's yes or no; None means no.

    Raises:
        BadRequestError: neither true nor false.
    """
    if given not in (None, "true", "false"):
        raise BadRequestError(f"{name} must be true or false. Received: {_short(given)}.")
    return given == "true"


def _files(request: flask.Request) -> list[Upload]:
    others = sorted({*request.form, *request.files} - set(FIELDS) | set(request.form))
    if others:
        raise BadRequestError(
            f"There may be file parts named file alone; parameters go into the query. Received: {_short(others)}."
        )
    parts = [part for name in FIELDS for part in request.files.getlist(name)]
    return [Upload(part.read(), part.filename) for part in parts]


def _body(request: flask.Request) -> bytes:
    body = request.get_data()
    # A body sent in chunks does not tell its length, and werkzeug cuts it at the limit without a word.
    cut = request.content_length is None and len(body) == request.max_content_length
    if cut and request.environ["wsgi.input"].read(1):
        raise RequestEntityTooLarge
    return body


def _from_json(body: bytes) -> tuple[Upload, dict[str, Any]]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested without end
        raise BadRequestError("The body must be JSON.") from None
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), str):
        raise BadRequestError('The body must be an object with the image as base64: {"inputs": "…"}.')
    parameters = document.get("parameters", {})
    if not isinstance(parameters, dict) or set(parameters) - {"top_k"} or set(document) - {"inputs", "parameters"}:
        raise BadRequestError('Beside "inputs" there may be only {"parameters": {"top_k": …}}.')
    text = document["inputs"]
    if address := DATA_URI.match(text):
        text = text[address.end() :]
    try:
        return Upload(base64.b64decode(text, validate=True)), parameters
    except (binascii.Error, ValueError):
        raise BadRequestError("inputs must be base64.") from None


def _refuse_encodings(request: flask.Request) -> None:
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
