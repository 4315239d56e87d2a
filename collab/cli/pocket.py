"""`collab pocket`: serve the shipped reasoners."""


def main(argv: list[str]) -> int:
    """Serve until stopped."""
    from collab.pocket.__main__ import main as serve

    return serve(argv)
