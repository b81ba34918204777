"""Straight-line array programs: what they are, and what can be done to them."""
