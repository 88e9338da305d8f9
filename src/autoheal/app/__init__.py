"""The composition roots: the only place where everything meets."""
