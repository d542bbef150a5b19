"""Frozen backbone, then its last layers at a low learning rate: the two phases of the Keras transfer-learning guide.

The head trains with Adam at 1e-3 on the frozen backbone, then the last N layers (50 of MobileNetV2) at 1e-5, both with
early stopping on the validation loss. A network without pretrained weights trains all its layers, with Adam and a cosine
from 1e-3 to 0: at a constant learning rate, the validation accuracy of networks with BatchNormalization varies by several
points between epochs.

CIFAR-10 test accuracy, number of runs, minutes on two cores (results/reference.json, results/accuracy.json):

    python train.py --model mobilenet_v2 --phase head                      86.87 %, n = 3, 3 min
    python train.py --model mobilenet_v2                                   91.93 %, n = 2, 52 min
    python train.py --model custom_cnn --views robust                      80.01 %, n = 1, 18 min
    python train.py --model custom_cnn --epochs 15 --augment flip          78.07 %, n = 1, 5 min
    python train.py --model custom_cnn_bn --epochs 15 --augment flip,shift,rotate    79.55 %, n = 1, 14 min
"""

from training.recipes import register_recipe
from training.recipes.recipe import PhaseConfig, Recipe

HEAD = PhaseConfig("head", learning_rate=1e-3, epochs=20)
FINETUNE = PhaseConfig("finetune", learning_rate=1e-5, epochs=10)
SCRATCH = PhaseConfig("scratch", learning_rate=1e-3, epochs=30, batch_size=64, patience=5, schedule="cosine")

register_recipe("reference", Recipe(phases=(HEAD, FINETUNE, SCRATCH)), __doc__)
