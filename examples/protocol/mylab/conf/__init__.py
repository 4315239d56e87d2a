"""The files that `collab` finds by the entry point."""
