"""A trained model becomes a saved one: `.keras`, `.onnx`, card, calibration, OOD detector, `saved_models/`."""
