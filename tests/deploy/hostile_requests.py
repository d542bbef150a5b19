"""Requests that the API must reject, and unusual ones that it must serve, with the default limits and models of ten classes.

A hostile request is rejected with one of its statuses, as a problem document, and leaves the server as it was.
"""

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from hostile_images import hostile_images, status_of
from image_files import encoded, photograph
from odd_images import odd_images

JSON, PNG = {"Content-Type": "application/json"}, {"Content-Type": "image/png"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
IMAGE, END = encoded(photograph(8, 8), "PNG"), b"--b--\r\n"
TEXT = base64.b64encode(IMAGE).decode()
TOO_LARGE = 9 * 2**20  # bytes; the limit is 8 MiB


@dataclass(frozen=True)
class Request:
    """A request as it is sent. The client adds Host and Content-Length.

    Attributes:
        name: what is wrong or unusual about it.
        statuses: those that the API may respond with.
        path: with the query.
    """

    name: str
    body: bytes
    statuses: frozenset[int]
    headers: dict[str, str]
    path: str = "/predict"
    method: str = "POST"


def request(name: str, body: bytes, *statuses: int, headers: dict[str, str] = PNG, **rest) -> Request:
    return Request(name, body, frozenset(statuses), headers, **rest)


def hostile_requests() -> list[Request]:
    """Return at least 300 requests, the same on every call, with distinct names."""
    requests = []
    for number, (name, image) in enumerate(hostile_images().items()):
        carrier = ("raw", "form", "json")[number % 3]
        headers, body = carried(image, carrier)
        requests.append(request(f"{name} ({carrier})", body, status_of(image), headers=headers))
    return [*requests, *_forms(), *_json(), *_queries(), *_headers(), *_methods_and_paths()]


def odd_requests() -> list[Request]:
    """Return unusual requests that must be served with status 200."""
    requests = []
    for name, image in odd_images().items():
        for carrier in ("raw", "form", "json", "data URI"):
            headers, body = carried(image, carrier)
            requests.append(request(f"{name} ({carrier})", body, 200, headers=headers))
    form, renamed = _file() + END, lambda name: _file().replace(b"a.png", name) + END
    text = json.dumps(TEXT).replace("/", "\\/")
    json_bodies = {
        "spaces and escapes": f' {{\n "in\\u0070uts" :\t{text} }}\n',
        "every class": f'{{"inputs": {text}, "parameters": {{"top_k": 10}}}}',
        "one class as a float": f'{{"inputs": {text}, "parameters": {{"top_k": 1.0}}}}',
    }
    names = {"path": b"../../etc/passwd", "program": b"picture.exe", "script": "猫 ☃".encode(), "long": b"a" * 2000}
    types = ("image/jpeg", "IMAGE/PNG", "image/png; charset=utf-8", "application/octet-stream")
    queries = ("top_k=1", "top_k=10", "explain=true", "explain=false", "colour=blue")
    utf8 = {"Content-Type": "application/json; charset=utf-8"}
    return [
        *requests,
        *(request(f"type {kind}", IMAGE, 200, headers={"Content-Type": kind}) for kind in types),
        *(request(f"query {query}", IMAGE, 200, path=f"/predict?{query}") for query in queries),
        *(request(f"file name: {kind}", renamed(name), 200, headers=FORM) for kind, name in names.items()),
        *(request(f"json: {name}", body.encode(), 200, headers=JSON) for name, body in json_bodies.items()),
        request("json with a character set", f'{{"inputs": {text}}}'.encode(), 200, headers=utf8),
        request("the field is called image", _file(b"image") + END, 200, headers=FORM),
        request("identity encoding", IMAGE, 200, headers=PNG | {"Content-Encoding": "identity"}),
        request("batch of one", form, 200, headers=FORM, path="/predict/batch"),
        request(
            "batch with a damaged image", _file(content=IMAGE[:40]) + form, 200, headers=FORM, path="/predict/batch"
        ),
    ]


def carried(image: bytes, carrier: str) -> tuple[dict[str, str], bytes]:
    """Return headers and body that carry an image: "raw", "form", "json" or "data URI"."""
    if carrier == "raw":
        return PNG, image
    if carrier == "form":
        headers = {"Content-Type": "multipart/form-data; boundary=----0123456789abcdef"}
        return headers, (_file(content=image) + END).replace(b"--b", b"------0123456789abcdef")
    prefix = "data:image/png;base64," if carrier == "data URI" else ""
    return JSON, json.dumps({"inputs": prefix + base64.b64encode(image).decode()}).encode()


def _part(disposition: bytes, content: bytes = IMAGE, header: bytes = b"Content-Type: image/png\r\n") -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + disposition + b"\r\n" + header + b"\r\n" + content + b"\r\n"


def _file(field: bytes = b"file", content: bytes = IMAGE) -> bytes:
    return _part(b'name="' + field + b'"; filename="a.png"', content)


def _forms() -> Iterator[Request]:
    """Bodies that are not the multipart form that they claim to be."""
    sound = _file()
    malformed = {
        "no file": END,
        "nothing": b"",
        "json": json.dumps({"inputs": TEXT}).encode(),
        **{f"field {name}": _file(name) + END for name in (b"picture", b"FILE", b"", b"file\0", b"file[]")},
        "a text in place of the file": _part(b'name="file"', b"cat.png", b"") + END,
        "an image without a file name": _part(b'name="file"') + END,
        "no field name": _part(b'filename="a.png"') + END,
        "two files": sound * 2 + END,
        "a file and an image": sound + _file(b"image") + END,
        "another boundary": sound.replace(b"--b", b"--c") + b"--c--\r\n",
        "a part without headers": b"--b\r\n\r\n" + IMAGE + b"\r\n" + END,
        "a header without a colon": b"--b\r\nContent-Disposition\r\n\r\n" + IMAGE + b"\r\n" + END,
        **{f"the first {end} bytes": sound[:end] for end in (2, 40, sound.index(b"\r\n\r\n") + 4, len(sound) // 2)},
        "no final boundary": sound[:-2],
    }
    for name, body in malformed.items():
        yield request(f"form of {name}", body, 400, headers=FORM)
    yield request("form of an empty file", _file(content=b"") + END, 400, 415, 422, headers=FORM)
    yield request("form of a text file", _file(content=b"a cat") + END, 415, headers=FORM)
    yield request("form of a thousand texts", _part(b'name="x"', b"", b"") * 1000 + sound + END, 400, 413, headers=FORM)
    yield request("form of a thousand files", sound * 1000 + END, 400, 413, headers=FORM)
    header = _part(b'name="file"; x="' + b"a" * 100_000 + b'"')
    yield request("form with a header of 100 kB", header + END, 400, 413, headers=FORM)
    batches = {"no images": END, "texts": _part(b'name="file"') + END, "another field": _file(b"picture") + END}
    for name, body in batches.items():
        yield request(f"batch of {name}", body, 400, headers=FORM, path="/predict/batch")
    yield request("batch of 200 images", sound * 200 + END, 400, 413, headers=FORM, path="/predict/batch")
    yield request("batch of nothing", b"", 400, 415, headers={}, path="/predict/batch")


def _json() -> Iterator[Request]:
    """JSON bodies that are malformed, or hold no image."""
    good = json.dumps(TEXT)
    bodies = {
        "nothing": b"",
        "a raw image": IMAGE,
        "a form": _file() + END,
        "half a document": b'{"inputs": "aGVs',
        "a comma too many": f'{{"inputs": {good},}}'.encode(),
        "two documents": f'{{"inputs": {good}}}{{"inputs": {good}}}'.encode(),
        "latin-1": b'{"inputs": "\xe9\xff"}',
        "a null byte": b'{"inputs": "\0"}',
        "100000 brackets": b"[" * 100_000,
        "100000 brackets that close": b"[" * 100_000 + b"]" * 100_000,
        "100000 objects in the parameters": f'{{"inputs": {good}, "parameters": '.encode() + b'{"top_k":' * 100_000,
        "two values, the last one wrong": f'{{"inputs": {good}, "inputs": 7}}'.encode(),
    }
    values = {
        "the document": ("[]", "{}", "7", "null", "true", "NaN", '"text"', f"[{good}]", '{"parameters": {"top_k": 3}}'),
        "inputs": ("null", "7", "1.5", "true", "[]", "{}", f"[{good}]", f'{{"b64": {good}}}', "NaN", "Infinity"),
        "parameters": ("[]", "7", '"top_k"', "true", '[{"top_k": 3}]', '{"top_k": 3, "top_k": "x"}'),
        "top_k": [*'0 -1 11 1e9 1e400 "x" 1.5 true null NaN [3] {"a":3} "" -Infinity'.split(), "9" * 10_000],
    }
    template = {
        "the document": "{}",
        "inputs": '{{"inputs": {}}}',
        "parameters": f'{{{{"inputs": {good}, "parameters": {{}}}}}}',
        "top_k": f'{{{{"inputs": {good}, "parameters": {{{{"top_k": {{}}}}}}}}}}',
    }
    for kind, each in values.items():
        bodies |= {f"{kind} {value[:30]}": template[kind].format(value).encode() for value in each}
    for name, body in bodies.items():
        yield request(f"json: {name}", body, 400, headers=JSON)
    texts = {
        "a wrong alphabet": "*" + TEXT[1:],
        "a space inside": TEXT[:20] + " " + TEXT[20:],
        "a line break inside": TEXT[:76] + "\n" + TEXT[76:],
        "no padding": base64.b64encode(IMAGE + bytes(-len(IMAGE) % 3 + 1)).decode().rstrip("="),
        "too much padding": TEXT + "====",
        "padding in the middle": "aGVsbG8=" + TEXT,
        "a URL": "https://a.test/cat.png",
        "a data URI of html": "data:text/html;base64," + TEXT,
        "a data URI without base64": "data:image/png," + TEXT,
        "a data URI of a wrong alphabet": "data:image/png;base64,****",
    }
    for name, text in texts.items():
        yield request(f"json: inputs of {name}", json.dumps({"inputs": text}).encode(), 400, headers=JSON)
    for text in ("", "data:image/png;base64,", "data:image/png;base64"):
        yield request(f"json: inputs {text!r}", json.dumps({"inputs": text}).encode(), 400, 415, 422, headers=JSON)


def _queries() -> Iterator[Request]:
    """Parameters out of range, and models that do not exist."""
    numbers = "0 -1 11 1000000000 x 1.5 1e1 0x3 true null NaN %00 3%00 %EF%BC%93 3;ls 3'-- %ff".split()
    for value in [*numbers, "9" * 1000]:
        yield request(f"top_k={value[:20]}", IMAGE, 400, path=f"/predict?top_k={value}")
    for value in ("0", "11", "x"):
        path = f"/predict/batch?top_k={value}"
        yield request(f"batch with top_k={value}", _file() + END, 400, headers=FORM, path=path)
    for value in "maybe 2 null true; %00 truefalse yes%20please".split():
        yield request(f"explain={value}", IMAGE, 400, path=f"/predict?explain={value}")
    models = "none ../../etc/passwd /etc/passwd file:///etc/passwd . .. ~ * ☃ model.onnx $(id) {{7*7}} <script> 1'OR'1"
    for value in [*models.split(), "x" * 2000]:
        yield request(f"model={value[:30]}", IMAGE, 404, path=f"/predict?model={quote(value, safe='')}")
    for value in "../../etc/passwd * %ff%fe".split():
        yield request(f"model={value}, not quoted", IMAGE, 404, path=f"/predict?model={value}")
    for value in "%00 none%00 a%0d%0aX-Header:%20b".split():
        yield request(f"model={value}", IMAGE, 400, 404, path=f"/predict?model={value}")
    yield request("batch of an unknown model", _file() + END, 404, headers=FORM, path="/predict/batch?model=none")


def _headers() -> Iterator[Request]:
    """Content types and encodings that are missing, wrong or tricks; bodies that are too large."""
    types = (
        "text/plain application/x-www-form-urlencoded text/json application/vnd.api+json multipart/mixed;boundary=b "
        "image png */* ;;; json /"
    )
    for kind in [*types.split(), "a" * 1000]:
        yield request(f"type {kind[:40]}", IMAGE, 400, 415, headers={"Content-Type": kind})
    form, document = _file() + END, json.dumps({"inputs": TEXT})
    for rest in ("", ";boundary=", ';boundary=""', ";boundary=c", ";boundary=" + "c" * 1000, ";boundary*=utf-8''c"):
        kind = "multipart/form-data" + rest
        yield request(f"type {kind[:60]}", form, 400, 415, headers={"Content-Type": kind})
    yield request("no type", IMAGE, 400, 415, headers={})
    yield request("no type and no body", b"", 400, 415, headers={})
    yield request("an image of nothing", b"", 400, 415, 422)
    yield request("json as an image", document.encode(), 415)
    yield request("a form as an image", form, 415)
    for charset, body in {"utf-7": document.replace('"', "+ACI-").encode(), "cp037": document.encode("cp037")}.items():
        headers = {"Content-Type": f"application/json; charset={charset}"}
        yield request(f"json of {charset}", body, 400, headers=headers)
    packed = gzip.compress(IMAGE, mtime=0)
    compressed = {
        "gzip": packed,
        "GZIP": packed,
        "gzip, gzip": gzip.compress(packed, mtime=0),
        "gzip ": gzip.compress(bytes(20_000_000), mtime=0),  # a decompression bomb
        "deflate": zlib.compress(IMAGE),
        **dict.fromkeys(("br", "zstd", "x-unknown"), IMAGE),
    }
    for encoding, body in compressed.items():
        yield request(f"encoding {encoding}", body, 400, 415, headers=PNG | {"Content-Encoding": encoding.strip()})
    for name, headers, body in (("json", JSON, document.encode()), ("form", FORM, form)):
        packed = gzip.compress(body, mtime=0)
        yield request(f"{name} in gzip", packed, 400, 415, headers=headers | {"Content-Encoding": "gzip"})
    padded = _file(content=IMAGE + bytes(TOO_LARGE)) + END
    yield request("9 MiB of zeros", bytes(TOO_LARGE), 413)
    yield request("9 MiB after an image", IMAGE + bytes(TOO_LARGE), 413)
    yield request("one byte above 8 MiB", IMAGE + bytes(8 * 2**20 + 1 - len(IMAGE)), 413)
    yield request("9 MiB in a form", padded, 413, headers=FORM)
    yield request("9 MiB in a batch", padded, 413, headers=FORM, path="/predict/batch")
    yield request("9 MiB of json", b'{"inputs": "' + b"A" * TOO_LARGE + b'"}', 413, headers=JSON)


def _methods_and_paths() -> Iterator[Request]:
    """Methods that a path does not support, and paths that do not exist."""
    for method in "GET PUT DELETE PATCH TRACE PROPFIND BREW".split():
        for path in ("/predict", "/predict/batch"):
            body = b"" if method in ("GET", "TRACE", "DELETE") else IMAGE
            yield request(f"{method} {path}", body, 405, headers=PNG if body else {}, path=path, method=method)
    paths = (
        "/nonsense /predict/ /PREDICT /predict%00 /predict%20 /predict;a=b /saved_models /.env /%ff /%E2%98%83 "
        "/predict/../../etc/passwd /..%2f..%2fetc/passwd /%2e%2e/etc/passwd"
    )
    for path in [*paths.split(), "/" + "a" * 2000]:
        yield request(f"path {path[:40]}", IMAGE, 404, path=path)
    for path in ("/static/../deploy/api.py", "/static/%2e%2e/api.py"):
        yield request(f"path {path}", IMAGE, 404, 405, path=path)
