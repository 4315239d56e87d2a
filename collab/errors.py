"""The errors of collab.

```
CollabError
├── ConfigError         a setting is wrong; nothing was sent
├── PolicyError         a policy broke its contract
├── EndpointError       a server could not do what was asked
│   ├── Unreachable     no connection, or none in time
│   ├── BadReply        a reply outside the API (HTML, a missing field)
│   │   ├── PromptChanged   the server read another prompt than was sent
│   │   └── KeyRepeated     the server wrote the key into its text
│   ├── Rejected        the server refused the request (4xx)
│   │   └── Denied      it would refuse any: the key, the quota or the model's name
│   └── ContextFull     the prompt leaves no room in the model's context
├── CapReached          the run has reached a cap
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
    """The base of all errors that collab raises on purpose."""


class ConfigError(CollabError):
    """A setting is wrong; the message names the value, the allowed ones and the fix."""


class PolicyError(CollabError):
    """A policy returned a decision that the trajectory or the team does not allow."""


class EndpointError(CollabError):
    """A server could not carry out a request."""


class Unreachable(EndpointError):
    """No connection to the server, or no answer before the deadline."""


class BadReply(EndpointError):
    """The server's reply is outside the API."""


class PromptChanged(BadReply):
    """The server read another prompt than was sent; the draw does not count."""


class KeyRepeated(BadReply):
    """The server wrote the API key into its text; the draw is dropped."""


class Rejected(EndpointError):
    """The server understood the request and refused it (a 4xx status)."""


class Denied(Rejected):
    """The server would refuse any request: the key, the quota or the model name is wrong."""


class ContextFull(EndpointError):
    """The prompt leaves no room for one more token in the model's context."""


class CapReached(CollabError):
    """The run has reached a cap; what is finished is kept, and a higher cap lets it continue."""


class LaunchError(CollabError):
    """A local server did not start, or stopped on its own."""


class StoreError(CollabError):
    """The generation store cannot be opened, read or written."""


class GradingError(CollabError):
    """A grader could not run (a wrong answer is not an error)."""


class SandboxError(CollabError):
    """A program could not run, or not safely (a failing program is not an error)."""


class RunError(CollabError):
    """A run folder cannot be used: it is locked, damaged, or holds a run with other settings."""


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
