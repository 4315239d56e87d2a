"""The store of generations: its database, single-flight sampling, and the keys of draws."""
