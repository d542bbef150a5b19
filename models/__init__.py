"""What a network is: the registry, the heads, and one file per architecture."""
