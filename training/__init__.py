"""How a network learns: data, pipeline, freeze boundary, the two phases, evaluation and reports."""

from training.cpu import prefer_onednn

prefer_onednn()  # here, because TensorFlow must not be there yet
