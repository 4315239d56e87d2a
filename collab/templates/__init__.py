"""Chat templates: load and render them, with limits on time and memory."""
