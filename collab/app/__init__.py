"""What the command line calls: composing, connecting, seating, and what the user trusts."""
