"""Requests that the API must refuse, and odd ones that it must answer, whatever a client sends and however often.

`hostile_requests` holds for a server with the default limits (8 MiB, 16 million pixels, `top_k` up to 10) and any models of
ten classes. Each must be answered with one of its statuses, as a problem document, and leave the server as it was.
"""

import base64
import json
from dataclasses import dataclass, field

from hostile_forms import forms, headers, methods_and_paths, queries
from hostile_images import hostile_images, status_of
from odd_images import odd_images

BOUNDARY = "----0123456789abcdef"


@dataclass(frozen=True)
class HostileRequest:
    """A request as it goes over the wire.

    Attributes:
        name: what is wrong with it, or odd about it.
        method: as in the request line.
        path: with the query.
        headers: name → value; the client adds Host and Content-Length.
        body: as it is sent.
        statuses: those that the API may answer with.
        image: the image that the request carries in whichever form, where it is the image that is hostile or odd.
    """

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    statuses: frozenset[int]
    image: bytes | None = field(default=None, repr=False)


def hostile_requests() -> list[HostileRequest]:
    """Return at least 300 requests, the same at every call, with names that are all different."""
    requests = []
    for number, (name, image) in enumerate(hostile_images().items()):
        carrier = ("raw", "multipart", "json")[number % 3]
        statuses = frozenset({status_of(image)})
        requests.append(
            HostileRequest(f"{name} ({carrier})", "POST", "/predict", *carried(image, carrier), statuses, image)
        )
    for kind in (forms, queries, headers, methods_and_paths):
        for name, method, path, given, body, statuses in kind():
            name = f"{kind.__name__.replace('_', ' ')}: {name}"
            requests.append(HostileRequest(name, method, path, given, body, frozenset(statuses)))
    return requests


def odd_but_fine() -> list[HostileRequest]:
    """Return requests that look as if something were wrong with them, and must be answered with 200."""
    requests = []
    for name, image in odd_images().items():
        for carrier in ("raw", "multipart", "json", "data URI"):
            requests.append(
                HostileRequest(
                    f"{name} ({carrier})", "POST", "/predict", *carried(image, carrier), frozenset({200}), image
                )
            )
    image = odd_images()["png of one pixel"]
    raw, form, document = (carried(image, carrier) for carrier in ("raw", "multipart", "json"))
    mixed = form[1].replace(b'name="file"', b'name="image"')
    variants = {
        "the field may be called image": ("/predict", form[0], mixed),
        "the type is a JPEG's": ("/predict", {"Content-Type": "image/jpeg"}, raw[1]),
        "the type is in capitals": ("/predict", {"Content-Type": "IMAGE/PNG"}, raw[1]),
        "the type has parameters": ("/predict", {"Content-Type": "image/png; charset=utf-8"}, raw[1]),
        "the body says that it is not compressed": ("/predict", raw[0] | {"Content-Encoding": "identity"}, raw[1]),
        "the file's name leads elsewhere": ("/predict", form[0], form[1].replace(b"picture.png", b"../../etc/passwd")),
        "the file's name is another format's": ("/predict", form[0], form[1].replace(b"picture.png", b"picture.exe")),
        "the file's name is in another script": ("/predict", form[0], form[1].replace(b"picture", "猫 ☃".encode())),
        "the file's name is long": ("/predict", form[0], form[1].replace(b"picture", b"a" * 2000)),
        "one class is asked for": ("/predict?top_k=1", *raw),
        "every class is asked for": ("/predict?top_k=10", *raw),
        "an explanation is asked for": ("/predict?explain=true", *form),
        "no explanation is asked for": ("/predict?explain=false", *document),
        "an unknown parameter is in the query": ("/predict?colour=blue", *raw),
        "the JSON has spaces and escapes": (
            "/predict",
            document[0],
            b' {\n "in\\u0070uts" :\t'
            + json.dumps(base64.b64encode(image).decode()).replace("/", "\\/").encode()
            + b" }\n",
        ),
        "the JSON asks for every class": ("/predict", *carried(image, "json", {"top_k": 10})),
        "the JSON has a character set": ("/predict", {"Content-Type": "application/json; charset=utf-8"}, document[1]),
        "a batch of one": ("/predict/batch", *form),
        "a batch with a damaged image": ("/predict/batch", *_batch([image, image[:40], b"no image"])),
    }
    for name, (path, given, body) in variants.items():
        requests.append(HostileRequest(name, "POST", path, given, body, frozenset({200})))
    return requests


def carried(image: bytes, carrier: str, parameters: dict | None = None) -> tuple[dict[str, str], bytes]:
    """Return headers and body that carry an image: "raw", "multipart", "json" or "data URI"."""
    if carrier == "raw":
        return {"Content-Type": "image/png"}, image
    if carrier == "multipart":
        return _batch([image])
    text = base64.b64encode(image).decode()
    if carrier == "data URI":
        text = f"data:image/png;base64,{text}"
    document = {"inputs": text} | ({"parameters": parameters} if parameters else {})
    return {"Content-Type": "application/json"}, json.dumps(document).encode()


def _batch(images: list[bytes]) -> tuple[dict[str, str], bytes]:
    parts = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="picture.png"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + image
        + b"\r\n"
        for image in images
    )
    return {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, parts + f"--{BOUNDARY}--\r\n".encode()
