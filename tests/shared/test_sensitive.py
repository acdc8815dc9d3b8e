import csv
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatebook.lookalikes import readings
from gatebook.sensitive import Hit, SensitiveTerms

TERMS = SensitiveTerms()
SHARED_DATA = Path(os.environ.get("GATEBOOK_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
HELD = {"CUS-0004", "CUS-0012", "CUS-0020", "CUS-0028", "CUS-0036", "CUS-0044", "CUS-0052", "CUS-0060"}

PLAIN = {
    "refund": ["refund", "REFUNDS", "refundable", "Reimburse me", "a chargeback", "charge back", "my money back"],
    "legal": [
        "legal",
        "legally binding",
        "our lawyers",
        "our counsel",
        "a lawsuit",
        "we will sue you",
        "see you in court",
    ],
    "data_breach": ["data breach", "security breach", "your data leak", "breach of our customers' personal data"],
}
OTHER_LANGUAGES = {
    "refund": [
        "R\u00fcckerstattung",
        "Kostenerstattung",
        "remboursement",
        "un reembolso",
        "\u9000\u6b3e",
        "\u8fd4\u91d1\u3057\u3066",
    ],
    "legal": ["Rechtsanwalt", "mon avocat", "mi abogado", "acciones legales"],
    "data_breach": ["Datenpanne", "fuite de donn\u00e9es", "violaci\u00f3n de datos"],
}
CONTEXT = {
    "refund": ["give me back my money", "we dispute the charge"],
    "legal": ["a complaint under the GDPR", "the legal case", "our legal values"],
    "data_breach": [
        "exposure of customer records",
        "personal data exposed",
        "you leaked our data",
        "I can see another company's invoices",
        "someone stole our customers' records",
    ],
}
DISGUISED = {
    "refund": [
        "re\u200bfund",
        "re\u00adfund",
        "re\u2060f\u034fund",
        "r e f u n d",
        "r.e.f.u.n.d",
        "r*e*f*u*n*d",
        "r-e-f-u-n-d",
        "r_e_f_u_n_d",
        "r\ne\nf\nu\nn\nd",
        "p l e a s e r e f u n d m e",
        "ref&#117;nd",
        "ref&#x75;nd",
        "ref&amp;#117;nd",
        "ref%75nd",
        "re<b>fu</b>nd",
        "**re**fund",
        "re-\nfund",
        "\uff52\uff45\uff46\uff55\uff4e\uff44",
        "\U0001d42b\U0001d41e\U0001d41f\U0001d42e\U0001d427\U0001d41d",
        "\u24e1\u24d4\u24d5\u24e4\u24dd\u24d3",
        "\u0280\u1d07\ua730\u1d1c\u0274\u1d05",
        "r\u0301e\u0301f\u0301u\u0301n\u0301d",
        "r3fund",
        "r 3 f u n d",
        "refuuuund",
        "reffund",
        "refudn",
        "refundplease",
        "\u042fEFU\u0418D",
        "> refund",
    ],
    "legal": [
        "leg\u0430l",
        "l\u0435gal",
        "l3gal",
        "1egal",
        "Iegal",
        "\u013fegal",
        "l\u00b7e\u00b7g\u00b7a\u00b7l",
        "\u13de\u13ac\u13c0\u13aa\u13de",
    ],
    "data_breach": [
        "data  breach",
        "data\u00a0breach",
        "data\nbreach",
        "data\r\n> breach",
        "data&nbsp;breach",
        "data<br>breach",
        "data_breach",
        "data-breach",
        "DataBreach",
        "d a t a   b r e a c h",
        "d4ta br34ch",
        "d\u0430t\u0430 br\u0435\u0430ch",
    ],
}
INNOCENT = [
    "illegal",
    "i l l e g a l",
    "java.lang.IllegalArgumentException",
    "Illegal instruction (core dumped)",
    "is not a legal value",
    "legal-size paper",
    "legal_characters",
    "https://x.example/legal/terms",
    "see www.x.example/legal",
    "./docs/legal/NOTICE",
    "-tfl-legalize-tf",
    "the fund",
    "Re: Funds not received",
    "prefunded",
    "SLA breach",
    "the data export breached the SLA",
    "dataset breached",
    "memory leak in my data loader",
    "Sue from accounting called about this issue",
    "counselling",
    "Berichterstattung",
    "configure:19341: result",
]


def cases(*tables: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(category, text) for table in tables for category, texts in table.items() for text in texts]


@pytest.mark.parametrize(("category", "text"), cases(PLAIN, OTHER_LANGUAGES, CONTEXT, DISGUISED), ids=ascii)
def test_a_sensitive_text_is_found_however_it_is_written(category: str, text: str) -> None:
    assert category in {hit.category for hit in TERMS.find(text)}
    assert category in {hit.category for hit in TERMS.find(f"Hello,\n{text}, please.\n-- \nA. Customer")}


@pytest.mark.parametrize("text", INNOCENT)
def test_a_technical_or_unrelated_word_is_let_go(text: str) -> None:
    assert TERMS.find(text) == ()


def test_a_quoted_reply_and_a_signature_count() -> None:
    assert TERMS.find("Thanks!\n\nOn Monday A. Person wrote:\n> > I want a refund.")
    assert TERMS.find("Please call me.\n-- \nA. Person, Legal, Acme Inc.")


@pytest.mark.parametrize(
    ("text", "passage", "how"),
    [
        ("a refund now", "refund", "word"),
        ("Was there a data  breach?", "data  breach", "word"),
        ("the REFUNDS are late", "REFUNDS", "inflection"),
        ("ist re\u200bfunded or not", "re\u200bfunded", "normalised"),
        ("\u200bref&#117;nd\u200b!", "ref&#117;nd", "normalised"),
        ("x <i>re<b>fu</b>nd</i> y", "re<b>fu</b>nd", "normalised"),
        ("a full r e f u n d please", "r e f u n d", "spaced"),
        ("\u00c4h, \U0001d42bef u n d!", "\U0001d42bef u n d", "spaced"),
    ],
)
def test_a_hit_gives_the_offsets_in_the_original_text_and_how_it_was_found(text: str, passage: str, how: str) -> None:
    (hit,) = TERMS.find(text)
    assert (text[hit.start : hit.end], hit.how) == (passage, how)


def test_a_term_is_reported_as_configured_and_once() -> None:
    assert TERMS.find("Refunded, by our Lawyers.") == (
        Hit(term="refund", category="refund", start=0, end=8, how="inflection"),
        Hit(term="lawyer", category="legal", start=17, end=24, how="inflection"),
    )


def test_an_operators_phrase_is_found_like_a_built_in_one_and_keeps_its_category() -> None:
    terms = SensitiveTerms({"outage": ["total outage", "\u505c\u6b62"], "legal": ["legal size"]})
    assert [(hit.category, hit.term) for hit in terms.find("T0TAL\u00a0outage")] == [("outage", "total outage")]
    assert [hit.how for hit in terms.find("t o t a l outage")] == ["spaced"]
    assert [hit.term for hit in terms.find("\u30b5\u30fc\u30d3\u30b9\u505c\u6b62\u3067\u3059")] == ["\u505c\u6b62"]
    assert [hit.term for hit in terms.find("legal size")] == ["legal size"]
    assert [hit.category for hit in terms.find("refund")] == ["refund"]
    assert TERMS.find("total outage") == ()


def test_an_operators_phrase_is_literal_text_and_no_regular_expression() -> None:
    terms = SensitiveTerms({"price": ["(re+)+$", "C++ licence", "apart", "AAA"]})
    assert terms.find("rererererererererererererere! a") == ()
    assert [hit.term for hit in terms.find("the c++ LICENCE")] == ["C++ licence"]
    assert terms.find("it is a part of it") == ()


@pytest.mark.parametrize("extra", [{"legal": [" "]}, {"legal": ["..."]}, {"": ["word"]}])
def test_an_empty_phrase_or_category_is_refused(extra: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="not a sensitive phrase"):
        SensitiveTerms(extra)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "unit",
    [
        "r e f u n ",
        "refund ",
        "legal/",
        "breach ",
        "breach sla ",
        "<a ",
        "&#",
        "&amp;",
        "r\u200b",
        "a",
        "a.a.",
        "1e",
        "\u0433\u0435f ",
        "aaab",
    ],
    ids=ascii,
)
def test_a_hostile_text_of_200000_characters_is_searched_in_bounded_time(unit: str) -> None:
    text = (unit * 200_000)[:200_000]
    assert all(hit.end <= len(text) for hit in TERMS.find(text))


FRAGMENTS = st.sampled_from(
    [
        "refund",
        "le",
        "gal",
        "data",
        "breach",
        "<b>",
        "</b>",
        "&#117;",
        "&amp;",
        "\u200b",
        "\u0301",
        "\ud800",
        " ",
        ".",
        "3",
        "\n",
        "\u0435",
    ]
)
HOSTILE = st.one_of(st.text(), st.lists(st.one_of(FRAGMENTS, st.characters()), max_size=40).map("".join))


@settings(deadline=None)  # a busy machine is no failure
@given(HOSTILE)
def test_any_text_is_searched_and_its_hits_lie_within_it(text: str) -> None:
    hits = TERMS.find(text)
    assert all(0 <= hit.start < hit.end <= len(text) for hit in hits)
    assert list(hits) == sorted(hits, key=lambda hit: hit.start)


@settings(deadline=None)
@given(HOSTILE, HOSTILE)
def test_a_plain_term_is_found_whatever_stands_around_it(before: str, after: str) -> None:
    assert any(hit.category == "refund" for hit in TERMS.find(f"{before} Refund {after}"))


@settings(deadline=None)
@given(HOSTILE)
def test_folding_keeps_the_way_back_to_every_character(text: str) -> None:
    for folded in readings(text):
        spans = [folded.span(index, index + 1) for index in range(len(folded.text))]
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert spans == sorted(spans)


def shared_data(name: str) -> Path:
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"measurement data {name} is not here")
    return path


def test_the_real_inbox_is_held_where_it_must_be_and_nowhere_else() -> None:
    lines = shared_data("inbox-real.jsonl").read_text(encoding="utf-8").splitlines()
    messages = [json.loads(line) for line in lines]
    assert {message["id"] for message in messages if TERMS.find(f"{message['subject']}\n{message['body']}")} == HELD


def test_real_developer_issues_are_hardly_ever_held() -> None:
    csv.field_size_limit(1_000_000)
    with shared_data("nlbse2024-train.csv").open(encoding="utf-8", newline="") as file:
        texts = [f"{row['title']}\n{row['body']}" for row in csv.DictReader(file)]
    assert sum(bool(TERMS.find(text)) for text in texts[::5]) <= 1
