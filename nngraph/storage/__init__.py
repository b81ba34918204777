"""Files of models and of trainings: what is in them, how they are written whole, and how they are read with care."""
