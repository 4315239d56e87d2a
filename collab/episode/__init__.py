"""Episodes: the engine asks the policy, lets a seat write, and appends to the trajectory."""
