"""Tables and the report, made from scores alone."""
