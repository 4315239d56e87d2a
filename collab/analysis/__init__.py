"""Statistics, estimates, failure modes, annotations and published numbers."""
