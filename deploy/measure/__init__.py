"""How fast, how large and how dependable the API is, measured on the real process."""
