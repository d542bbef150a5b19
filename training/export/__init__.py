"""Export of trained models: `.keras`, `.onnx`, card, calibration and OOD detector."""
