"""Where pretrained weights come from, how an untrusted file is read, and how PyTorch tensors become Keras weights."""
