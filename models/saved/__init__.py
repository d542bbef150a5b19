"""The parts of a saved model: card, calibration, OOD detector, ONNX session. None needs TensorFlow or Keras."""
