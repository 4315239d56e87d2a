"""A protocol and a scenario for collab."""
