"""Flask with `model.predict`, as in tutorials: the baseline of the experiment "serving".

THAW_PLAIN_MODEL names the `.keras` file: `gunicorn benchmarks.server.plain_app:app`
"""

import io
import os

import flask
import numpy as np
import tensorflow as tf
from PIL import Image

app = flask.Flask(__name__)
model = tf.keras.models.load_model(os.environ["THAW_PLAIN_MODEL"])
SIZE = model.input_shape[1]


@app.get("/readyz")
def readyz():
    """Return 200 as soon as the model is loaded."""
    return {"status": "ready"}


@app.post("/predict")
def predict():
    """Classify one image."""
    image = Image.open(io.BytesIO(flask.request.files["file"].read())).convert("RGB").resize((SIZE, SIZE))
    probabilities = model.predict(np.array(image)[None].astype("float32"))[0]
    return {"class": int(probabilities.argmax()), "probabilities": probabilities.tolist()}
