"""Model files: read, written, and their weights loaded only when needed."""
