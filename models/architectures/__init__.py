"""One file per network: its backbone, where its weights come from, and its entry in the registry."""
