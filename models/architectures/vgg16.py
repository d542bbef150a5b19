"""VGG16 (Simonyan and Zisserman 2014, arXiv 1409.1556): thirteen 3×3 convolutions in the graph of Keras Applications."""

import keras

from models.preprocessing import caffe_scaling, imagenet_scaling
from models.pretrained.downloads import APPLICATIONS, KerasDownload, lpips_file
from models.pretrained.sources import plain_cnn_pretrained
from models.registry import register_model

LAYERS = tuple(f"block{block}_conv{number}" for block in range(1, 6) for number in range(1, 3 if block < 3 else 4))
PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of the convolutions in torchvision's `features`
PRETRAINED = plain_cnn_pretrained(
    "VGG16",
    lpips_file("vgg16.ckpt", 58_866_625, "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
    convolutions=dict(zip(LAYERS, PLACES, strict=True)),
    classifier=(0, 3, 6),
    classifier_head="vgg_classifier",
    keras=KerasDownload(
        f"{APPLICATIONS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="6d6bbae143d832006294945121d1f1fc",
    ),
)


def vgg16_backbone(image_size: int, convention: str) -> keras.Model:
    """Build the backbone: (S, S, 3) → (S/32, S/32, 512). PyTorch's and Keras's graphs differ only in the scaling."""
    image = keras.Input((image_size, image_size, 3), name="image")
    x = caffe_scaling(image) if convention == "keras" else imagenet_scaling(image)
    return keras.applications.VGG16(include_top=False, weights=None, input_tensor=x)


register_model(
    name="vgg16",
    backbone=vgg16_backbone,
    conventions=("pytorch", "keras"),
    image_size=96,
    heads=("linear", "dense", "vgg_classifier"),
    pretrained=PRETRAINED,
    unfreeze=4,
)
