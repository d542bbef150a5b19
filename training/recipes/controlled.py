"""The same budget for every network, to compare networks: Adam at 1e-3, 15 epochs, batch 128, no augmentation.

A pretrained backbone stays frozen; a network without pretrained weights trains all its layers. The weights of the epoch
with the lowest validation loss are kept.

CIFAR-10 test accuracy, number of runs, minutes on two cores (results/comparison.json):

    python train.py --model efficientnet_lite0 --recipe controlled --phase head    89.00 %, n = 3, 3 min
    python train.py --model speedrun_cnn --recipe controlled                       88.69 %, n = 1, 22 min
    python train.py --model mobilenet_v2 --recipe controlled --phase head          86.81 %, n = 3, 3 min
    python train.py --model custom_cnn --recipe controlled                         75.01 %, n = 3, 10 min
"""

from training.recipes import register_recipe
from training.recipes.recipe import PhaseConfig, Recipe

HEAD = PhaseConfig("head", learning_rate=1e-3, epochs=15, batch_size=128, patience=15)
SCRATCH = PhaseConfig("scratch", learning_rate=1e-3, epochs=15, batch_size=128, patience=15)

register_recipe("controlled", Recipe(phases=(HEAD, SCRATCH)), __doc__)
