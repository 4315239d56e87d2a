"""Connect to the endpoint of a model, with the files of its checkpoint and its profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from collab.app.model_identity import serves
from collab.app.trust import may_send
from collab.config.config import ModelConfig
from collab.endpoints.client import Endpoint
from collab.endpoints.connection import address
from collab.endpoints.dialects import Dialect, Frame
from collab.endpoints.launch import Launcher
from collab.endpoints.limits import Limits
from collab.endpoints.profile import Profile
from collab.endpoints.registry import choose
from collab.endpoints.tokens import Tokenizer
from collab.errors import ConfigError
from collab.runs.run_folder import digest
from collab.templates.template import Template


@dataclass(frozen=True)
class ModelKit:
    """A model's config with the tokenizer and the template that it names."""

    config: ModelConfig
    tokenizer: Tokenizer | None
    frame: Frame | None

    @classmethod
    def load(cls, config: ModelConfig, folder: Path | None) -> Self:
        """Load the tokenizer and the template from a checkpoint's folder, if there is one.

        Raises:
            ConfigError: A file is missing or cannot be read.
        """
        if folder is None:
            return cls(config, None, None)
        template = Template.load(folder, config.template)
        tags = config.think_open, config.think_close, config.force_answer
        frame = Frame(template, *tags, double_bos=config.double_bos)
        return cls(config, Tokenizer.load(folder), frame)

    @property
    def name(self) -> str:
        """The server's name of the model."""
        return self.config.served or self.config.id

    def dialect(self, profile: Profile) -> Dialect:
        """Return the dialect that a profile names."""
        config = self.config
        return choose(profile, self.frame, self.tokenizer, config.think_open, config.think_close)

    @property
    def documented(self) -> Profile:
        """The profile by the config, before a doctor has examined the endpoint."""
        config = self.config
        return Profile(dialect=config.dialect, max_model_len=config.context, checked=config.checked)

    def place(self, runs: Path) -> Path:
        """Return the file of this endpoint's profile; each address and dialect has its own."""
        config = self.config
        here = config.base_url or config.uds
        launch = config.launch.model_dump(mode="json") if config.launch and not here else None
        source = {
            "address": launch or [config.base_url, config.uds],
            "model": self.name,
            "dialect": config.dialect,
            "tags": [config.think_open, config.think_close],
            "template": self.frame.template.hash if self.frame else None,
            "fields": [sorted(config.drop), config.extra],
        }
        return runs / "profiles" / f"{Path(self.name).name}-{digest(source)}.json"

    def profile(self, runs: Path) -> Profile:
        """Return the doctor's profile of the endpoint, or else the documented one.

        Raises:
            ConfigError: The file holds no profile.
        """
        return Profile.load(self.place(runs)) or self.documented


async def connect(
    kit: ModelKit,
    profile: Profile,
    launcher: Launcher,
    limits: Limits | None = None,
    *,
    replica: str | None = None,
) -> Endpoint:
    """Connect to a model's server, and start it if the model has no address.

    The caller closes the endpoint.

    Args:
        kit: The model.
        profile: The profile of the server.
        launcher: Starts the server of a model without an address.
        limits: The limits of requests; None: those of the config.
        replica: Another address of the model than its first.

    Raises:
        ConfigError: The model has neither an address nor `launch`, or its key may not be sent.
        LaunchError: The server did not start.
    """
    config = kit.config
    url, key = replica or config.base_url, None
    if url is None and config.uds is None:
        if config.launch is None:
            raise ConfigError(f"model {config.id!r} has neither base_url nor launch; set one")
        server = await launcher.start(config.launch, serves(config))
        url, key = server.url, server.api_key
    elif url is not None and config.api_key_env is not None:
        may_send(config.api_key_env, address(url))
    return Endpoint(
        url or "http://localhost",
        kit.name,
        kit.tokenizer,
        form=kit.dialect(profile).form,
        profile=profile,
        drop=frozenset(config.drop),
        extra=config.extra,
        api_key_env=config.api_key_env,
        api_key=key,
        uds=config.uds,
        limits=limits or config.limits,
    )


def must_be_trusted(endpoint: Endpoint, dialect: Dialect) -> None:
    """Refuse an endpoint that may alter the thoughts that it is to continue.

    Raises:
        ConfigError: A doctor found the endpoint broken; or its replies do not show which tokens it
            read, and no doctor has examined it.
    """
    profile = endpoint.profile
    where = f"{endpoint.model!r} at {endpoint.url}"
    if profile.broken:
        why = "; ".join(f"{finding.probe}: {finding.came}" for finding in profile.broken)
        raise ConfigError(
            f"{where} alters thoughts before it continues them in dialect {dialect.name!r} "
            f"({why}); choose another dialect, or set strict_prefill=false and doubt the numbers"
        )
    checkable = profile.returns_ids and endpoint.tokenizer is not None
    if not checkable and not profile.findings:
        raise ConfigError(
            f"the replies of {where} do not show which tokens were read: run collab doctor with "
            "the same words once, or set strict_prefill=false and doubt the numbers"
        )
