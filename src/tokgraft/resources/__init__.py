"""What methods ask for beside the two vocabularies: one module each, found by the registry."""
