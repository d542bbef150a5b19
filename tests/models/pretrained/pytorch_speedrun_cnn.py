"""The network of Jordan 2024 (arXiv 2404.00498) in plain PyTorch; weights in the names and layout of the Keras layers."""

import numpy as np
from recordings import random_images

VARIANTS = {"speedrun_cnn": ((64, 256, 256), 2), "speedrun_cnn_96": ((128, 384, 512), 3)}


def speedrun_weights(name: str) -> dict[str, np.ndarray]:
    """Return random weights, float64, under which the probabilities depend on the image."""
    widths, convolutions = VARIANTS[name]
    random = np.random.default_rng(0)
    weights = {
        "whitening/kernel": random.normal(0, 0.3, (2, 2, 3, 24)),
        "whitening/bias": random.normal(0, 0.2, 24),
        "head_logits/kernel": random.normal(0, 1 if convolutions == 2 else 0.1, (widths[-1], 10)),
    }
    channels = 24
    for block, filters in enumerate(widths, start=1):
        for number in range(1, convolutions + 1):
            layer = f"block_{block}_conv_{number}"
            weights[f"{layer}/kernel"] = random.normal(0, (2 / 9 / channels) ** 0.5, (3, 3, channels, filters))
            weights[f"{layer}_BN/beta"] = random.normal(size=filters)
            weights[f"{layer}_BN/moving_mean"] = random.normal(size=filters)
            weights[f"{layer}_BN/moving_variance"] = random.uniform(0.5, 2, filters)
            channels = filters
    return weights


def probabilities_of(name: str, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Return the probabilities (4, 10) of four random images of 32×32 pixels, in double precision."""
    import torch
    from torch.nn import functional

    tensors = {key: torch.from_numpy(array) for key, array in weights.items()}

    def convolved(x, layer, bias=None, padding="same"):
        return functional.conv2d(x, tensors[f"{layer}/kernel"].permute(3, 2, 0, 1), bias, padding=padding)

    mean = torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64).view(3, 1, 1)
    deviation = torch.tensor([0.2470, 0.2435, 0.2616], dtype=torch.float64).view(3, 1, 1)
    x = (torch.from_numpy(random_images(32, count=4)).permute(0, 3, 1, 2) / 255 - mean) / deviation
    x = functional.gelu(convolved(x, "whitening", tensors["whitening/bias"], "valid"))
    for block in (1, 2, 3):
        shortcut = None
        for number in range(1, VARIANTS[name][1] + 1):
            layer = f"block_{block}_conv_{number}"
            x = convolved(x, layer)
            x = functional.max_pool2d(x, 2) if number == 1 else x
            statistics = [tensors[f"{layer}_BN/moving_{each}"] for each in ("mean", "variance")]
            x = functional.batch_norm(x, *statistics, None, tensors[f"{layer}_BN/beta"], eps=1e-12)
            x = functional.gelu(x + shortcut if number == 3 else x)
            shortcut = x if number == 1 else shortcut
    logits = functional.max_pool2d(x, 3).flatten(1) @ tensors["head_logits/kernel"] / 9
    return functional.softmax(logits, dim=1).numpy()
