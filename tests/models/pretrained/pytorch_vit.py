"""The Vision Transformer ViT-B/16 (Dosovitskiy et al. 2020, arXiv 2010.11929) in plain PyTorch, in three sets of names.

torchvision's is built on `nn.MultiheadAttention`; timm's has one linear layer for queries, keys and values; Hugging Face's
has three. Each computes attention in its own way, so they check one another too.
"""

import torch
from torch import nn

WIDTH, HEADS, HIDDEN, PATCH = 768, 12, 3072, 16


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """(b, T, D) each → (b, T, D), written out."""
    batch, tokens, width = query.shape
    split = (each.view(batch, tokens, HEADS, width // HEADS).transpose(1, 2) for each in (query, key, value))
    query, key, value = split
    scores = query @ key.transpose(-2, -1) / (width // HEADS) ** 0.5
    return (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, tokens, width)


def with_token(patches: torch.Tensor, token: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """(b, D, g, g) → (b, 1 + g², D)."""
    tokens = patches.flatten(2).transpose(1, 2)
    return torch.cat([token.expand(len(tokens), -1, -1), tokens], dim=1) + positions


def tokens_of(size: int) -> int:
    return 1 + (size // PATCH) ** 2


class TorchvisionBlock(nn.Module):
    def __init__(self, mlp_names: tuple[str, str]):
        super().__init__()
        self.ln_1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.ln_2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp, self.mlp_names = nn.Module(), mlp_names
        self.mlp.add_module(mlp_names[0], nn.Linear(WIDTH, HIDDEN))
        self.mlp.add_module(mlp_names[1], nn.Linear(HIDDEN, WIDTH))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = self.ln_1(inputs)
        x = self.self_attention(x, x, x, need_weights=False)[0] + inputs
        first, second = (getattr(self.mlp, name) for name in self.mlp_names)
        return x + second(nn.functional.gelu(first(self.ln_2(x))))


class TorchvisionViT(nn.Module):
    def __init__(self, classes: int, size: int, depth: int = 12, mlp_names: tuple[str, str] = ("0", "3")):
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.conv_proj = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.zeros(1, tokens_of(size), WIDTH))
        self.encoder.layers = nn.Sequential()
        for number in range(depth):
            self.encoder.layers.add_module(f"encoder_layer_{number}", TorchvisionBlock(mlp_names))
        self.encoder.ln = nn.LayerNorm(WIDTH, eps=1e-6)
        self.heads = nn.Sequential()
        self.heads.add_module("head", nn.Linear(WIDTH, classes))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = with_token(self.conv_proj(x), self.class_token, self.encoder.pos_embedding)
        return self.encoder.ln(self.encoder.layers(x))[:, 0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.heads(self.features(x))


class TimmBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6), nn.LayerNorm(WIDTH, eps=1e-6)
        self.attn = nn.Module()
        self.attn.qkv, self.attn.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn.proj(attend(*self.attn.qkv(self.norm1(x)).chunk(3, dim=-1)))
        return x + self.mlp.fc2(nn.functional.gelu(self.mlp.fc1(self.norm2(x))))


class TimmViT(nn.Module):
    def __init__(self, classes: int, size: int, depth: int = 12):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens_of(size), WIDTH))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.blocks = nn.Sequential(*(TimmBlock() for _ in range(depth)))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.head = nn.Linear(WIDTH, classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = with_token(self.patch_embed.proj(x), self.cls_token, self.pos_embed)
        return self.norm(self.blocks(x))[:, 0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


def nested(**modules: nn.Module) -> nn.Module:
    module = nn.Module()
    for name, inner in modules.items():
        module.add_module(name, inner)
    return module


class HuggingFaceBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.layernorm_before, self.layernorm_after = nn.LayerNorm(WIDTH, eps=1e-12), nn.LayerNorm(WIDTH, eps=1e-12)
        inner = nested(**{name: nn.Linear(WIDTH, WIDTH) for name in ("query", "key", "value")})
        self.attention = nested(attention=inner, output=nested(dense=nn.Linear(WIDTH, WIDTH)))
        self.intermediate, self.output = nested(dense=nn.Linear(WIDTH, HIDDEN)), nested(dense=nn.Linear(HIDDEN, WIDTH))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x, inner = self.layernorm_before(inputs), self.attention.attention
        x = inputs + self.attention.output.dense(attend(inner.query(x), inner.key(x), inner.value(x)))
        hidden = nn.functional.gelu(self.intermediate.dense(self.layernorm_after(x)))
        return x + self.output.dense(hidden)


class HuggingFaceViT(nn.Module):
    def __init__(self, classes: int, size: int, depth: int = 12):
        super().__init__()
        embeddings = nested(patch_embeddings=nested(projection=nn.Conv2d(3, WIDTH, PATCH, PATCH)))
        embeddings.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        embeddings.position_embeddings = nn.Parameter(torch.zeros(1, tokens_of(size), WIDTH))
        layers = nn.Sequential(*(HuggingFaceBlock() for _ in range(depth)))
        self.vit = nested(embeddings=embeddings, encoder=nested(layer=layers), layernorm=nn.LayerNorm(WIDTH, eps=1e-12))
        self.classifier = nn.Linear(WIDTH, classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        embeddings = self.vit.embeddings
        patches = embeddings.patch_embeddings.projection(x)
        x = with_token(patches, embeddings.cls_token, embeddings.position_embeddings)
        return self.vit.layernorm(self.vit.encoder.layer(x))[:, 0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x))
