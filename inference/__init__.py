"""How an image is answered: decoded, fitted, run, calibrated, explained. It needs neither TensorFlow nor Keras."""
