"""The table of browsers that take push messages."""
