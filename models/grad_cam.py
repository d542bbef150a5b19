"""Grad-CAM in closed form (Selvaraju et al. 2017, arXiv 1610.02391): for a small head the gradient can be written down.

Grad-CAM weighs each channel of the last feature map by the mean, over the map, of a class's logit derived by that channel.
Behind the map stand pooling or flattening, dense layers with ReLU and BatchNormalization, so that this gradient is a
product of kernels with the ReLUs' on-and-off between them: three matrix products, in any framework, and in an ONNX file.
"""

import keras

from models.saved.card import NotExplainableError


class ChannelWeights(keras.layers.Layer):
    """Grad-CAM's channel weights for every class, from the feature map and the output of each ReLU of the head.

    Call it on `[features, *relu outputs]`, features (b, h, w, C); it returns (b, classes, C).

    Args:
        head: from the layer that pools or flattens to the Dense layer that makes the logits.
        scale: what the logits are multiplied by before the softmax.
    """

    def __init__(self, head: list[keras.Layer], scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.head = head
        self.scale = scale

    def call(self, inputs):
        features, *activations = inputs
        _, height, width, channels = features.shape
        pooling, *between, last = self.head
        gradient = self.scale * keras.ops.transpose(last.kernel)[None]  # (1, classes, units)
        for layer in reversed(between):
            if isinstance(layer, keras.layers.BatchNormalization):
                scale = keras.ops.rsqrt(layer.moving_variance + layer.epsilon)
                gradient = gradient * (scale * layer.gamma if layer.scale else scale)
            elif isinstance(layer, keras.layers.Dense):
                on = keras.ops.cast(activations.pop() > 0, gradient.dtype)  # (b, units)
                gradient = gradient * on[:, None]  # (b, classes, units)
                gradient = keras.ops.matmul(gradient, keras.ops.transpose(layer.kernel))
        if isinstance(pooling, keras.layers.Flatten):
            classes = last.units
            gradient = keras.ops.reshape(gradient, (-1, classes, height * width, channels))
            gradient = keras.ops.mean(gradient, axis=2)
        else:  # of one maximum the gradient stands at one place, of an average it is spread: the mean is the same
            gradient = gradient / (height * width)
        of_each = keras.ops.zeros_like(
            features[:, :1, 0, :]
        )  # (b, 1, C): a linear head's gradient has no batch of its own
        return gradient + of_each

    def compute_output_shape(self, shapes):
        features = shapes[0]
        return (features[0], self.head[-1].units, features[3])


def with_grad_cam(model: keras.Model) -> keras.Model:
    """Return the model with two more outputs: what Grad-CAM needs for any class.

    Returns:
        A model of the same layers and input; outputs probabilities (b, classes), the last feature map (b, h, w, C) and
        channel weights (b, classes, C). The heat map of class k is `relu(features · weights[k])`, (h, w).

    Raises:
        NotExplainableError: a head other than pooling to one value a channel (average or maximum) or flattening, then Dense
            (ReLU), Dropout and BatchNormalization in any order, then Dense (softmax); or no feature map in front of it.
    """
    head = [layer for layer in model.layers if layer.name.startswith("head_")]
    names = ", ".join(type(layer).__name__ for layer in head)
    scale = 1.0
    if head and isinstance(
        head[-1], keras.layers.Softmax
    ):  # logits, perhaps scaled, then softmax, as layers of their own
        head.pop()
        if isinstance(head[-1], keras.layers.Rescaling) and not head[-1].offset:
            scale = head.pop().scale
    known = keras.layers.Dense | keras.layers.Dropout | keras.layers.BatchNormalization
    maximum = head and isinstance(head[0], keras.layers.MaxPooling2D) and head[0].output.shape[1:3] == (1, 1)
    if maximum and isinstance(head[1], keras.layers.Flatten):
        del head[1]
    pooled = maximum or (head and isinstance(head[0], keras.layers.GlobalAveragePooling2D | keras.layers.Flatten))
    dense = [layer for layer in head[1:-1] if isinstance(layer, keras.layers.Dense)]
    rectified = all(layer.activation is keras.activations.relu for layer in dense)
    if len(head) < 2 or not pooled or not rectified or not all(isinstance(layer, known) for layer in head[1:]):
        raise NotExplainableError(
            f"{model.name} has no head that Grad-CAM is known for in closed form. Received: {names}"
        )
    features = head[0].input
    weights = ChannelWeights(head, scale, name="grad_cam_weights")([features, *(layer.output for layer in dense)])
    return keras.Model(model.input, [model.outputs[0], features, weights], name=model.name)
