"""What a run is made of: one file a choice, one file a published experiment."""
