"""What no schema can say: that a body must hold an image. With it, every valid request has to be answered well."""

import base64

import schemathesis
from hypothesis import strategies
from pictures import png

files = strategies.integers(0, 99).map(lambda seed: png(seed, side=2))
schemathesis.openapi.format("base64-image", files.map(lambda file: base64.b64encode(file).decode()))
for kind in ("*", "jpeg", "png", "webp", "bmp", "gif"):  # told apart by their content, whatever the type says
    schemathesis.openapi.media_type(f"image/{kind}", files)
