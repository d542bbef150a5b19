"""Networks: the registry, heads, layers, preprocessing, Grad-CAM, and one file per architecture."""
