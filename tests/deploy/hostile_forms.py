"""Requests whose form is wrong, whatever image they carry: bodies, queries, headers, methods and paths.

Each function yields name, method, path, headers, body and the statuses that the API may answer with.
"""

import base64
import gzip
import json
import zlib
from collections.abc import Iterator

from image_files import encoded, photograph

IMAGE = encoded(photograph(8, 8), "PNG")
TEXT = base64.b64encode(IMAGE).decode()
TOO_LARGE = 9 * 2**20  # bytes; the limit is 8 MiB
JSON, PNG, FORM = (
    {"Content-Type": kind} for kind in ("application/json", "image/png", "multipart/form-data; boundary=b")
)
Request = tuple[str, str, str, dict[str, str], bytes, set[int]]


def forms() -> Iterator[Request]:
    """Bodies that are not the multipart form, nor the JSON, that they claim to be."""
    for name, body, statuses in _multipart():
        yield name, "POST", "/predict", FORM, body, statuses
    for name, body in _json():
        yield f"json of {name}", "POST", "/predict", JSON, body, {400}
    for text in ("", "data:image/png;base64,", "data:image/png;base64"):
        body = json.dumps({"inputs": text}).encode()
        yield f"json of inputs of nothing, {text!r}", "POST", "/predict", JSON, body, {400, 415, 422}
    yield "batch of no images", "POST", "/predict/batch", FORM, b"--b--\r\n", {400}
    yield "batch of texts", "POST", "/predict/batch", FORM, _part(b'name="file"') + b"--b--\r\n", {400}
    yield "batch of 200 images", "POST", "/predict/batch", FORM, _file() * 200 + b"--b--\r\n", {400, 413}
    yield "batch of another field", "POST", "/predict/batch", FORM, _file(b"picture") + b"--b--\r\n", {400}
    yield "batch of a raw image", "POST", "/predict/batch", PNG, IMAGE, {400, 415}
    yield "batch of nothing", "POST", "/predict/batch", {}, b"", {400, 415}


def _part(disposition: bytes, content: bytes = IMAGE, header: bytes = b"Content-Type: image/png\r\n") -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + disposition + b"\r\n" + header + b"\r\n" + content + b"\r\n"


def _file(field: bytes = b"file", content: bytes = IMAGE) -> bytes:
    return _part(b'name="' + field + b'"; filename="a.png"', content)


