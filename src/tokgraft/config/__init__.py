"""The configuration: pydantic models (unknown keys rejected, every field described) and the files they are read from."""
