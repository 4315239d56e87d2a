"""The conf files of this package, which `collab` finds by its entry point."""
