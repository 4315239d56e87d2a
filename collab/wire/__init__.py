"""One OpenAI-compatible web app around an async `complete()`, with vLLM's extensions.

Whatever can continue a sequence of tokens plugs in as a `Backend`: the pocket models, the scripted
fake, a served collaboration. A client that goes away stops its work, streaming or not.
"""

from collab.wire.app import build_app
from collab.wire.backend import Backend, Card, Chat, Defaults, Job, Piece, TokenLogprob, WireError
from collab.wire.guard import Guard, own_names
from collab.wire.serving import Server, address, key_for, key_in, listen, serve
from collab.wire.template import ChatTemplate
from collab.wire.transcript import Transcript

__all__ = [
    "Backend",
    "Card",
    "Chat",
    "ChatTemplate",
    "Defaults",
    "Guard",
    "Job",
    "Piece",
    "Server",
    "TokenLogprob",
    "Transcript",
    "WireError",
    "address",
    "build_app",
    "key_for",
    "key_in",
    "listen",
    "own_names",
    "serve",
]
