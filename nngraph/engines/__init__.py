"""Engines: what runs a Program."""
