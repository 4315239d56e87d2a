"""Who can sit in a seat: a model behind an endpoint, a human, a tool."""
