"""Measures the event backbone: what an event costs, how fast it is there, and what streams take."""
