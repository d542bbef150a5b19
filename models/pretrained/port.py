"""Convert a network's weights from a PyTorch checkpoint to a Keras file, or back.

python -m models.pretrained.port --model resnet18 --from resnet18.pth --to resnet18.keras
python -m models.pretrained.port --model resnet18 --from resnet18.pth --to resnet18.keras --classes 1000
python -m models.pretrained.port --model resnet18 --from resnet18.keras --to resnet18.safetensors
python -m models.pretrained.port --model efficientnet_lite0 --from imagenet --to lite0.keras --classes 1000

Sources are .pt, .pth, .bin, .safetensors and Flax's .ckpt files, whose code is never executed, or "imagenet" for the network's
own ImageNet weights. A .keras file contains the whole network with its scaling. A .safetensors file contains a state dict that
the PyTorch original loads with strict=True. A head that the original does not have is left out, with a warning.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from runtime.quiet import VERBOSE_LOGGERS, quiet

with quiet():
    import keras

from safetensors.numpy import save_file

from models.pretrained.downloads import WeightsUnavailableError
from models.pretrained.keras_files import load_keras_file, read_keras_file
from models.pretrained.mapping import PytorchMapping, to_pytorch
from models.pretrained.mismatch import WeightsMismatchError
from models.pretrained.sources import PYTORCH_SUFFIXES
from models.registry import ModelSpec, build_model, create_model, list_models, model_spec
from runtime.files import atomic_write

logger = logging.getLogger(__name__)


def to_keras(name: str, weights: str, target: Path, *, classes: int | None = None, **options) -> keras.Model:
    """Write a network with the weights of a PyTorch checkpoint, or "imagenet", to a `.keras` file, and return it.

    `classes` is the number of classes of the checkpoint's classifier, which is kept. None replaces it by an untrained linear
    head for 10 classes. The options are `image_size` and `convention`; they and the errors are as in `create_model`.
    """
    model = create_model(
        name,
        classes=10 if classes is None else classes,
        weights=weights,
        head="linear" if classes is None else model_spec(name).pretrained.classifier_head,
        require_head=classes is not None,
        **options,
    )
    with atomic_write(target) as partial:
        model.save(partial)
    return model


def to_safetensors(name: str, source: Path, target: Path, *, naming: str | None = None) -> dict[str, tuple[int, ...]]:
    """Write the weights of a `.keras` file as a PyTorch state dict, and return the shapes of its tensors by name.

    `naming` is that of the tensors; None takes the first that fits, usually the PyTorch original's.

    Raises:
        ValueError: if the network has no PyTorch counterpart, or none in that naming.
        CheckpointError, WeightsMismatchError: if the file cannot be read, or is of another network or convention.
    """
    spec = model_spec(name)
    namings = [mapping.naming for mapping in spec.pretrained.mappings]
    if not namings:
        raise ValueError(f"{name} has no PyTorch counterpart to which its weights could be converted.")
    if naming not in (None, *namings):
        raise ValueError(f"naming must be one of {', '.join(namings)} for {name}. Received: naming={naming!r}")
    mappings = [mapping for mapping in spec.pretrained.mappings if naming in (None, mapping.naming)]
    mapping, model, with_classifier = _fitting(spec, source, mappings)
    if not with_classifier:
        logger.warning(
            "Left out the head of %s: PyTorch's %s has no such classifier. strict=False loads it.", source, name
        )
    state_dict = to_pytorch(model, mapping, with_classifier=with_classifier)
    with atomic_write(target) as partial:
        save_file(state_dict, partial)
    return {name: array.shape for name, array in state_dict.items()}


def _fitting(spec: ModelSpec, source: Path, mappings: list[PytorchMapping]) -> tuple[PytorchMapping, keras.Model, bool]:
    """Return the first mapping that fits the file's network, the network, and whether its head is the original's."""
    file = read_keras_file(source)
    try:
        classes = file.configs["head_probabilities"]["units"]
        size = file.configs["image"]["batch_shape"][1]
    except (KeyError, TypeError):
        raise WeightsMismatchError(
            f"{source} must be a .keras file of a network built by Thaw, whose first layer is named image and whose last "
            "layer is named head_probabilities."
        ) from None
    heads = {name.partition("/")[0] for name in file.arrays if name.startswith("head_")}
    ours = spec.pretrained.classifier_head
    for mapping in mappings:
        same = heads == {layer for _, layer in mapping.classifier}
        head = ours if same else next(head for head in spec.heads if head != ours)
        model = build_model(spec, classes=classes, head=head, image_size=size, convention=mapping.convention)
        try:
            return mapping, model, load_keras_file(model, source) and same
        except WeightsMismatchError as error:
            mismatch = error
    raise mismatch


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m models.pretrained.port",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", required=True, metavar="NAME", help=f"one of {', '.join(list_models())}")
    add("--from", required=True, dest="source", metavar="FILE", help="a checkpoint, a .keras file, or imagenet")
    add("--to", required=True, dest="target", type=Path, metavar="FILE", help="a .keras or .safetensors file")
    kept = "number of classes of the checkpoint's classifier, to keep it (default: an untrained head for 10 classes)"
    add("--classes", type=int, help=kept)
    add("--image-size", type=int, help="side of the Keras model's input in pixels (default: the network's)")
    add("--convention", help="variant of the graph (default: inferred from the names); pytorch for DeiT, DINO and MAE")
    add("--naming", help="naming of the tensors in a .safetensors file (default: the PyTorch original's)")
    options = parser.parse_args(arguments)
    known = (*PYTORCH_SUFFIXES, ".keras")
    suffix = Path(options.source).suffix
    if options.source != "imagenet" and suffix not in known:
        parser.error(f"--from must be imagenet or end with {', '.join(known)}. Received: --from {options.source}")
    target = ".safetensors" if suffix == ".keras" else ".keras"
    if options.target.suffix != target:
        parser.error(f"--to must end with {target}. Received: --from {options.source} --to {options.target}")
    if target == ".keras" and options.naming:
        parser.error("--naming is only for a conversion to .safetensors")
    if target == ".safetensors" and (options.classes or options.image_size or options.convention):
        parser.error("--classes, --image-size and --convention are only for a conversion to .keras")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Convert, and return the exit status: 0 done, 1 failed, 2 invalid option."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for verbose in VERBOSE_LOGGERS:
        logging.getLogger(verbose).setLevel(logging.WARNING)
    options = parse_arguments(arguments)
    try:
        if options.target.suffix == ".keras":
            wanted = {name: getattr(options, name) for name in ("classes", "image_size", "convention")}
            model = to_keras(options.model, options.source, options.target, **wanted)
            print(f"Written: {options.target}, {model.count_params():,} parameters, classes: {model.output_shape[1]}.")
        else:
            shapes = to_safetensors(options.model, Path(options.source), options.target, naming=options.naming)
            print(f"Written: {options.target}, {len(shapes)} tensors.")
    except (ValueError, WeightsUnavailableError, OSError) as error:
        print(f"port: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
