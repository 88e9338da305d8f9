"""Environment and policy file, read into frozen settings and core types."""
