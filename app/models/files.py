"""The tables of stored files."""
