"""The Atlassian Document Format: our texts survive it, and of people's documents every word does."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from gatebook_servers.tickets.desks.jira.adf import MAX_DEPTH, NODE_TYPES, Node, document, text_of


def node(kind: str, *content: Node, **attributes: JsonValue) -> Node:
    made: Node = {"type": kind}
    if content:
        made["content"] = list(content)
    if attributes:
        made["attrs"] = attributes
    return made


def words(text: str, *marks: Node) -> Node:
    return {"type": "text", "text": text, **({"marks": list(marks)} if marks else {})}


def line(text: str) -> Node:
    return node("paragraph", words(text))


def doc(*content: Node) -> Node:
    return {"type": "doc", "version": 1, "content": list(content)}


@given(st.text(alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\n\n \t"))))
def test_a_text_comes_back_as_it_was_with_newlines_for_line_ends(text: str) -> None:
    assert text_of(document(text)) == text.replace("\r\n", "\n").replace("\r", "\n")


@given(st.text(alphabet="ab\n", max_size=40))
def test_a_document_of_ours_has_no_empty_text(text: str) -> None:
    for paragraph in cast("list[Node]", document(text)["content"]):
        assert paragraph["type"] == "paragraph"
        for inline in cast("list[Node]", paragraph["content"]):
            assert inline in ({"type": "hardBreak"}, {"type": "text", "text": inline.get("text")})
            assert inline.get("text") != ""


ITEM = node("listItem", line("one"), node("bulletList", node("listItem", line("deep"))))
LINK: Node = {"type": "link", "attrs": {"href": "https://help.example/a"}}
CELLS = node("tableRow", node("tableHeader", line("a")), node("tableCell", line("b"), line("c")))
SHOWN: list[tuple[Node, str]] = [
    (node("heading", words("Title"), level=2), "Title"),
    (node("paragraph", words("see "), words("this", LINK)), "see this (https://help.example/a)"),
    (words("https://help.example/a", LINK), "https://help.example/a"),
    (words("bold", {"type": "strong"}), "bold"),
    (node("blockquote", line("a"), line("b")), "> a\n> \n> b"),
    (node("bulletList", ITEM, node("listItem", line("two"))), "- one\n  - deep\n- two"),
    (node("orderedList", ITEM, node("listItem", line("two")), order=9), "9. one\n   - deep\n10. two"),
    (node("taskList", node("taskItem", words("do"), state="TODO")), "[ ] do"),
    (node("taskList", node("taskList", node("taskItem", words("done"), state="DONE"))), "  [x] done"),
    (node("taskList", node("blockTaskItem", line("a"), line("b"), state="DONE")), "[x] a\n    b"),
    (node("decisionList", node("decisionItem", words("so be it"))), "- so be it"),
    (node("codeBlock", words("a\n  b"), language="python"), "a\n  b"),
    (node("panel", line("mind"), panelType="info"), "mind"),
    (node("rule"), "---"),
    (node("expand", line("inside"), title="More"), "More\n\ninside"),
    (node("nestedExpand", line("inside")), "inside"),
    (node("table", CELLS, CELLS), "a | b c\na | b c"),
    (node("layoutSection", node("layoutColumn", line("l")), node("layoutColumn", line("r"))), "l\n\nr"),
    (node("mediaSingle", node("media", alt="a.png"), node("caption", words("seen"))), "[file: a.png]\nseen"),
    (node("mediaGroup", node("media", id="x"), node("media")), "[file: x]\n[file]"),
    (node("paragraph", node("mediaInline", id="x")), "[file: x]"),
    (node("mention", text="@Kim", id="1"), "@Kim"),
    (node("mention", id="1"), "@1"),
    (node("emoji", shortName=":smile:"), ":smile:"),
    (node("date", timestamp="1790000000000"), "2026-09-21"),
    (node("date", timestamp="soon"), ""),
    (node("status", text="LATE"), "LATE"),
    (node("placeholder", text="write here"), "write here"),
    (node("inlineCard", url="https://help.example/a"), "https://help.example/a"),
    (node("blockCard", data={"url": "https://help.example/b"}), "https://help.example/b"),
    (node("embedCard", data={"name": "A page"}), "A page"),
    (node("extension", extensionKey="chart"), "[chart]"),
    (node("inlineExtension", text="a chart"), "a chart"),
    (node("bodiedExtension", line("body"), extensionKey="box"), "[box]\n\nbody"),
    (node("syncBlock", resourceId="1"), "[content of another page]"),
    (node("bodiedSyncBlock", line("body")), "body"),
    (node("novelty", line("a"), line("b")), "a\n\nb"),
    (node("novelty", words("a"), words("b")), "ab"),
    (node("novelty", text="only this"), "only this"),
]


@pytest.mark.parametrize(("shown", "text"), SHOWN)
def test_the_words_of_every_node_stay(shown: Node, text: str) -> None:
    assert text_of(doc(shown)) == text


def test_every_type_of_the_format_is_tried() -> None:
    def types(one: JsonValue) -> set[str]:
        if not isinstance(one, dict):
            return set()
        below = one.get("content", [])
        assert isinstance(below, list)
        return {str(one["type"]), *(kind for child in below for kind in types(child))}

    tried = {kind for shown, _ in SHOWN for kind in types(shown)} | {"doc", "hardBreak"}
    assert tried - {"novelty"} == NODE_TYPES


def test_paragraphs_stay_apart() -> None:
    assert text_of(doc(line("a"), line("b"))) == "a\n\nb"


def test_a_document_of_any_depth_gives_its_words() -> None:
    deep = line("bottom")
    for _ in range(MAX_DEPTH * 20):
        deep = node("blockquote", deep)
    assert text_of(doc(deep)).replace("> ", "").strip() == "bottom"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.fixed_dictionaries(
            {"type": st.sampled_from([*sorted(NODE_TYPES), "novelty"]) | below},
            optional={"content": st.lists(below, max_size=3) | below, "attrs": below, "marks": below, "text": below},
        )
    ),
    max_leaves=15,
)


@given(JSON)
def test_no_answer_breaks_it(body: JsonValue) -> None:
    assert isinstance(text_of(body), str)


@pytest.mark.parametrize("body", ["plain", ""])
def test_what_is_plain_stays_plain(body: str) -> None:
    assert text_of(body) == body
