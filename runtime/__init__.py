"""Files, cache, progress and logging for all commands. Importing it imports no framework."""
