"""What a command found: as JSON, as tables, as a page."""
