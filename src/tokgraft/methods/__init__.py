"""Ways of making the rows of a new vocabulary: one module each, found by the registry."""
