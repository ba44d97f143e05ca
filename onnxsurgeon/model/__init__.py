"""Model files: reading and writing them, with weights loaded only when needed."""
