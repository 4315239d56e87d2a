"""What the tests of the core share: the pocket models behind a server, and seats to put them in."""

import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

os.environ["XDG_STATE_HOME"] = mkdtemp(prefix="collab-state-")  # own runs are known by a key there
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the pocket models are small: threads only wait
os.environ["PYTHONDONTWRITEBYTECODE"] = ""  # many commands are started: compiled once, not by each

import pytest
from hypothesis import HealthCheck, settings
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as RawTokenizer

from collab.core.sampling import Sampling
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, IdsDialect, TextDialect
from collab.endpoints.owner import owning
from collab.endpoints.scripted import TEMPLATE, WordTokenizer
from collab.endpoints.tokens import Tokenizer
from collab.pocket.server import PocketBackend, find
from collab.reasoners.model import Model
from collab.serving import Job, Piece, build_app, serve
from collab.store.store import Store
from collab.templates.template import Template
from tests import optional

optional.hide()

# a job that a shell runs in the background ignores Ctrl-C, and so would what the tests start
signal.signal(signal.SIGINT, signal.default_int_handler)
# every process that a test starts would compile its imports anew, for longer than it runs
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
settings.register_profile("collab", CALM, max_examples=30)
settings.register_profile("long", CALM, max_examples=200)  # `make check-long`
settings.load_profile("collab")

CORPUS = "So we add 3 and 4. Then we stop.\n\nIs it 7? Wait. The answer is 7.</s>\n"


class Listening(PocketBackend):
    """The shipped models, with a note of every prompt that has reached them."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[int, ...]] = []

    def complete(self, job: Job) -> AsyncGenerator[Piece, None]:
        self.heard.append(tuple(job.prompt))
        return super().complete(job)


@dataclass(frozen=True)
class Served:
    """The pocket server of the session."""

    url: str
    heard: list[tuple[int, ...]]
    """The ids of every prompt, as the server read them."""
    tokenizer: Tokenizer
    template: str


class Spoken(WordTokenizer):
    """A real tokenizer for the scripted server."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text))

    def text(self, token: int) -> str:
        return self._tokenizer.decode([token])


class Seat(Protocol):
    """Put a served model in a seat."""

    def __call__(
        self,
        url: str,
        name: str = "scripted",
        *,
        tokenizer: Tokenizer | None = None,
        template: str = TEMPLATE,
        text: bool = False,
        sampling: Sampling = ...,
        context: int | None = None,
        logprobs: int | None = None,
    ) -> Awaitable[Model]: ...


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say in the last line how many tests were left out, and what each of them wants."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a process that runs tests for another one
        return
    wants = Counter(optional.reason(report) for report in reporter.stats.get("skipped", []))
    if wants:
        reporter.write_line(f"left out: {'; '.join(f'{n} × {why}' for why, n in wants.items())}")


@pytest.fixture(scope="session")
def bwrap() -> Path:
    """Where bubblewrap is; skipped by name where it is not."""
    return optional.found("bwrap")


@pytest.fixture(scope="session")
def launched() -> Iterator[None]:
    """Own the servers of all commands that tests play: the first starts what the others use."""
    with owning():
        yield


@pytest.fixture(scope="session")
def pocket() -> Iterator[Served]:
    """The pocket models behind one server."""
    backend = Listening()
    folder = find("plain")
    template = (folder / "chat_template.jinja").read_text()
    with serve(build_app(backend)) as url:
        yield Served(url, backend.heard, Tokenizer.load(folder), template)


@pytest.fixture(scope="session")
def spoken() -> Callable[[Tokenizer], WordTokenizer]:
    """Return how to give the scripted server a real tokenizer."""
    return Spoken


@pytest.fixture(scope="session")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A tokenizer in which a space belongs to the word behind it."""
    return _saved(_byte_level(merges=200), tmp_path_factory.mktemp("wordy"))


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A tokenizer of single bytes."""
    return _saved(_byte_level(merges=0), tmp_path_factory.mktemp("letters"))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(tmp_path / "store.sqlite") as store:
        yield store


@pytest.fixture
async def seat(store: Store) -> AsyncIterator[Seat]:
    """Return how to put a served model in a seat; all share one store."""
    async with AsyncExitStack() as stack:

        async def sit(
            url: str,
            name: str = "scripted",
            *,
            tokenizer: Tokenizer | None = None,
            template: str = TEMPLATE,
            text: bool = False,
            sampling: Sampling = Sampling(),  # noqa: B008 - a frozen value
            context: int | None = None,
            logprobs: int | None = None,
        ) -> Model:
            endpoint = await stack.enter_async_context(Endpoint(url, name, tokenizer))
            frame = Frame(Template(template))
            known = tokenizer is not None and not text
            dialect = IdsDialect(frame, tokenizer) if known and tokenizer else TextDialect(frame)
            return Model(
                identity=name,
                endpoint=endpoint,
                dialect=dialect,
                tokenizer=tokenizer,
                store=store,
                sampling=sampling,
                context=context,
                logprobs=logprobs,
            )

        yield sit


def _byte_level(merges: int) -> RawTokenizer:
    raw = RawTokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=257 + merges,
        special_tokens=["</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([CORPUS] * 4, trainer)
    raw.add_tokens([AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")])
    return raw


def _saved(raw: RawTokenizer, folder: Path) -> Tokenizer:
    raw.save(str(folder / "tokenizer.json"))
    return Tokenizer.load(folder)
