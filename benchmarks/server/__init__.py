"""Server processes and load for the serving experiments."""
