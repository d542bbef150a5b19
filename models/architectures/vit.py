"""Vision Transformers (Dosovitskiy et al. 2020, arXiv 2010.11929): patches, a class token, pre-norm blocks.

Checkpoints in timm's and Hugging Face's names are taken to expect -1..1, as Google's do. DeiT, DINO and MAE, in the same
names, expect ImageNet's mean and deviation: port those with `--convention pytorch`.

Hugging Face's networks add 1e-12 to the variance in LayerNormalization where the others, and these, add 1e-6.

Each part of a block is a layer of the flat graph, so a block can be thawed or cut like any other.
"""

import functools

import keras

from models.layers import (
    ClassToken,
    FirstToken,
    PositionEmbedding,
    SelfAttention,
    SequencePooling,
    StochasticDepth,
    gelu,
)
from models.preprocessing import cifar10_scaling, imagenet_scaling, symmetric_scaling
from models.pretrained.architectures import VIT_B16
from models.registry import ModelSpec, register_model


def vit_backbone(
    image_size: int, convention: str, *, patch: int, width: int, depth: int, heads: int, mlp_width: int
) -> keras.Model:
    """Build a Vision Transformer: (S, S, 3) → (width,), the class token after the last normalisation.

    Pixels beyond the last whole patch are not seen.

    Args:
        image_size: S, in pixels.
        convention: "symmetric" (-1..1, timm's and Google's weights) or "pytorch" (ImageNet's mean and deviation).
        patch: the side of a patch in pixels.
        width: the width D of a token.
        depth: the number of blocks.
        heads: attention heads in a block.
        mlp_width: the width of a block's hidden layer.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    x = symmetric_scaling(image) if convention == "symmetric" else imagenet_scaling(image)
    x = keras.layers.Conv2D(width, patch, patch, name="patch_embedding")(x)  # (b, g, g, D)
    x = keras.layers.Reshape((-1, width), name="patch_tokens")(x)  # (b, g², D)
    x = PositionEmbedding(name="position_embedding")(ClassToken(name="class_token")(x))  # (b, 1 + g², D)
    for number in range(depth):
        x = _block(x, heads, mlp_width, f"block_{number}")
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    return keras.Model(image, FirstToken(name="first_token")(x))


def compact_backbone(
    image_size: int, convention: str, *, width: int, depth: int, heads: int, mlp_width: int, stochastic_depth: float
) -> keras.Model:
    """Build a compact convolutional transformer: (S, S, 3) → (width,), the tokens' learned average.

    Tokens come from three 3×3 convolutions with BN and GELU, the last two of stride 2, which learn from few images what
    patches do not (Hassani et al. 2021, arXiv 2104.05704; Xiao et al. 2021, arXiv 2106.14881).

    Args:
        image_size: S, in pixels.
        convention: not used: these weights never come from another framework.
        width: the width D of a token.
        depth: the number of blocks.
        heads: attention heads in a block.
        mlp_width: the width of a block's hidden layer.
        stochastic_depth: how often the last block's branches are dropped; the first block's never, between them linear.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    x = cifar10_scaling(image)
    for number, (filters, stride) in enumerate(((width // 2, 1), (width, 2), (width, 2)), start=1):
        name = f"tokeniser_conv_{number}"
        x = keras.layers.Conv2D(filters, 3, stride, padding="same", use_bias=False, name=name)(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_BN")(x)
        x = keras.layers.Activation(gelu, name=f"{name}_gelu")(x)
    x = keras.layers.Reshape((-1, width), name="tokens")(x)  # (b, (S/4)², D)
    x = PositionEmbedding(name="position_embedding")(x)
    for number in range(depth):
        x = _block(x, heads, mlp_width, f"block_{number}", stochastic_depth * number / max(depth - 1, 1))
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    return keras.Model(image, SequencePooling(name="sequence_pooling")(x))


def _block(x: keras.KerasTensor, heads: int, mlp_width: int, name: str, dropped: float = 0.0) -> keras.KerasTensor:
    """Append attention and a two-layer perceptron, each behind a normalisation and beside a shortcut.

    `dropped` is how often either is left out in training, for each image anew.
    """
    width, shortcut = x.shape[-1], x
    x = keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_1")(x)
    x = keras.layers.Dense(3 * width, name=f"{name}_query_key_value")(x)
    x = SelfAttention(heads, name=f"{name}_attention")(x)
    x = keras.layers.Dense(width, name=f"{name}_attention_projection")(x)
    if dropped:
        x = StochasticDepth(dropped, name=f"{name}_attention_depth")(x)
    x = shortcut = keras.layers.Add(name=f"{name}_attention_add")([shortcut, x])
    x = keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_2")(x)
    x = keras.layers.Dense(mlp_width, activation=gelu, name=f"{name}_mlp_1")(x)
    x = keras.layers.Dense(width, name=f"{name}_mlp_2")(x)
    if dropped:
        x = StochasticDepth(dropped, name=f"{name}_mlp_depth")(x)
    return keras.layers.Add(name=f"{name}_mlp_add")([shortcut, x])


register_model(
    ModelSpec(
        name="vit_tiny",
        backbone=functools.partial(compact_backbone, width=128, depth=4, heads=4, mlp_width=256, stochastic_depth=0.1),
        image_size=32,
        minimum_size=8,
        normalisation="CIFAR-10's mean and deviation",
        heads=("linear", "dense"),
    )
)
register_model(
    ModelSpec(
        name="vit_b16",
        backbone=functools.partial(vit_backbone, patch=16, width=768, depth=12, heads=12, mlp_width=3072),
        conventions=("pytorch", "symmetric"),
        image_size=224,
        minimum_size=32,
        normalisation="ImageNet mean and deviation (torchvision's weights) or x / 127.5 - 1 (timm's, Hugging Face's)",
        heads=("linear", "dense"),
        pretrained=VIT_B16,
        unfreeze=47,
    )
)
