"""What scores say: statistics, estimates, failure modes, annotations, published numbers."""
