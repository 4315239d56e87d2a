"""The built-in scenarios, one a module."""
