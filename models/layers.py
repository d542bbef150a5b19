"""The few layers that Keras lacks. They are registered under `thaw`: import this module before loading a saved model."""

import math

import keras


@keras.saving.register_keras_serializable("thaw")
class ReverseChannels(keras.layers.Layer):
    """Turn RGB into BGR: (batch, H, W, 3) → (batch, H, W, 3)."""

    def call(self, images):
        return keras.ops.flip(images, axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("thaw")
def gelu(x):
    """The exact Gaussian error linear unit (Hendrycks and Gimpel 2016, arXiv 1606.08415), x/2 (1 + erf(x/√2)).

    Keras's own computes the same by `erfc`, which has no counterpart in ONNX.
    """
    return 0.5 * x * (1.0 + keras.ops.erf(x * math.sqrt(0.5)))


@keras.saving.register_keras_serializable("thaw")
class ClassToken(keras.layers.Layer):
    """Put a learned token before the others: (batch, T, D) → (batch, 1 + T, D)."""

    def build(self, input_shape):
        self.token = self.add_weight(shape=(1, 1, input_shape[-1]), initializer="zeros", name="token")

    def call(self, tokens):
        first = keras.ops.broadcast_to(self.token, (keras.ops.shape(tokens)[0], 1, tokens.shape[-1]))
        return keras.ops.concatenate([first, tokens], axis=1)

    def compute_output_shape(self, input_shape):
        batch, tokens, width = input_shape
        return (batch, tokens + 1, width)


@keras.saving.register_keras_serializable("thaw")
class PositionEmbedding(keras.layers.Layer):
    """Add a learned vector to each of 1 + g² tokens, the class token's first: (batch, 1 + g², D) → the same."""

    def build(self, input_shape):
        self.embedding = self.add_weight(
            shape=(1, *input_shape[1:]), initializer=keras.initializers.TruncatedNormal(stddev=0.02), name="embedding"
        )

    def call(self, tokens):
        return tokens + self.embedding

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("thaw")
class SelfAttention(keras.layers.Layer):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, arXiv 1706.03762), without its projections.

    Queries, keys and values come in side by side from one Dense layer, as PyTorch's networks hold them:
    (batch, T, 3 D) → (batch, T, D).

    Args:
        heads: their number, a divisor of D.
    """

    def __init__(self, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def call(self, projected):
        _, tokens, width = projected.shape
        head_width = width // (3 * self.heads)
        split = keras.ops.reshape(projected, (-1, tokens, 3, self.heads, head_width))
        query, key, value = (split[:, :, part] for part in range(3))  # (batch, T, heads, D / heads)
        mixed = keras.ops.dot_product_attention(query, key, value)
        return keras.ops.reshape(mixed, (-1, tokens, width // 3))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // 3)

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable("thaw")
class FirstToken(keras.layers.Layer):
    """Take the class token: (batch, T, D) → (batch, D)."""

    def call(self, tokens):
        return tokens[:, 0]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[2])


def resampled_positions(embedding, tokens: int):
    """Fit position embeddings to another grid: (1, 1 + g², D) → (1, 1 + G², D), where 1 + G² = `tokens`.

    The grid's part is resized as an image, bicubic and antialiased, as timm does; the class token's is kept.

    Args:
        embedding: a float array.
        tokens: the number wanted.

    Returns:
        A float32 array; `embedding` itself where it has the number already, is of another form, or where either number is
        not 1 + a square.
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
