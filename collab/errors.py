"""Every error a caller of collab may want to catch.

```
CollabError
├── ConfigError         a setting is wrong; nothing was sent
├── PolicyError         a policy broke its contract
├── EndpointError       a server could not do what was asked
│   ├── Unreachable     no connection, or none in time
│   ├── BadReply        an answer that is not the API's (HTML, a missing field)
│   │   ├── PromptChanged   the server read another prompt than was sent
│   │   └── KeyRepeated     the server wrote the key into what it drew
│   ├── Rejected        the server refused the request (4xx)
│   │   └── Denied      it would refuse any: the key, the quota or the model's name
│   └── ContextFull     the prompt leaves no room in the model's context
├── CapReached          the run has spent what it may
├── LaunchError         a local server did not start
├── StoreError          the generation store cannot be used
├── GradingError        a grader could not be run at all
├── SandboxError        a program could not be run, or not safely
├── SweepError          some runs of a sweep could not be played
└── RunError            a run folder cannot be entered
```
"""

from collections.abc import Mapping, Sequence
from typing import Any


class CollabError(Exception):
    """The root: catch it to catch whatever collab raises on purpose."""


class ConfigError(CollabError):
    """A setting is wrong; the message names the value, the allowed ones and the fix."""


class PolicyError(CollabError):
    """A policy decided something that the trajectory or the team does not allow."""


class EndpointError(CollabError):
    """A server could not do what was asked of it."""


class Unreachable(EndpointError):
    """No connection to the server, or no answer before the deadline."""


class BadReply(EndpointError):
    """The server answered with something that is no reply of the API."""


class PromptChanged(BadReply):
    """The server read another prompt than the one that was sent: the draw does not count."""


class KeyRepeated(BadReply):
    """The server wrote the key into what it drew: the draw does not count, nor is it kept."""


class Rejected(EndpointError):
    """The server understood the request and refused it (a 4xx status)."""


class Denied(Rejected):
    """The server would refuse any request: the key, the quota or the model's name is wrong."""


class ContextFull(EndpointError):
    """The prompt leaves no room for a single token in the model's context."""


class CapReached(CollabError):
    """The run has spent what it may; what is done is kept, and a higher cap lets it go on."""


class LaunchError(CollabError):
    """A local server did not start, or stopped by itself."""


class StoreError(CollabError):
    """The generation store cannot be opened, read or written."""


class GradingError(CollabError):
    """A grader could not be run at all (a wrong answer is no error)."""


class SandboxError(CollabError):
    """A program could not be run, or not safely (what a program does itself is no error)."""


class RunError(CollabError):
    """A run folder cannot be entered: it is locked, or what decides its numbers differs."""


class SweepError(CollabError):
    """Some runs of a sweep could not be played; the others were.

    Attributes:
        runs: The runs that were played.
        failures: The error of each other run, by its words.
    """

    def __init__(
        self,
        message: str,
        runs: Sequence[Any] = (),  # any: Run, which is above this module
        failures: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.runs = list(runs)
        self.failures = dict(failures or {})
