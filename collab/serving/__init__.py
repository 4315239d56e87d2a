"""One OpenAI-compatible web app around an async `complete()`, with vLLM's extensions.

Anything that can continue a sequence of tokens plugs in as a `Backend`: the pocket models, the
scripted fake, a served collaboration. When a client disconnects, its work stops, streaming or not.
"""

from collab.serving.app import build_app
from collab.serving.backend import (
    Backend,
    Card,
    ChatTurns,
    Defaults,
    Job,
    Piece,
    TokenLogprob,
    WireError,
)
from collab.serving.guard import Guard, own_names
from collab.serving.server import UvicornServer, address, key_for, key_in, listen, serve
from collab.serving.template import ChatTemplate
from collab.serving.transcript import Transcript

__all__ = [
    "Backend",
    "Card",
    "ChatTemplate",
    "ChatTurns",
    "Defaults",
    "Guard",
    "Job",
    "Piece",
    "TokenLogprob",
    "Transcript",
    "UvicornServer",
    "WireError",
    "address",
    "build_app",
    "key_for",
    "key_in",
    "listen",
    "own_names",
    "serve",
]
