import pytest
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as RawTokenizer

from collab.core.trajectory import Message, Phase, Seams, Trajectory, Unit, UnitKind, Wrote
from collab.endpoints.dialects import Dialect, Frame, IdsDialect, TextDialect
from collab.endpoints.tokens import Tokenizer
from collab.errors import ConfigError
from collab.templates.template import Template

ASKED = (Message("user", "Q"),)
CLOSED = Template("{{ messages[0].content }}|{% if add_generation_prompt %}A:{% endif %}")
OPENS = Template("{{ messages[0].content }}|{% if add_generation_prompt %}A:<think>\n{% endif %}\n")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Merges ``).`` with the newlines after it, so that seams show."""
    raw = RawTokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=264, initial_alphabet=alphabet, show_progress=False, special_tokens=["<e>"]
    )
    raw.train_from_iterator([").\n\n"] * 9, trainer)
    raw.add_tokens([AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")])
    return Tokenizer(raw, "mine")


def unit(
    text: str, author: str = "main", ids: tuple[int, ...] | None = None, **fields: object
) -> Unit:
    kind: UnitKind = "signal" if fields.get("signal") else "generated"
    phase: Phase = "answer" if fields.get("reply") else "thinking"
    name = "mine" if ids is not None else None
    return Unit(author, text, kind, phase=phase, ids=ids, tokenizer=name)


def trajectory(*units: Unit) -> Trajectory:
    return Trajectory.replay([Wrote(each) for each in units])


def test_the_readers_own_ids_go_in_as_they_are_even_where_encoding_differs(
    tokenizer: Tokenizer,
) -> None:
    odd = tokenizer.encode(").") + tokenizer.encode("\n\n")
    assert odd != tokenizer.encode(").\n\n")
    laid = IdsDialect(Frame(CLOSED), tokenizer).prompt(
        ASKED, trajectory(unit(").\n\n", ids=odd)), "thinking", "main"
    )
    assert laid.prompt == tokenizer.encode("Q|A:<think>\n") + odd
    assert (laid.seams.runs, laid.seams.foreign) == (0, 0)


def test_each_unbroken_run_of_other_text_is_encoded_as_one_piece(tokenizer: Tokenizer) -> None:
    own = tokenizer.encode("own")
    laid = IdsDialect(Frame(CLOSED), tokenizer).prompt(
        ASKED,
        trajectory(
            unit("(a).", "guide"), unit("\n\n", "drafter"), unit("own", ids=own), unit("!", "guide")
        ),
        "thinking",
        "main",
    )
    run = tokenizer.encode("(a).\n\n")
    assert run != tokenizer.encode("(a).") + tokenizer.encode("\n\n")
    assert laid.prompt == tokenizer.encode("Q|A:<think>\n") + run + own + tokenizer.encode("!")
    assert laid.seams == Seams(len(laid.prompt), 2, len(run) + 1, 0)


@pytest.mark.parametrize(
    ("left", "right", "changed"),
    [("(a).", "\n\n", 2), ("(a).\n\n", "b", 0), ("(a)", ".\n\n", 3), ("(a) ", "b", 0)],
)
def test_tokens_at_a_seam_that_one_piece_would_not_have_are_counted(
    tokenizer: Tokenizer, left: str, right: str, changed: int
) -> None:
    foreign, own = unit(left, "guide"), unit(right, ids=tokenizer.encode(right))
    laid = IdsDialect(Frame(CLOSED), tokenizer).prompt(
        ASKED, trajectory(foreign, own), "thinking", "main"
    )
    assert laid.seams.changed == changed


def test_what_one_author_wrote_has_no_seams(tokenizer: Tokenizer) -> None:
    log = trajectory(*(unit(text, ids=tokenizer.encode(text)) for text in ("(a).", "\n\n")))
    laid = IdsDialect(Frame(CLOSED), tokenizer).prompt(ASKED, log, "thinking", "main")
    assert isinstance(laid.prompt, tuple)
    assert laid.seams == Seams(len(laid.prompt))


def test_a_prompt_that_went_out_as_text_says_that_nobody_looked() -> None:
    laid = TextDialect(Frame(CLOSED)).prompt(ASKED, trajectory(unit("a")), "thinking", "main")
    assert laid.seams.changed is None


def test_ids_of_another_tokenizer_are_never_read_with_this_one(tokenizer: Tokenizer) -> None:
    foreign = Unit("guide", "ab", "generated", ids=(1, 2, 3), tokenizer="another")
    laid = IdsDialect(Frame(CLOSED), tokenizer).prompt(
        ASKED, trajectory(foreign), "thinking", "main"
    )
    assert laid.prompt == tokenizer.encode("Q|A:<think>\n") + tokenizer.encode("ab")


def test_two_models_with_one_tokenizer_share_their_ids(tokenizer: Tokenizer) -> None:
    odd = tokenizer.encode(").") + tokenizer.encode("\n\n")
    laid = IdsDialect(Frame(CLOSED), tokenizer).prompt(
        ASKED, trajectory(unit(").\n\n", "guide", odd)), "thinking", "main"
    )
    assert laid.prompt == tokenizer.encode("Q|A:<think>\n") + odd


def both(tokenizer: Tokenizer) -> list[Dialect]:
    return [IdsDialect(Frame(CLOSED), tokenizer), TextDialect(Frame(CLOSED))]


def written(
    dialect: Dialect, tokenizer: Tokenizer, log: Trajectory, phase: Phase, seat: str
) -> str:
    prompt = dialect.prompt(ASKED, log, phase, seat).prompt
    return tokenizer.decode(prompt) if isinstance(prompt, tuple) else str(prompt)


def test_the_answer_follows_one_close_tag_and_the_reply_so_far(tokenizer: Tokenizer) -> None:
    log = trajectory(unit("hm.", ids=tokenizer.encode("hm.")), unit("It is", reply=True))
    for dialect in both(tokenizer):
        text = written(dialect, tokenizer, log, "answer", "main")
        assert text == "Q|A:<think>\nhm.</think>It is"
        assert written(dialect, tokenizer, log, "thinking", "main") == "Q|A:<think>\nhm."


def test_a_signal_is_shown_to_its_author_alone(tokenizer: Tokenizer) -> None:
    log = trajectory(unit("a"), unit("<help>", "guide", signal=True), unit("b"))
    for dialect in both(tokenizer):
        assert written(dialect, tokenizer, log, "thinking", "main") == "Q|A:<think>\nab"
        assert written(dialect, tokenizer, log, "thinking", "guide") == "Q|A:<think>\na<help>b"


def test_a_signal_that_is_left_out_breaks_no_run(tokenizer: Tokenizer) -> None:
    log = trajectory(unit(").", "x"), unit("<help>", "guide", signal=True), unit("\n\n", "x"))
    laid = IdsDialect(Frame(CLOSED), tokenizer).prompt(ASKED, log, "thinking", "main")
    assert laid.prompt == tokenizer.encode("Q|A:<think>\n") + tokenizer.encode(").\n\n")
    assert laid.seams.runs == 1


def test_a_model_that_writes_alone_reads_the_tokens_of_one_shot(tokenizer: Tokenizer) -> None:
    shot = tokenizer.encode("First (a).\n\nThen b.</think>")
    cut = len(shot) - 4
    log = trajectory(
        *(unit(tokenizer.decode(ids), ids=ids) for ids in (shot[:5], shot[5:cut], shot[cut:-1]))
    )
    dialect = IdsDialect(Frame(CLOSED), tokenizer)
    head = dialect.prompt(ASKED, Trajectory(), "thinking", "main").prompt
    assert isinstance(head, tuple)
    assert dialect.prompt(ASKED, log, "answer", "main").prompt == head + shot
    assert dialect.close_ids == shot[-1:]
    assert TextDialect(Frame(CLOSED)).close_ids == ()


def test_a_template_that_opens_the_block_is_not_opened_twice() -> None:
    assert Frame(OPENS).head(ASKED) == "Q|A:<think>\n"
    assert Frame(OPENS, think_open="<think>").head(ASKED) == "Q|A:<think>\n"
    assert Frame(CLOSED).head(ASKED) == "Q|A:<think>\n"


def test_a_think_tag_in_the_question_is_not_the_templates() -> None:
    asked = (Message("user", "What does <think> mean? And </think>?"),)
    assert Frame(CLOSED).head(asked).endswith("|A:<think>\n")


def test_an_empty_closed_block_in_the_generation_prompt_is_refused() -> None:
    empty = Template("Q{% if add_generation_prompt %}A:<think>\n\n</think>\n\n{% endif %}")
    with pytest.raises(ConfigError, match=r"closed think block.*enable_thinking"):
        Frame(empty).head(ASKED)


def test_a_second_open_block_is_refused() -> None:
    twice = Template("Q{% if add_generation_prompt %}<think>A:<think>\n{% endif %}")
    with pytest.raises(ConfigError, match="opens 2 think blocks"):
        Frame(twice).head(ASKED)


def test_a_second_begin_of_sequence_token_stands_before_the_templates_own() -> None:
    source = "{{ bos_token }}{{ messages[0].content }}{% if add_generation_prompt %}A:{% endif %}"
    template = Template(source, {"bos_token": "<s>"})
    once, twice = Frame(template), Frame(template, double_bos=True)
    asked = (Message("user", "Q?"),)
    assert once.head(asked) == "<s>Q?A:<think>\n"
    assert twice.head(asked) == "<s>" + once.head(asked)
    with pytest.raises(ConfigError, match="needs a tokenizer with a bos_token"):
        Frame(Template(source), double_bos=True).head(asked)
