"""What a person reads: tables, one trajectory in colour, progress."""
