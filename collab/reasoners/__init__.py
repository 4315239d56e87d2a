"""Reasoners: models served by endpoints, humans and tools that can take a seat."""
