"""Layers that Keras lacks, registered under `thaw`. Import this module before loading a saved model."""

import math

import keras
import numpy as np


@keras.saving.register_keras_serializable("thaw")
class ReverseChannels(keras.layers.Layer):
    """Turn RGB into BGR: (batch, H, W, 3) → (batch, H, W, 3)."""

    def call(self, images):
        return keras.ops.flip(images, axis=-1)


@keras.saving.register_keras_serializable("thaw")
def gelu(x):
    """The exact Gaussian error linear unit (Hendrycks and Gimpel 2016, arXiv 1606.08415), x/2 (1 + erf(x/√2)).

    Keras computes the same with `erfc`, which has no counterpart in ONNX.
    """
    return 0.5 * x * (1.0 + keras.ops.erf(x * math.sqrt(0.5)))


@keras.saving.register_keras_serializable("thaw")
class WhiteningConv2D(keras.layers.Layer):
    """Convolution that whitens patches: (batch, H, W, C) → (batch, H-k+1, W-k+1, 2 k²C), valid padding.

    The filters are the eigenvectors of the patches' covariance over sqrt(eigenvalue + 5e-4), and their negations (Jordan
    2024, arXiv 2404.00498, section 3.1). They are random until `adapt` computes them from images; only the bias is trained.
    `size` is k, the side of a patch in pixels.
    """

    epsilon = 5e-4

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape):
        shape = (self.size, self.size, input_shape[-1], 2 * self.size**2 * input_shape[-1])
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", trainable=False, name="kernel")
        self.bias = self.add_weight(shape=shape[-1:], initializer="zeros", name="bias")

    def adapt(self, images) -> None:
        """Compute the filters from this layer's inputs (n, H, W, C)."""
        patches = np.lib.stride_tricks.sliding_window_view(np.asarray(images, "float32"), (self.size,) * 2, axis=(1, 2))
        flat = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, self.kernel.shape[-1] // 2)  # (n patches, k²C)
        covariance = flat.T @ flat / len(flat)  # about zero, as in the paper's code: the images are standardised
        eigenvalues, eigenvectors = np.linalg.eigh(covariance.astype("float64"))
        filters = (eigenvectors / np.sqrt(eigenvalues + self.epsilon))[:, ::-1]  # columns, largest first
        self.kernel.assign(np.concatenate([filters, -filters], axis=1).reshape(self.kernel.shape))

    def call(self, images):
        return keras.ops.conv(images, self.kernel, padding="valid") + self.bias

    def get_config(self):
        return {**super().get_config(), "size": self.size}


def adaptable(model: keras.Model) -> list[keras.Layer]:
    """Return the layers of a flat model that have `adapt`, which computes their state from data before training."""
    return [layer for layer in model.layers if hasattr(layer, "adapt")]


def adapt(model: keras.Model, images) -> None:
    """Adapt the adaptable layers of a flat model to images (n, S, S, 3), raw RGB in 0..255."""
    for layer in adaptable(model):
        layer.adapt(keras.Model(model.input, layer.input).predict(images, batch_size=100, verbose=0))


