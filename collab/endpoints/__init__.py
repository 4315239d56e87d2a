"""Everything that talks to a model server; the only home of `openai` and `asyncio_throttle`."""
