"""What a saved model is: card, calibration, OOD detector, ONNX session. Needs neither TensorFlow nor Keras."""