def _multipart() -> Iterator[tuple[str, bytes, set[int]]]:
    end, sound = b"--b--\r\n", _file()
    bad = {
        "no file": end,
        "nothing": b"",
        "line breaks": b"\r\n" * 1000,
        "an image without a form": IMAGE,
        "json": json.dumps({"inputs": TEXT}).encode(),
        "another field": _file(b"picture") + end,
        "a field of another case": _file(b"FILE") + end,
        "a field without name": _file(b"") + end,
        "a field with a null byte": _file(b"file\0") + end,
        "a field with brackets": _file(b"file[]") + end,
        "a text in place of the file": _part(b'name="file"', b"cat.png", b"") + end,
        "an image without a file name": _part(b'name="file"') + end,
        "no name of the field": _part(b'filename="a.png"') + end,
        "two files": sound * 2 + end,
        "a file and an image": sound + _file(b"image") + end,
        "two files, one of them empty": sound + _file(content=b"") + end,
        "another boundary": sound.replace(b"--b", b"--c") + b"--c--\r\n",
        "a boundary of another case": sound.replace(b"--b", b"--B") + b"--B--\r\n",
        "a boundary without dashes": sound.replace(b"--b", b"b") + b"b--\r\n",
        "a part without headers": b"--b\r\n\r\n" + IMAGE + b"\r\n" + end,
        "a part without a disposition": b"--b\r\nContent-Type: image/png\r\n\r\n" + IMAGE + b"\r\n" + end,
        "a part whose header has no colon": b"--b\r\nContent-Disposition\r\n\r\n" + IMAGE + b"\r\n" + end,
        "a form that ends in its boundary": b"--",
        "a form that ends in a header": sound[:40],
        "a form that ends behind the headers": sound[: sound.index(b"\r\n\r\n") + 4],
        "a form that ends in the image": sound[: len(sound) // 2],
        "a form that ends behind the image": sound[:-2],
    }
    for name, body in bad.items():
        yield f"multipart of {name}", body, {400}
    yield "multipart of an empty file", _file(content=b"") + end, {400, 415, 422}
    yield "multipart of a text file", _file(content=b"a cat") + end, {415}
    yield "multipart of base64", _file(content=TEXT.encode()) + end, {415}
    yield "multipart of a thousand texts", _part(b'name="x"', b"", b"") * 1000 + sound + end, {400, 413}
    yield "multipart of a thousand files", sound * 1000 + end, {400, 413}
    yield "multipart of a header of 100 kB", _part(b'name="file"; x="' + b"a" * 100_000 + b'"') + end, {400, 413}


def _json() -> Iterator[tuple[str, bytes]]:
    good = json.dumps(TEXT)
    for name, body in {
        "nothing": b"",
        "spaces": b" \r\n\t ",
        "a raw image": IMAGE,
        "a form": _file() + b"--b--\r\n",
        "half a document": b'{"inputs": "aGVs',
        "a comma too many": f'{{"inputs": {good},}}'.encode(),
        "single quotes": f"{{'inputs': '{TEXT}'}}".encode(),
        "a name without quotes": f"{{inputs: {good}}}".encode(),
        "two documents": f'{{"inputs": {good}}}{{"inputs": {good}}}'.encode(),
        "latin-1": b'{"inputs": "\xe9\xff"}',
        "half a character": b'{"inputs": "\xe2\x98"}',
        "a null byte": b'{"inputs": "\0"}',
        "100000 brackets": b"[" * 100_000,
        "100000 brackets that close": b"[" * 100_000 + b"]" * 100_000,
        "100000 objects": b'{"inputs":' * 100_000,
        "100000 objects in the parameters": f'{{"inputs": {good}, "parameters": '.encode() + b'{"top_k":' * 100_000,
        "a number of 10000 digits": f'{{"inputs": {good}, "parameters": {{"top_k": {"9" * 10_000}}}}}'.encode(),
        "two values, the last one wrong": f'{{"inputs": {good}, "inputs": 7}}'.encode(),
        "two parameters, the last one wrong": f'{{"inputs": {good}, "parameters": {{"top_k": 3, "top_k": "x"}}}}'.encode(),
    }.items():
        yield name, body
    for value in ("[]", "{}", "7", "null", "true", "NaN", '"text"', f"[{good}]", '{"parameters": {"top_k": 3}}'):
        yield f"the document {value[:30]}", value.encode()
    for value in ("null", "7", "1.5", "true", "[]", "{}", f"[{good}]", f'{{"b64": {good}}}', "NaN", "Infinity"):
        yield f"inputs of {value[:20]}", f'{{"inputs": {value}}}'.encode()
    for name, text in {
        "a wrong alphabet": "*" + TEXT[1:],
        "the alphabet of addresses": "-_-_" + TEXT,
        "letters beyond ascii": "é" + TEXT,
        "a space inside": TEXT[:20] + " " + TEXT[20:],
        "a line break inside": TEXT[:76] + "\n" + TEXT[76:],
        "no padding": base64.b64encode(IMAGE + bytes(-len(IMAGE) % 3 + 1)).decode().rstrip("="),
        "too much padding": TEXT + "====",
        "padding in the middle": "aGVsbG8=" + TEXT,
        "one letter": "a",
        "hexadecimal digits": "0x" + IMAGE.hex() + "z",
        "an address": "https://a.test/cat.png",
        "a local file": "file:///etc/passwd",
        "a data address of html": "data:text/html;base64," + TEXT,
        "a data address without base64": "data:image/png," + TEXT,
        "a data address of a wrong alphabet": "data:image/png;base64,****",
        "a data address in a data address": "data:image/png;base64,data:image/png;base64," + TEXT,
    }.items():
        yield f"inputs of {name}", json.dumps({"inputs": text}).encode()
    for value in ("[]", "7", '"top_k"', "true", '[{"top_k": 3}]'):
        yield f"parameters of {value}", f'{{"inputs": {good}, "parameters": {value}}}'.encode()
    for value in (
        "0",
        "-1",
        "11",
        "1e9",
        "1e400",
        '"x"',
        "1.5",
        "true",
        "null",
        "NaN",
        "[3]",
        '{"a": 3}',
        '""',
        "-Infinity",
    ):
        yield f"a top_k of {value}", f'{{"inputs": {good}, "parameters": {{"top_k": {value}}}}}'.encode()


def queries() -> Iterator[Request]:
    """Parameters out of range, and models that are not there."""
    for value in (
        "0",
        "-1",
        "11",
        "1000000000",
        "9" * 1000,
        "x",
        "1.5",
        "1e1",
        "0x3",
        "true",
        "null",
        "NaN",
        "%00",
        "3%00",
        "%EF%BC%93",
        "3;ls",
        "3'--",
        "%ff",
    ):
        yield f"top_k={value[:20]}", "POST", f"/predict?top_k={value}", PNG, IMAGE, {400}
    for value in ("0", "11", "x"):
        body = _file() + b"--b--\r\n"
        yield f"batch with top_k={value}", "POST", f"/predict/batch?top_k={value}", FORM, body, {400}
    for value in ("maybe", "2", "null", "true;", "%00", "truefalse", "yes%20please"):
        yield f"explain={value}", "POST", f"/predict?explain={value}", PNG, IMAGE, {400}
    for value in (
        "no_such_model",
        "../../etc/passwd",
        "..%2F..%2Fetc%2Fpasswd",
        "/etc/passwd",
        "file:///etc/passwd",
        ".",
        "..",
        "~",
        "*",
        "%2A",
        "x" * 2000,
        "%E2%98%83",
        "%ff%fe",
        "model.onnx",
        "$(id)",
        "%7B%7B7*7%7D%7D",
        "<script>",
        "' OR 1=1--",
    ):
        yield f"model={value[:30]}", "POST", f"/predict?model={value.replace(' ', '%20')}", PNG, IMAGE, {404}
    for value in ("%00", "no_such_model%00", "a%0d%0aX-Header:%20b"):
        yield f"model={value}", "POST", f"/predict?model={value}", PNG, IMAGE, {400, 404}
    yield "batch of an unknown model", "POST", "/predict/batch?model=none", FORM, _file() + b"--b--\r\n", {404}


def headers() -> Iterator[Request]:
    """Content types and encodings that are missing, wrong or tricks; bodies that are too large."""
    for kind in (
        "text/plain",
        "text/html",
        "application/xml",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/vnd.api+json",
        "text/json",
        "multipart/mixed; boundary=b",
        "multipart/related; boundary=b",
        "video/mp4",
        "application/pdf",
        "image",
        "png",
        "*/*",
        ";;;",
        "json",
        "/",
        "a" * 1000,
    ):
        yield f"type {kind[:40]}", "POST", "/predict", {"Content-Type": kind}, IMAGE, {400, 415}
    yield "no type", "POST", "/predict", {}, IMAGE, {400, 415}
    yield "no type and no body", "POST", "/predict", {}, b"", {400, 415}
    yield "an image of nothing", "POST", "/predict", PNG, b"", {400, 415, 422}
    yield "json as an image", "POST", "/predict", PNG, json.dumps({"inputs": TEXT}).encode(), {415}
    yield "a form as an image", "POST", "/predict", PNG, _file() + b"--b--\r\n", {415}
    form = _file() + b"--b--\r\n"
    for kind in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=c",
        "multipart/form-data; boundary=" + "c" * 1000,
        "multipart/form-data; charset=utf-7",
        "multipart/form-data; boundary*=utf-8''c",
    ):
        yield f"type {kind[:60]}", "POST", "/predict", {"Content-Type": kind}, form, {400, 415}
    document = json.dumps({"inputs": TEXT})
    for charset, body in {"utf-7": document.replace('"', "+ACI-").encode(), "cp037": document.encode("cp037")}.items():
        yield (
            f"json of {charset}",
            "POST",
            "/predict",
            {"Content-Type": f"application/json; charset={charset}"},
            body,
            {400},
        )
    packed = gzip.compress(IMAGE, mtime=0)
    compressed = {
        "gzip": packed,
        "GZIP": packed,
        "gzip, gzip": gzip.compress(packed, mtime=0),
        "gzip ": gzip.compress(bytes(20_000_000), mtime=0),
        "deflate": zlib.compress(IMAGE),
        "br": IMAGE,
        "zstd": IMAGE,
        "x-unknown": IMAGE,
    }
    for encoding, body in compressed.items():
        yield f"encoding {encoding}", "POST", "/predict", PNG | {"Content-Encoding": encoding.strip()}, body, {400, 415}
    packed = gzip.compress(document.encode(), mtime=0)
    yield "json in gzip", "POST", "/predict", JSON | {"Content-Encoding": "gzip"}, packed, {400, 415}
    yield (
        "form in gzip",
        "POST",
        "/predict",
        FORM | {"Content-Encoding": "gzip"},
        gzip.compress(form, mtime=0),
        {400, 415},
    )
    padded = IMAGE + bytes(TOO_LARGE)
    yield "9 MiB of zeros", "POST", "/predict", PNG, bytes(TOO_LARGE), {413}
    yield "9 MiB behind an image", "POST", "/predict", PNG, padded, {413}
    yield "one byte above 8 MiB", "POST", "/predict", PNG, IMAGE + bytes(8 * 2**20 + 1 - len(IMAGE)), {413}
    yield "9 MiB in a form", "POST", "/predict", FORM, _file(content=padded) + b"--b--\r\n", {413}
    yield "9 MiB in a batch", "POST", "/predict/batch", FORM, _file(content=padded) + b"--b--\r\n", {413}
    yield "9 MiB of json", "POST", "/predict", JSON, b'{"inputs": "' + b"A" * TOO_LARGE + b'"}', {413}
    yield "9 MiB of brackets", "POST", "/predict", JSON, b"[" * TOO_LARGE, {413}


def methods_and_paths() -> Iterator[Request]:
    """Methods that a path does not know, and paths that are not there."""
    for method in ("GET", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "BREW"):
        for path in ("/predict", "/predict/batch"):
            body = b"" if method in ("GET", "TRACE", "DELETE") else IMAGE
            yield f"{method} {path}", method, path, PNG if body else {}, body, {405}
    paths = (
        "/nonsense",
        "/predict/",
        "/predict/1",
        "/PREDICT",
        "/predict%00",
        "/predict%20",
        "/predict.json",
        "/predict;a=b",
        "/predict/batch/",
        "/v1/predict",
        "/api/predict",
        "/saved_models",
        "/.env",
        "/wp-login.php",
        "/%ff",
        "/%E2%98%83",
        "/predict/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/etc/passwd",
        "/" + "a" * 2000,
    )
    for path in paths:
        yield f"path {path[:40]}", "POST", path, PNG, IMAGE, {404}
    for path in ("/static/../deploy/api.py", "/static/%2e%2e/api.py"):
        yield f"path {path}", "POST", path, PNG, IMAGE, {404, 405}
