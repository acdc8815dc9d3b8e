"""What a person is shown of a hostile text, and that an honest one raises no notice."""

import json
import os
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatebook.rendering import Piece, Rendered, render
from texts import Attack, attacks, clean_texts, hostile_variants

if TYPE_CHECKING:
    from _typeshed import TraceFunction

SHARED_DATA = Path(os.environ.get("GATEBOOK_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
ATTACKS = attacks()
FOLDED_ALONE = {"padding", "blank-lines"}
"""Techniques that honest logs use in small measure: a fold shows them, a notice comes when they hide something."""
LETTERS = (
    "a b.-\n\r\t \u0430\u03bf\u05d0\u06af\u0301\u0915\u094d\u200b\u200d\u200f\u202e\u2066\ufe0f\U0001f469\U000e0061"
    "\u845b\u27e6\u3164"
)
NEVER_SHOWN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufff9-\ufffb]")


def written(rendered: Rendered) -> str:
    """The text as it was, from what is shown and what is replaced."""
    return "".join(piece.hidden or piece.text for piece in rendered.pieces)


def codes(text: str) -> list[str]:
    return [notice.code for notice in render(text).notices]


def test_the_corpus_is_large_and_of_many_techniques() -> None:
    assert len({attack["text"] for attack in ATTACKS}) == len(ATTACKS) >= 300
    assert len({attack["id"] for attack in ATTACKS}) == len(ATTACKS)
    assert len({attack["technique"] for attack in ATTACKS}) >= 25


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack["id"])
def test_every_attack_is_shown_to_the_reader_or_inert(attack: Attack) -> None:
    rendered = render(attack["text"])
    assert written(rendered) == attack["text"]
    if attack["expected"] == "inert":
        assert rendered == Rendered((Piece(attack["text"]),))
    else:
        assert any(piece.kind != "text" for piece in rendered.pieces)
        assert rendered.notices or attack["technique"] in FOLDED_ALONE


def test_an_attack_anywhere_in_an_honest_text_is_noticed() -> None:
    missed = [(how, ascii(text)) for how, text in hostile_variants(seed=4, count=2_000) if not render(text).notices]
    assert missed == []


def test_honest_texts_of_forty_languages_and_kinds_raise_no_notice() -> None:
    texts = list(clean_texts(seed=4, count=1_000))
    noticed = [(language, text, codes(text)) for language, text in texts if render(text).notices]
    assert len({language for language, _ in texts}) >= 40
    assert len(noticed) <= len(texts) * 0.005, noticed[:5]
    assert all(written(render(text)) == text for _, text in texts)


def test_of_real_tickets_one_in_two_hundred_at_most_raises_a_notice() -> None:
    path = SHARED_DATA / "tickets-dev.jsonl"
    if not path.exists():
        pytest.skip(f"no {path.name}")
    tickets = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    noticed = sum(bool(codes(f"{ticket['subject']}\n{ticket['body']}")) for ticket in tickets)
    assert noticed <= len(tickets) * 0.005


def test_a_character_nobody_sees_becomes_its_number_with_its_name() -> None:
    assert render("a\u202eb").pieces == (
        Piece("a"),
        Piece("⟦U+202E⟧", "mark", "RIGHT-TO-LEFT OVERRIDE", "\u202e"),
        Piece("b"),
    )
    names = {piece.title for piece in render("\x1b\x85\ue000\u0378\ud800\U000e0041").pieces}
    assert names == {
        "ESCAPE", "CONTROL", "PRIVATE USE", "UNASSIGNED", "LONE SURROGATE", "TAG LATIN CAPITAL LETTER A"
    }  # fmt: skip


def test_every_control_and_format_character_of_unicode_is_marked_or_is_one_that_readers_see() -> None:
    seen = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    odd = {
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"} and code not in {*seen, 9, 10}
    }
    shown = {character for character in odd if render(f"x{character}x").pieces[1:2] == (Piece("x"),)}
    assert shown == set()
    assert all(codes(f"x{character}x") for character in list(odd)[::50])


def test_many_unseen_characters_in_a_row_are_counted() -> None:
    rendered = render("a" + "\u200b" * 1_000 + "b")
    assert rendered.pieces[-2:] == (
        Piece("⟦984 more unseen characters⟧", "fold", "984 more unseen characters", "\u200b" * 984),
        Piece("b"),
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n\n\n\nb", "a\n\n\n\nb"),
        ("a\n\n\n\n\nb", "a\n⟦4 blank lines⟧\nb"),
        ("a\r\n" + " \t\r\n" * 4 + "b", "a\r\n⟦4 blank lines⟧\r\nb"),
        ("a" + " " * 40 + "b", "a" + " " * 40 + "b"),
        ("a" + " " * 41 + "b", "a⟦41 blanks⟧b"),
        ("a" + "\t" * 10 + "b", "a" + "\t" * 10 + "b"),
        ("a" + "\t" * 11 + "b", "a⟦11 blanks⟧b"),
        ("a" + "\u3000\xa0" * 30 + "b", "a⟦60 blanks⟧b"),
        ("o\u0301\u0302k", "o\u0301\u0302k"),
        ("o\u0301\u0302\u0303\u0304k", "o\u0301\u0302⟦2 more marks⟧k"),
    ],
)
def test_padding_and_stacked_marks_are_folded_with_a_count(text: str, shown: str) -> None:
    assert render(text).plain() == shown
    assert written(render(text)) == text


