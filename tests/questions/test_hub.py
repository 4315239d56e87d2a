"""Loading from the hub: a server that speaks its API, the real client, a cache of its own."""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from collab.errors import ConfigError
from collab.questions import Hub, PromptFormat
from collab.questions.pins import pinned
from collab.serving import serve

ROWS = [{"problem": f"{n} + 1?", "answer": n + 1.0, "level": n % 2} for n in range(6)]
MINE = {"question": "problem", "answer": "answer", "labels": {"level": "level"}}


def jsonl(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class FakeHub:
    """A hub with one dataset, whose main branch may move."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.refs: dict[str, str] = {}
        self.asked: list[str] = []
        self.down = False

    def push(self, files: dict[str, bytes]) -> str:
        commit = sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[commit] = files
        self.refs["main"] = commit
        return commit

    def app(self) -> Starlette:
        info, tree = "/api/datasets/me/sums/revision/{ref}", "/api/datasets/me/sums/tree/{ref}"
        file = "/datasets/me/sums/resolve/{ref}/{path:path}"
        routes = [Route(info, self.info), Route(tree, self.tree), Route(file, self.file)]
        return Starlette(routes=[*routes, Route("/{path:path}", self.nothing)])

    def commit(self, request: Request) -> str:
        self.asked.append(request.url.path)
        ref: str = request.path_params["ref"]
        return self.refs.get(ref, ref)

    def info(self, request: Request) -> Response:
        commit = self.commit(request)
        if self.down:
            return Response(status_code=503)
        if commit not in self.commits:
            return self.strange()
        files = [{"rfilename": name} for name in self.commits[commit]]
        return JSONResponse({"id": "me/sums", "sha": commit, "siblings": files})

    def tree(self, request: Request) -> Response:
        commit = self.commit(request)
        if commit not in self.commits:
            return self.strange()
        kinds = {"type": "file"}
        rows = [
            {"path": p, "size": len(d), "oid": sha1(d).hexdigest(), **kinds}
            for p, d in self.commits[commit].items()
        ]
        return JSONResponse(rows)

    def strange(self) -> Response:
        return JSONResponse({"error": "no"}, 404, {"X-Error-Code": "RevisionNotFound"})

    def file(self, request: Request) -> Response:
        commit = self.commit(request)
        data = self.commits[commit][request.path_params["path"]]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{sha1(data).hexdigest()}"'}
        return Response(data, headers=headers, media_type="application/octet-stream")

    def nothing(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        return JSONResponse({"error": "no"}, 404, {"X-Error-Code": "RepoNotFound"})


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    fake = FakeHub()
    with serve(fake.app()) as url:
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # the hub's own client goes by the environment
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield fake


def asked(made: list[Any]) -> list[str]:  # any: questions
    return [question.messages[0].content for question in made]


def test_a_branch_is_pinned_to_its_commit_by_the_first_load(hub: FakeHub, tmp_path: Path) -> None:
    commit = hub.push({"test.jsonl": jsonl(ROWS), "train.jsonl": b"never fetched"})
    sums = Hub(repo="me/sums", files=("test.jsonl",), count=6, **MINE)
    first = sums.load(PromptFormat(), tmp_path / "runs")
    assert asked(first) == [f"{n} + 1?" for n in range(6)]
    assert first[2].answer == "3"
    assert first[2].labels == {"set": "sums", "level": "0"}
    assert not any("train" in path for path in hub.asked)
    hub.push({"test.jsonl": jsonl(ROWS[:1])})
    assert sums.load(PromptFormat(), tmp_path / "runs") == first
    assert json.loads((tmp_path / "runs" / "pins.json").read_text()) == {
        "datasets/me/sums@main": commit
    }
    origin = sums.origin(tmp_path / "runs")
    assert isinstance(origin, dict)
    assert origin["revision"] == commit
    assert (
        len(
            Hub(repo="me/sums", files=("*.jsonl",), **MINE).load(PromptFormat(), tmp_path / "other")
        )
        == 1
    )


def test_a_commit_is_asked_for_once_and_then_read_from_the_cache_even_offline(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.push({"data/a.jsonl": jsonl(ROWS[:2]), "data/b.jsonl": jsonl(ROWS[2:])})
    sums = Hub(repo="me/sums", files=("data/*",), revision=commit, **MINE)
    first = sums.load(PromptFormat(), tmp_path)
    assert len(first) == 6
    hub.asked.clear()
    assert sums.load(PromptFormat(), tmp_path) == first
    assert hub.asked == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert sums.load(PromptFormat(), tmp_path) == first
    assert not (tmp_path / "pins.json").exists()


def test_a_branch_that_the_cache_knows_is_pinned_offline(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.push({"test.jsonl": jsonl(ROWS)})
    sums = Hub(repo="me/sums", files=("test.jsonl",), **MINE)
    first = sums.load(PromptFormat(), tmp_path / "one")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert sums.load(PromptFormat(), tmp_path / "two") == first
    with pytest.raises(ConfigError, match=r"cannot fetch dataset 'me/other': .*HF_TOKEN"):
        Hub(repo="me/other", files=("test.jsonl",)).load(PromptFormat(), tmp_path)


def test_a_hub_that_is_down_a_strange_repository_and_revision_are_said(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.push({"test.jsonl": jsonl(ROWS)})
    for sums in (
        Hub(repo="me/other", files=("test.jsonl",)),
        Hub(repo="me/sums", files=("test.jsonl",), revision="v9"),
        Hub(repo="me/sums", files=("test.jsonl",), revision="0" * 40),
    ):
        with pytest.raises(ConfigError, match=f"cannot fetch dataset '{sums.repo}'"):
            sums.load(PromptFormat(), tmp_path)
    hub.down = True
    with pytest.raises(ConfigError, match="cannot fetch dataset 'me/sums'"):
        Hub(repo="me/sums", files=("test.jsonl",)).load(PromptFormat(), tmp_path)
    assert not (tmp_path / "pins.json").exists()


def test_another_number_of_rows_is_another_version_of_the_set(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_bytes(jsonl(ROWS))
    with pytest.raises(ConfigError, match=r"holds 6 rows, not the 7 of sums: .*count=null"):
        Hub(name="sums", repo=str(tmp_path), files=("test.jsonl",), count=7, **MINE).load(
            PromptFormat()
        )


def _jsonl(path: Path) -> None:
    path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(jsonl(ROWS)))


def _json(path: Path) -> None:
    path.with_suffix(".json").write_text(json.dumps(ROWS))


def _csv(path: Path) -> None:
    with path.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0].keys())
        writer.writeheader()
        writer.writerows(ROWS)


def _parquet(path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(ROWS), path.with_suffix(".parquet"))


@pytest.mark.parametrize("write", [_jsonl, _json, _csv, _parquet])
def test_a_folder_of_any_known_format_stands_in_for_a_repository(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    write(tmp_path / "test")
    sums = Hub(repo=str(tmp_path), files=("test.*",), **MINE)
    made = sums.load(PromptFormat(), tmp_path)
    assert asked(made) == [f"{n} + 1?" for n in range(6)]
    assert [float(question.answer or 0) for question in made] == [1, 2, 3, 4, 5, 6]
    origin = sums.origin(tmp_path)
    assert isinstance(origin, dict)
    assert origin["revision"] is None


@pytest.mark.parametrize(
    ("name", "content", "files", "said"),
    [
        ("a.jsonl", b"", "b.jsonl", r"matches questions\.files='b\.jsonl' \(files: a\.jsonl\)"),
        ("a.txt", b"", "a.txt", r"'a\.txt' has an unknown format \(known: \.csv, \.json,"),
        ("a.json", b"{}", "*", r"cannot read 'a\.json': it is not a list of rows"),
        ("a.json", b"[1]", "*", r"a\.json:1 is not a JSON object"),
        ("a.jsonl", b"\xff", "*", r"cannot read 'a\.jsonl': .*utf-8"),
        ("a.jsonl.gz", b"no gzip", "*", r"cannot read 'a\.jsonl\.gz': "),
        ("a.parquet", b"no parquet", "*", r"cannot read 'a\.parquet': "),
    ],
)
def test_files_that_hold_no_rows_are_named(
    tmp_path: Path, name: str, content: bytes, files: str, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        Hub(repo=str(tmp_path), files=(files,)).load(PromptFormat(), tmp_path)


def test_a_row_that_comes_again_is_left_out_unless_its_answer_differs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([*ROWS, ROWS[0]]))
    sums = Hub(repo=str(tmp_path), files=("a.jsonl",), **MINE)
    assert len(sums.load(PromptFormat())) == 6
    assert "a.jsonl:7 asks what a.jsonl:1 asks; it is left out" in caplog.text
    path.write_bytes(jsonl([*ROWS, {**ROWS[0], "answer": 9}]))
    with pytest.raises(ConfigError, match=r"a\.jsonl:7 asks what a\.jsonl:1 asks"):
        sums.load(PromptFormat())


def test_pins_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "pins.json").write_text("{")
    with pytest.raises(ConfigError, match=r"cannot use '.*pins\.json'"):
        pinned(tmp_path, "a", lambda: "b")
