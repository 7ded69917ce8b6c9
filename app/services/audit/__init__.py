"""The audit log: how entries are made, proved, read, exported and pruned."""
