"""Record the outputs of the PyTorch originals, against which the tests compare the Keras networks without PyTorch.

PYTHONPATH=. python tests/models/pretrained/record_parity.py

It needs requirements-parity.txt and takes about two minutes. It writes tests/data/parity/*.npz: for each original its outputs
in double precision, tensor names and shapes, parameter count, torch's version, and the seed and checksum of its weights, which
NumPy draws again in the test. It also writes tests/data/checkpoints/, small files by torch.save and safetensors.
"""

import math
from pathlib import Path

import numpy as np
import torch
from every_dtype import every_dtype
from originals import ORIGINALS, original
from pytorch_speedrun_cnn import VARIANTS, probabilities_of, speedrun_weights
from recordings import CLASSES, PARITY, SCALINGS, SEED, digest, random_images, write
from safetensors.torch import save_file

from models.registry import model_spec

GRIDS = ((14, 10), (14, 4), (4, 7))  # sides of position embeddings, before and after resampling


def sizes(name: str, naming: str) -> tuple[int, ...]:
    """Return the sides of the input: even and odd in the original's own naming, as padding depends on it, else odd."""
    spec = model_spec(name)
    even = 2 * math.ceil(spec.minimum_size / 2)
    padded = naming == spec.pretrained.mappings[0].naming and not name.startswith("vit")
    return (even, even + 17) if padded else (even + 17,)


def outputs(network: torch.nn.Module, scaling: str, size: int, with_classifier: bool) -> dict[str, np.ndarray]:
    """Return the features, channels last, and the probabilities of random images, in double precision."""
    scaled = torch.from_numpy(SCALINGS[scaling](random_images(size)).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        network = network.double()
        features = network.features(scaled).numpy()
        arrays = {f"features_{size}": features.transpose(0, 2, 3, 1) if features.ndim == 4 else features}
        if with_classifier:
            arrays[f"probabilities_{size}"] = network(scaled).softmax(-1).numpy()
    return arrays


def recording(name: str, naming: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Return what is written about one original, and its outputs."""
    mapping = next(each for each in model_spec(name).pretrained.mappings if each.naming == naming)
    scaling = "lite" if name == "efficientnet_lite0" else mapping.convention
    about = {
        "torch": torch.__version__,
        "seed": SEED,
        "classes": CLASSES,
        "scaling": scaling,
        "shapes": {},
        "sha256": {},
    }
    arrays = {}
    for size in sizes(name, naming):
        network = original(name, naming, size=size)
        tensors = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
        about["shapes"][size] = [(key, array.shape) for key, array in tensors.items()]
        about["sha256"][size] = digest(tensors)
        about["parameters"] = sum(parameter.numel() for parameter in network.parameters())
        arrays |= outputs(network, scaling, size, with_classifier=bool(mapping.classifier))
    return about, arrays


def resampled(had: int, wanted: int) -> np.ndarray:
    """Return PyTorch's resampling of a random grid of position embeddings, (wanted², 6)."""
    grid = torch.from_numpy(np.random.default_rng(0).normal(size=(had, had, 6)).astype("float32"))
    resized = torch.nn.functional.interpolate(
        grid.permute(2, 0, 1)[None], (wanted, wanted), mode="bicubic", antialias=True
    )
    return resized[0].permute(1, 2, 0).reshape(-1, 6).numpy()


def write_checkpoints(folder: Path) -> None:
    """Write the same tensors in every format, and a whole pickled model."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = every_dtype(torch)
    torch.save(tensors, folder / "zip.pt")
    torch.save(tensors, folder / "protocol_4.pth", pickle_protocol=4)
    torch.save(tensors, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, folder / "tensors.safetensors")
    torch.save({"epoch": 3, "model": {"module.fc.weight": torch.ones(2)}}, folder / "wrapped.pth")
    torch.save(torch.nn.Linear(2, 2), folder / "whole_model.pt")


def main() -> None:
    for name, naming in ORIGINALS:
        about, arrays = recording(name, naming)
        write(f"{name}-{naming}", about, **arrays)
        print(name, naming, about["parameters"])
    about = {"torch": torch.__version__, "seed": SEED}
    for name in VARIANTS:
        write(name, about, probabilities=probabilities_of(name, speedrun_weights(name)))
    write("position_embeddings", about, **{f"{had}_to_{wanted}": resampled(had, wanted) for had, wanted in GRIDS})
    write_checkpoints(PARITY.parent / "checkpoints")


if __name__ == "__main__":
    main()
