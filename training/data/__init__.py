"""Data sets as values: CIFAR-10, splits, `tf.data` pipelines, augmentation and views."""
