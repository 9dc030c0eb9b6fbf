"""Apply a method to a model folder and write a complete adapted model."""
