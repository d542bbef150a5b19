"""What every command stands on: atomic writes, the cache, progress, quiet imports. It imports no framework."""
