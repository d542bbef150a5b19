"""A small vision transformer from scratch in 16 epochs: the optimizer settings of DeiT (Touvron et al. 2021).

AdamW, warm-up, cosine, label smoothing, stochastic depth and averaged weights are as in arXiv 2012.12877, except that all
weights decay. Its MixUp, CutMix, random erasing and RandAugment, meant for hundreds of epochs, are left out and untested.

CIFAR-10 test accuracy, number of runs, minutes on two cores (results/accuracy.json):

    python train.py --model vit_tiny    82.82 %, n = 1, 65 min
"""

from training.recipes import register_recipe
from training.recipes.recipe import PhaseConfig, Recipe

SCRATCH = PhaseConfig(
    "scratch",
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup=1.0,
    label_smoothing=0.1,
    average="ema",
    epochs=16,
    batch_size=256,
    patience=None,
)
VIT = Recipe(
    phases=(SCRATCH,),
    views=("identity", "flip"),
    augment=("translate",),
    precision="mixed_bfloat16",
    tta_views=("identity", "flip"),
)

register_recipe("vit", VIT, __doc__, default_for="vit_tiny")
