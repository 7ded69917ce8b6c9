"""The tables of the second factor: factors, backup codes, challenges."""