@keras.saving.register_keras_serializable("thaw")
class DiracUniform(keras.initializers.Initializer):
    """Initializer of a convolution: the first C filters are the identity of the C input channels, the others U(±1/√fan_in)."""

    def __call__(self, shape, dtype=None):
        height, width, channels, filters = shape
        bound = (height * width * channels) ** -0.5
        identity = np.zeros((height, width, channels, min(channels, filters)), "float32")
        diagonal = np.arange(identity.shape[-1])
        identity[height // 2, width // 2, diagonal, diagonal] = 1.0
        drawn = keras.random.uniform((height, width, channels, filters - len(diagonal)), -bound, bound)
        return keras.ops.cast(keras.ops.concatenate([identity, drawn], axis=-1), dtype or "float32")


@keras.saving.register_keras_serializable("thaw")
class ClassToken(keras.layers.Layer):
    """Prepend a learned token: (batch, T, D) → (batch, 1 + T, D)."""

    def build(self, input_shape):
        self.token = self.add_weight(shape=(1, 1, input_shape[-1]), initializer="zeros", name="token")

    def call(self, tokens):
        first = keras.ops.broadcast_to(self.token, (keras.ops.shape(tokens)[0], 1, tokens.shape[-1]))
        return keras.ops.concatenate([first, tokens], axis=1)


@keras.saving.register_keras_serializable("thaw")
class PositionEmbedding(keras.layers.Layer):
    """Add a learned vector to each token: (batch, T, D) → same. T is g², or 1 + g² with a class token first."""

    def build(self, input_shape):
        self.embedding = self.add_weight(
            shape=(1, *input_shape[1:]), initializer=keras.initializers.TruncatedNormal(stddev=0.02), name="embedding"
        )

    def call(self, tokens):
        return tokens + self.embedding


@keras.saving.register_keras_serializable("thaw")
class SelfAttention(keras.layers.Layer):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, arXiv 1706.03762), without its projections.

    The input is queries, keys and values side by side, from one Dense layer as in PyTorch: (batch, T, 3 D) → (batch, T, D).
    The number of heads must divide D.
    """

    def __init__(self, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def call(self, projected):
        _, tokens, width = projected.shape
        head_width = width // (3 * self.heads)
        # One transposition of the input: keras.ops.dot_product_attention is much slower on a CPU.
        split = keras.ops.reshape(projected, (-1, tokens, 3, self.heads, head_width))
        query, key, value = keras.ops.unstack(
            keras.ops.transpose(split, (2, 0, 3, 1, 4))
        )  # (batch, heads, T, D / heads)
        scores = keras.ops.matmul(query * head_width**-0.5, keras.ops.swapaxes(key, 2, 3))  # (batch, heads, T, T)
        mixed = keras.ops.matmul(keras.ops.softmax(scores), value)
        return keras.ops.reshape(keras.ops.transpose(mixed, (0, 2, 1, 3)), (-1, tokens, width // 3))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable("thaw")
class StochasticDepth(keras.layers.Layer):
    """Stochastic depth (Huang et al. 2016, arXiv 1603.09382) for the branch beside a shortcut: any shape → same.

    In training, each image's branch is dropped with probability `rate`, otherwise scaled by 1 / (1 - rate).
    """

    def __init__(self, rate: float, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, branch, training=False):
        if not training or not self.rate:
            return branch
        shape = (keras.ops.shape(branch)[0], *[1] * (len(branch.shape) - 1))
        drawn = keras.random.uniform(shape, seed=self.seed_generator)
        return keras.ops.where(drawn < self.rate, keras.ops.zeros_like(branch), branch / (1 - self.rate))

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("thaw")
class SequencePooling(keras.layers.Layer):
    """Average of the tokens with learned softmax weights (Hassani et al. 2021, arXiv 2104.05704): (b, T, D) → (b, D)."""

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 1), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, tokens):
        shares = keras.ops.softmax(keras.ops.matmul(tokens, self.kernel) + self.bias, axis=1)  # (b, T, 1)
        return keras.ops.sum(shares * tokens, axis=1)


@keras.saving.register_keras_serializable("thaw")
class FirstToken(keras.layers.Layer):
    """Take the class token: (batch, T, D) → (batch, D)."""

    def call(self, tokens):
        return tokens[:, 0]


def resampled_positions(embedding, tokens: int):
    """Resample position embeddings to another grid: (1, 1 + g², D) → (1, 1 + G², D), where 1 + G² = `tokens`.

    The grid is resized as an image, bicubic and antialiased, as in timm; the class token's embedding is kept. Returns float32,
    or `embedding` itself where it already has `tokens` tokens or either number is not 1 + a square.
    """
    if embedding.ndim != 3 or embedding.shape[0] != 1 or embedding.shape[1] < 2:
        return embedding
    had, wanted = math.isqrt(embedding.shape[1] - 1), math.isqrt(tokens - 1)
    if embedding.shape[1] == tokens or had**2 + 1 != embedding.shape[1] or wanted**2 + 1 != tokens:
        return embedding
    grid = embedding[:, 1:].reshape(1, had, had, -1).astype("float32")
    resized = keras.ops.image.resize(grid, (wanted, wanted), interpolation="bicubic", antialias=True)
    flat = keras.ops.convert_to_numpy(keras.ops.reshape(resized, (1, wanted**2, -1)))
    return keras.ops.convert_to_numpy(keras.ops.concatenate([embedding[:, :1].astype("float32"), flat], axis=1))
