"""Vision Transformers (Dosovitskiy et al. 2020, arXiv 2010.11929): patches, a class token, pre-norm blocks.

Checkpoints in timm's and Hugging Face's names are assumed to expect pixels in -1..1, as Google's do. DeiT, DINO and MAE use the
same names but expect ImageNet's mean and deviation: port those with `--convention pytorch`. Hugging Face's LayerNormalization
adds 1e-12 to the variance; the other originals, and these networks, add 1e-6.

Each part of a block is a layer of the flat graph, so the freeze boundary can lie inside a block.
"""

import functools

import keras

from models import layers
from models.layers import gelu
from models.preprocessing import cifar10_scaling, imagenet_scaling, symmetric_scaling
from models.pretrained.downloads import HubFile
from models.pretrained.mapping import Pairs, PytorchMapping
from models.pretrained.sources import Pretrained
from models.registry import register_model


def vit_backbone(
    image_size: int, convention: str, *, patch: int, width: int, depth: int, heads: int, mlp_width: int
) -> keras.Model:
    """Build a Vision Transformer: (S, S, 3) → (D,), the class token after the last normalisation.

    D is the width of a token, `depth` the number of blocks. Pixels beyond the last whole patch are ignored. Convention
    "symmetric" scales to -1..1, for timm's and Google's weights; "pytorch" uses ImageNet's mean and deviation.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    x = symmetric_scaling(image) if convention == "symmetric" else imagenet_scaling(image)
    x = keras.layers.Conv2D(width, patch, patch, name="patch_embedding")(x)  # (b, g, g, D)
    x = keras.layers.Reshape((-1, width), name="patch_tokens")(x)  # (b, g², D)
    x = layers.PositionEmbedding(name="position_embedding")(layers.ClassToken(name="class_token")(x))  # (b, 1 + g², D)
    for number in range(depth):
        x = _block(x, heads, mlp_width, f"block_{number}")
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    return keras.Model(image, layers.FirstToken(name="first_token")(x))


def compact_backbone(
    image_size: int, convention: str, *, width: int, depth: int, heads: int, mlp_width: int, stochastic_depth: float
) -> keras.Model:
    """Build a compact convolutional transformer: (S, S, 3) → (D,), the tokens' learned average.

    Tokens come from three 3×3 convolutions with BN and GELU, the last two of stride 2. They need fewer training images
    than patches do (Hassani et al. 2021, arXiv 2104.05704; Xiao et al. 2021, arXiv 2106.14881). The drop rate of the
    branches rises linearly from 0 in the first block to `stochastic_depth` in the last. `convention` is not used, because
    there are no weights from another framework.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    x = cifar10_scaling(image)
    for number, (filters, stride) in enumerate(((width // 2, 1), (width, 2), (width, 2)), start=1):
        name = f"tokeniser_conv_{number}"
        x = keras.layers.Conv2D(filters, 3, stride, padding="same", use_bias=False, name=name)(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_BN")(x)
        x = keras.layers.Activation(gelu, name=f"{name}_gelu")(x)
    x = keras.layers.Reshape((-1, width), name="tokens")(x)  # (b, (S/4)², D)
    x = layers.PositionEmbedding(name="position_embedding")(x)
    for number in range(depth):
        x = _block(x, heads, mlp_width, f"block_{number}", stochastic_depth * number / max(depth - 1, 1))
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    return keras.Model(image, layers.SequencePooling(name="sequence_pooling")(x))


def _block(x: keras.KerasTensor, heads: int, mlp_width: int, name: str, dropped: float = 0.0) -> keras.KerasTensor:
    """Append attention and a two-layer perceptron, each with pre-normalisation, a shortcut and drop rate `dropped`."""
    width, shortcut = x.shape[-1], x
    x = keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_1")(x)
    x = keras.layers.Dense(3 * width, name=f"{name}_query_key_value")(x)
    x = layers.SelfAttention(heads, name=f"{name}_attention")(x)
    x = keras.layers.Dense(width, name=f"{name}_attention_projection")(x)
    if dropped:
        x = layers.StochasticDepth(dropped, name=f"{name}_attention_depth")(x)
    x = shortcut = keras.layers.Add(name=f"{name}_attention_add")([shortcut, x])
    x = keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_2")(x)
    x = keras.layers.Dense(mlp_width, activation=gelu, name=f"{name}_mlp_1")(x)
    x = keras.layers.Dense(width, name=f"{name}_mlp_2")(x)
    if dropped:
        x = layers.StochasticDepth(dropped, name=f"{name}_mlp_depth")(x)
    return keras.layers.Add(name=f"{name}_mlp_add")([shortcut, x])


BLOCK_LAYERS = "norm_1 query_key_value attention_projection norm_2 mlp_1 mlp_2".split()
OUTER_LAYERS = "class_token position_embedding patch_embedding norm".split()
# PyTorch's names by naming: prefix of a block, modules of `BLOCK_LAYERS` and of `OUTER_LAYERS`. `+` joins modules that are one
# layer here. torchvision's published checkpoints are in "torchvision-2022".
NAMES = {
    "torchvision": (
        "encoder.layers.encoder_layer_{}.",
        "ln_1 self_attention.in_proj_ self_attention.out_proj ln_2 mlp.0 mlp.3",
        "class_token encoder.pos_embedding conv_proj encoder.ln",
    ),
    "torchvision-2022": (
        "encoder.layers.encoder_layer_{}.",
        "ln_1 self_attention.in_proj_ self_attention.out_proj ln_2 mlp.linear_1 mlp.linear_2",
        "class_token encoder.pos_embedding conv_proj encoder.ln",
    ),
    "timm": (
        "blocks.{}.",
        "norm1 attn.qkv attn.proj norm2 mlp.fc1 mlp.fc2",
        "cls_token pos_embed patch_embed.proj norm",
    ),
    "huggingface": (
        "vit.encoder.layer.{}.",
        "layernorm_before attention.attention.query+attention.attention.key+attention.attention.value "
        "attention.output.dense layernorm_after intermediate.dense output.dense",
        "vit.embeddings.cls_token vit.embeddings.position_embeddings vit.embeddings.patch_embeddings.projection "
        "vit.layernorm",
    ),
}


def pytorch_names(naming: str, depth: int = 12) -> Pairs:
    """Return the (PyTorch module, Keras layer) pairs of a Vision Transformer; `naming` is a key of `NAMES`."""
    prefix, parts, outer = NAMES[naming]
    *first, norm = zip(outer.split(), OUTER_LAYERS, strict=True)
    blocks = [
        (tuple(prefix.format(number) + module for module in part.split("+")), f"block_{number}_{layer}")
        for number in range(depth)
        for part, layer in zip(parts.split(), BLOCK_LAYERS, strict=True)
    ]
    return (*first, *blocks, norm)


def _mapping(naming: str, classifier: str, **options) -> PytorchMapping:
    return PytorchMapping(naming, pytorch_names(naming), classifier=((classifier, "head_probabilities"),), **options)


B16_PRETRAINED = Pretrained(
    imagenet=HubFile("timm/vit_base_patch16_224.augreg2_in21k_ft_in1k"),
    mappings=(
        _mapping("torchvision", "heads.head"),
        _mapping("torchvision-2022", "heads.head"),
        _mapping("timm", "head", convention="symmetric"),
        _mapping("huggingface", "classifier", ignored=("vit.pooler.",), convention="symmetric"),
    ),
)


register_model(
    name="vit_tiny",
    backbone=functools.partial(compact_backbone, width=128, depth=4, heads=4, mlp_width=256, stochastic_depth=0.1),
    image_size=32,
    minimum_size=8,
)
register_model(
    name="vit_b16",
    backbone=functools.partial(vit_backbone, patch=16, width=768, depth=12, heads=12, mlp_width=3072),
    conventions=("pytorch", "symmetric"),
    image_size=224,
    pretrained=B16_PRETRAINED,
    unfreeze=47,
)