def test_blanks_behind_which_nothing_stands_hide_nothing() -> None:
    assert codes("a" + " " * 500 + "\nb") == []
    assert codes("a" + "\n" * 500) == []
    assert codes("a" + " " * 500 + "b") == ["padding"]
    assert codes("a" + "\n" * 500 + "b") == ["padding"]


@pytest.mark.parametrize(
    ("text", "flagged", "title"),
    [
        ("pay with {}", "p\u0430ypal", "mixes Cyrillic and Latin letters"),
        ("the {} team", "\u0440\u0430\u0443\u0440\u0430\u04cf", "Cyrillic letters, reads as “paypal”"),
        ("see {} or", "xn--pypal-4ve.example", "punycode, reads as “p\u0430ypal”"),
        ("see {}", "\u0430\u0440\u0440\u04cf\u0435.example", "a name that reads as “apple.example”"),
        ("https://{}/x", "b\u0430nk.example", "a name that mixes Cyrillic and Latin letters"),
        ("{}", "bank.example\u2044x.example", "a dot or slash that is none"),
    ],
)
def test_borrowed_letters_are_flagged_with_what_they_are(text: str, flagged: str, title: str) -> None:
    rendered = render(text.format(flagged))
    assert [(piece.text, piece.title) for piece in rendered.pieces if piece.kind == "flag"] == [(flagged, title)]
    assert f"{flagged}⟦{title}⟧" in rendered.plain()


def test_no_text_can_pass_for_a_mark() -> None:
    real, imitated = render("a\u200bb"), render("a⟦U+200B⟧b")
    assert real.plain() == "a⟦U+200B⟧b"
    assert imitated.plain() == "a⟦U+27E6⟧U+200B⟦U+27E7⟧b"
    assert [notice.code for notice in imitated.notices] == ["imitation"]


def test_marks_of_direction_are_at_home_in_lines_written_from_right_to_left_and_nowhere_else() -> None:
    assert render("שלום \u200fExcel\u200e 365").pieces == (Piece("שלום \u200fExcel\u200e 365"),)
    assert codes("שלום\nrefund \u200f100 - 20") == ["direction"]
    assert codes("שלום \u202etxt.exe") == ["direction"]
    isolated = render("של \u2068Ada\u2069 אמר")
    assert [piece.text for piece in isolated.pieces if piece.kind == "mark"] == ["⟦U+2068⟧", "⟦U+2069⟧"]
    assert isolated.notices == ()


@given(st.text(st.characters()) | st.text(LETTERS) | st.text(st.sampled_from("\u0430.b\u200b\u2024xn-é")))
@example("p\u200b\u0430ypal")
@example("\u0430\u200b\u0430\u200b\u0430\u200bb")
@example("\ud800\udfff")
def test_any_text_is_shown_whole_and_nothing_unseen_is_left(text: str) -> None:
    rendered = render(text)
    assert written(rendered) == text
    assert all(piece.text for piece in rendered.pieces)
    assert all(bool(piece.hidden) == (piece.kind in {"mark", "fold"}) for piece in rendered.pieces)
    assert rendered == render(text)
    assert not NEVER_SHOWN.search(rendered.plain())


@pytest.mark.parametrize(
    "unit",
    [
        "a", "a\u200b", "\u200b", "a\u0301", "\u0301", "⟦", "\n ", " \t", "\u05d0\u200f", "\u0430b ", "\u0430.",
        "xn--a.", "\U0001f469\u200d", "\u202e\n", "\u2044a", "\U000e0061",
    ],
    ids=ascii,
)  # fmt: skip
def test_the_work_grows_no_faster_than_the_text(unit: str) -> None:
    small, large = (steps_of(unit * times) for times in (500, 2_000))
    assert large <= 4.5 * small + 100


def steps_of(text: str) -> int:
    """Lines of code and calls of built-in functions that rendering a text takes."""
    render(text)
    steps: Counter[str] = Counter()

    def count(_frame: FrameType, event: str, _argument: object) -> "TraceFunction":
        steps[event] += 1
        return count

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(count)
    sys.setprofile(count)
    try:
        render(text)
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return steps.total()


@pytest.mark.parametrize(
    "unit", ["\n ", "\n" + " " * 11, "a.", " \u0430", "\u0301", "\U0001f469\u200d", "\r", "\u0430\u0301"], ids=ascii
)
def test_a_text_of_the_greatest_size_has_no_pattern_that_runs_away(unit: str) -> None:
    assert written(render(unit * (256 * 1024 // len(unit)))) == unit * (256 * 1024 // len(unit))
