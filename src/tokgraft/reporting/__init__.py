"""Tables, figures and the report, from finished artifacts alone."""
