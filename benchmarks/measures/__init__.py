"""Statistics of predictions and files that experiments share."""
