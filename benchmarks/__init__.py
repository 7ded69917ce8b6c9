"""The load harness: what a request costs here, next to the least that it could cost on the same machine."""
