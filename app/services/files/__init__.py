"""Files: how they are received, stored, served and collected, and the addresses they have."""
