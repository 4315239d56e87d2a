"""Question sets from the Hugging Face hub, or from a folder with the same layout.

Only data files are read, never a loading script. A commit is fetched once into the usual cache
(`HF_HOME`), and the hub is not asked again. `HF_HUB_OFFLINE=1` and mirrors (`HF_ENDPOINT`) work as
for any program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from collab.core.trajectory import Json, Question
from collab.errors import ConfigError
from collab.questions.files import READERS, rows_of
from collab.questions.pins import pinned
from collab.questions.prompt import PromptFormat
from collab.questions.selection import RUNS
from collab.questions.table import BadRow, Row, Table, unique

COMMIT = re.compile(r"[0-9a-f]{40}")


class Hub(Table):
    """The questions in some files of a repository, at one commit."""

    repo: str
    """A dataset on the hub (owner/name), or a folder."""
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    """Paths in the repository, or patterns with `*`; formats: jsonl, json, csv, parquet."""
    revision: str | None = None
    """A commit, or a branch or tag that the first load pins to its commit. None: main."""
    count: int | None = Field(default=None, ge=1)
    """The expected number of rows, if known."""

    def every(self, prompt: PromptFormat, runs: Path) -> list[Question]:
        """Fetch the files if they are not cached, and load them.

        Raises:
            ConfigError: The files cannot be fetched, or hold something unexpected.
        """
        rows = list(self.rows(runs))
        if self.count is not None and len(rows) != self.count:
            raise ConfigError(
                f"{self.repo} holds {len(rows)} rows, not the {self.count} of {self._called}: it "
                "is another version of the set; set questions.count=null to use it anyway"
            )
        return unique(self.questions_of(rows, self._called, prompt), strict=False)

    def rows(self, runs: Path) -> Iterator[tuple[str, Row | BadRow]]:
        """Yield the rows of all files, in the order of their names."""
        folder = self._folder(runs)
        for name in self._names(folder):
            yield from rows_of(folder / name, name)

    def origin(self, runs: Path = RUNS) -> Json:
        """Name the commit."""
        here = Path(self.repo).is_dir()
        return {
            "repo": self.repo,
            "revision": None if here else self._commit(runs),
            "files": self.files,
            "source": self.source,
            "licence": self.licence,
        }

    @property
    def _called(self) -> str:
        return self.name or Path(self.repo).name

    def _names(self, folder: Path) -> list[str]:
        there = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        names = [name for name in there if any(fnmatch(name, one) for one in self.files)]
        missing = [one for one in self.files if not any(fnmatch(name, one) for name in names)]
        if missing:
            data = [name for name in there if Path(name.removesuffix(".gz")).suffix in READERS]
            raise ConfigError(
                f"no file of {self.repo} matches questions.files={missing[0]!r} "
                f"(files: {', '.join(sorted(data)[:20]) or 'none'})"
            )
        return sorted(names)

    def _folder(self, runs: Path) -> Path:
        """Return the folder with the files; fetch them first if necessary."""
        if Path(self.repo).is_dir():
            return Path(self.repo)
        from huggingface_hub import snapshot_download

        commit = self._commit(runs)
        fetch = partial(snapshot_download, self.repo, repo_type="dataset", revision=commit)
        try:
            return Path(fetch(allow_patterns=list(self.files)))
        except Exception as error:  # network, access and naming errors share no base
            raise self._unfetched(error) from error

    def _commit(self, runs: Path) -> str:
        revision = self.revision or "main"
        if COMMIT.fullmatch(revision):
            return revision
        return pinned(runs, f"datasets/{self.repo}@{revision}", partial(self._resolve, revision))

    def _resolve(self, revision: str) -> str:
        from huggingface_hub import HfApi

        try:
            found = HfApi().resolve_revision(self.repo, repo_type="dataset", revision=revision)
        except Exception as error:  # as above
            raise self._unfetched(error) from error
        return found.resolved

    def _unfetched(self, error: Exception) -> ConfigError:
        reason = " ".join(str(error).split())
        return ConfigError(
            f"cannot fetch dataset {self.repo!r}: {reason}. For a gated set, accept its terms and "
            "set HF_TOKEN; without network, fetch it elsewhere (hf download --repo-type dataset) "
            "and set questions.repo to the folder"
        )
