"""Inference: decode, resize, run, calibrate, explain. It needs neither TensorFlow nor Keras."""
