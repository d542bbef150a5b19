"""Export: a trained model becomes a saved one: `.keras`, `.onnx`, card, calibration, OOD detector, model store."""
