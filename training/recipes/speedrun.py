"""airbench (Jordan 2024, arXiv 2404.00498): a small CNN from scratch in ten epochs; wider and longer for 95 and 96 %.

Every image is flipped in every second epoch. Differences from the author's code: weights and updates are float32 and only
the arithmetic is bfloat16, except for whitening and head; the last, smaller batch of an epoch is kept; moving variances are
biased; 1,000 images are held back, and whitening uses the first 5,000 of the others; each epoch's accuracy is that of the
averaged weights; CutOut fills with the batch's mean colour and may cross the border. Keras applies the learning rate inside
the momentum, PyTorch outside: steps are 6 % shorter here while the learning rate rises, and 17 % longer at the end.

CIFAR-10 test accuracy, number of runs, minutes on two cores (results/accuracy.json). speedrun_95 and speedrun_96, the
defaults of speedrun_cnn_95 and speedrun_cnn_96, are for a GPU and were not run.

    python train.py --model speedrun_cnn                                93.19 %, n = 1, 21 min
    python train.py --model speedrun_cnn --views robust --epochs 24     93.01 %, n = 1, 46 min
"""

from dataclasses import replace

from training.recipes import register_recipe
from training.recipes.recipe import PhaseConfig, Recipe

MOMENTUM = 0.85
STEP_LENGTH = 1 + 1 / (1 - MOMENTUM)  # of Nesterov's steps, in multiples of the gradient


def keras_rate(stated: float) -> float:
    """Convert the paper's learning rate, stated before Nesterov momentum lengthens the steps, for Keras."""
    return stated / STEP_LENGTH


def keras_decay(stated: float, learning_rate: float) -> float:
    """Convert the paper's weight decay, which passes through the momentum, for Keras, which subtracts it directly."""
    return stated / (1 - MOMENTUM) / STEP_LENGTH / learning_rate


SCRATCH = PhaseConfig(
    "scratch",
    optimizer="sgd",
    learning_rate=keras_rate(11.5),
    momentum=MOMENTUM,
    weight_decay=keras_decay(0.0153, keras_rate(11.5)),
    schedule="triangle",
    triangle=(0.2, 0.23, 0.07),
    label_smoothing=0.2,
    bias_rate=64.0,
    average="lookahead",
    freeze_at=(("whitening", 3),),
    epochs=9.9,
    batch_size=1024,
    patience=None,
)
SPEEDRUN = Recipe(
    phases=(SCRATCH,),
    views=("identity", "flip"),
    augment=("translate",),
    precision="mixed_bfloat16",
    validation=1000,
    tta_views=(
        "identity",
        "identity",
        "translate_1_1",
        "translate_-1_-1",
        "flip",
        "flip",
        "translate_1_1+flip",
        "translate_-1_-1+flip",
    ),
)
SCRATCH_95 = replace(
    SCRATCH, learning_rate=keras_rate(10.0), weight_decay=keras_decay(0.0153, keras_rate(10.0)), epochs=15
)
SCRATCH_96 = replace(
    SCRATCH,
    learning_rate=keras_rate(9.0),
    weight_decay=keras_decay(0.012, keras_rate(9.0)),
    triangle=(0.2, 0.1, 0.0),
    epochs=37,
)

register_recipe("speedrun", SPEEDRUN, __doc__, default_for="speedrun_cnn")
register_recipe("speedrun_95", replace(SPEEDRUN, phases=(SCRATCH_95,)), __doc__, default_for="speedrun_cnn_95")
register_recipe(
    "speedrun_96",
    replace(SPEEDRUN, phases=(SCRATCH_96,), augment=("crop", "cutout_12")),
    __doc__,
    default_for="speedrun_cnn_96",
)
