"""A fake endpoint: a real server whose answers are a script, and that can imitate any other.

It speaks like the servers of `Api`, does the wrong things of `Trait`, and fails in the ways of
`Failure`. A client of any make can be tested against it.

async with ScriptedServer({"2+2": "It is 4.</think>4"}, traits=["stop_trimmed"]) as server:
    ...  # any client, at server.url
assert server.requests[0].body["stop"] == ["."]
"""

from collab.endpoints.scripted.apis import Api
from collab.endpoints.scripted.faults import Failure
from collab.endpoints.scripted.mind import EOS, TEMPLATE, Script, WordTokenizer, attentive, recite
from collab.endpoints.scripted.server import Received, ScriptedServer
from collab.endpoints.scripted.traits import Trait

__all__ = [
    "EOS",
    "TEMPLATE",
    "Api",
    "Failure",
    "Received",
    "Script",
    "ScriptedServer",
    "Trait",
    "WordTokenizer",
    "attentive",
    "recite",
]
