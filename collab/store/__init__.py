"""Generations, each sampled once: the database, single flight, and the keys of draws."""
