"""Chat templates: read, rendered, and capped where they come from strangers."""
