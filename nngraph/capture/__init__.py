"""Recording: what gates ask NumPy for, written down as a Program."""
