"""Programs as Python that a person would have written."""
