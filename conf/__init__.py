"""The conf groups: one file per choice, and one per published experiment."""
