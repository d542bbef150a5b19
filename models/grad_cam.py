"""Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) in closed form, without automatic differentiation.

Grad-CAM weights each channel of the last feature map by the gradient of a class's logit, averaged over the map. For heads
that pool or flatten and then apply Dense, ReLU and BatchNormalization, the gradient is a product of kernels and ReLU masks.
Any framework and an ONNX file can compute it.
"""

import keras

from models.saved.card import NotExplainableError


class ChannelWeights(keras.layers.Layer):
    """Grad-CAM's channel weights for every class, from the feature map and the output of each ReLU of the head.

    Call it on `[features, *relu outputs]`, features (b, h, w, C); it returns (b, classes, C). `head` has the layers from the
    one that pools or flattens to the Dense layer of the logits, `scale` is the factor of the logits before the softmax.
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
            gradient = keras.ops.mean(keras.ops.reshape(gradient, (-1, last.units, height * width, channels)), axis=2)
        else:  # the gradient of a maximum is in one place, that of an average is spread: the mean is the same
            gradient = gradient / (height * width)
        # A linear head's gradient is the same for all images: zeros (b, 1, C) give it the batch axis.
        return gradient + keras.ops.zeros_like(features[:, :1, 0, :])

    def compute_output_shape(self, shapes):
        return (shapes[0][0], self.head[-1].units, shapes[0][3])


def with_grad_cam(model: keras.Model) -> keras.Model:
    """Return a model that shares the layers and has the two additional outputs that Grad-CAM needs.

    Its outputs are probabilities (b, classes), the last feature map (b, h, w, C) and channel weights (b, classes, C). The heat
    map of class k is `relu(features · weights[k])`, (h, w).

    Raises:
        NotExplainableError: if the head is not pooling to one value a channel (average or maximum) or flattening, then Dense
            (ReLU), Dropout and BatchNormalization in any order, then Dense (softmax); or if there is no feature map.
    """
    head = [layer for layer in model.layers if layer.name.startswith("head_")]
    names = ", ".join(type(layer).__name__ for layer in head)
    scale = 1.0
    if head and isinstance(head[-1], keras.layers.Softmax):  # a layer, behind Dense and perhaps Rescaling
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
            f"The head of {model.name} must be one whose Grad-CAM is known in closed form. Received: {names}"
        )
    features = head[0].input
    weights = ChannelWeights(head, scale, name="grad_cam_weights")([features, *(layer.output for layer in dense)])
    return keras.Model(model.input, [model.outputs[0], features, weights], name=model.name)
