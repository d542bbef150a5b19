"""Pretrained weights: fetching them, reading untrusted files, converting between PyTorch and Keras."""
