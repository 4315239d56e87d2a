"""Pocket reasoners: real language models small enough to ship, served as any other endpoint is."""
