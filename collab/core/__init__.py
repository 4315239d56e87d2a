"""The values that everything else is made of: trajectories, boundaries, decisions, cost."""
