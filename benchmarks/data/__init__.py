"""Pictures that experiments need beside CIFAR-10."""
