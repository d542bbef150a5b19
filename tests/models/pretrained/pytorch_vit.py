"""The Vision Transformer ViT-B/16 (Dosovitskiy et al. 2020, arXiv 2010.11929) in plain PyTorch, in the names of three projects.

torchvision's attention is `nn.MultiheadAttention`; timm has one linear layer for queries, keys and values; Hugging Face has
three. The others' attention is written out, so the implementations check one another.
"""

from typing import NamedTuple

import torch
from torch import nn

WIDTH, HEADS, HIDDEN, PATCH, DEPTH = 768, 12, 3072, 16, 12


class Names(NamedTuple):
    """Dotted names of the modules; those of a block follow `block`, and there is one name or three for the projection."""

    token: str
    positions: str
    patches: str
    block: str
    norm_1: str
    projections: tuple[str, ...]
    attention_output: str
    norm_2: str
    hidden: str
    output: str
    norm: str
    classifier: str


def torchvision_names(hidden: str = "mlp.0", output: str = "mlp.3") -> Names:
    outside = ("class_token", "encoder.pos_embedding", "conv_proj", "encoder.layers.encoder_layer_{}")
    block = ("ln_1", ("self_attention",), "", "ln_2", hidden, output)
    return Names(*outside, *block, "encoder.ln", "heads.head")


TIMM = Names(
    *("cls_token", "pos_embed", "patch_embed.proj", "blocks.{}"),
    *("norm1", ("attn.qkv",), "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"),
    *("norm", "head"),
)
HUGGINGFACE = Names(
    *("vit.embeddings.cls_token", "vit.embeddings.position_embeddings", "vit.embeddings.patch_embeddings.projection"),
    *("vit.encoder.layer.{}", "layernorm_before"),
    tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
    *("attention.output.dense", "layernorm_after", "intermediate.dense", "output.dense"),
    *("vit.layernorm", "classifier"),
)


class ViT(nn.Module):
    def __init__(self, classes: int, size: int, names: Names, epsilon: float = 1e-6):
        super().__init__()
        self.names = names
        tokens = 1 + (size // PATCH) ** 2
        self.put(names.token, nn.Parameter(torch.zeros(1, 1, WIDTH)))
        self.put(names.positions, nn.Parameter(torch.zeros(1, tokens, WIDTH)))
        self.put(names.patches, nn.Conv2d(3, WIDTH, PATCH, PATCH))
        for number in range(DEPTH):
            block = names.block.format(number)
            self.put(f"{block}.{names.norm_1}", nn.LayerNorm(WIDTH, eps=epsilon))
            for name in names.projections:
                wide = nn.Linear(WIDTH, 3 * WIDTH // len(names.projections))
                attention = wide if names.attention_output else nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
                self.put(f"{block}.{name}", attention)
            if names.attention_output:
                self.put(f"{block}.{names.attention_output}", nn.Linear(WIDTH, WIDTH))
            self.put(f"{block}.{names.norm_2}", nn.LayerNorm(WIDTH, eps=epsilon))
            self.put(f"{block}.{names.hidden}", nn.Linear(WIDTH, HIDDEN))
            self.put(f"{block}.{names.output}", nn.Linear(HIDDEN, WIDTH))
        self.put(names.norm, nn.LayerNorm(WIDTH, eps=epsilon))
        self.put(names.classifier, nn.Linear(WIDTH, classes))

    def put(self, name: str, value: nn.Module | nn.Parameter) -> None:
        """Set a dotted name, creating the modules on the way."""
        *parents, last = name.split(".")
        module = self
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, nn.Module())
            module = getattr(module, parent)
        setattr(module, last, value)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        names = self.names
        patches = self.get_submodule(names.patches)(x).flatten(2).transpose(1, 2)  # (b, g², D)
        token = self.get_parameter(names.token).expand(len(x), -1, -1)
        x = torch.cat([token, patches], dim=1) + self.get_parameter(names.positions)
        for number in range(DEPTH):
            block = self.get_submodule(names.block.format(number))
            x = x + self.attention(block, block.get_submodule(names.norm_1)(x))
            hidden = block.get_submodule(names.hidden)(block.get_submodule(names.norm_2)(x))
            x = x + block.get_submodule(names.output)(nn.functional.gelu(hidden))
        return self.get_submodule(names.norm)(x)[:, 0]

    def attention(self, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        projections = [block.get_submodule(name) for name in self.names.projections]
        if isinstance(projections[0], nn.MultiheadAttention):
            return projections[0](x, x, x, need_weights=False)[0]
        projected = torch.cat([projection(x) for projection in projections], dim=-1)  # (b, T, 3 D)
        batch, tokens, _ = projected.shape
        query, key, value = projected.view(batch, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, tokens, WIDTH)
        return block.get_submodule(self.names.attention_output)(mixed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(self.names.classifier)(self.features(x))
