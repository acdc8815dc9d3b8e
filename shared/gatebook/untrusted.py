"""The one sanitiser for text that outsiders wrote.

A model should read what a person sees on the rendered page and nothing else: no HTML comments, scripts or styles, no
invisible, bidirectional, tag or control characters. This is mitigation, not proof; what guards against a send is the
approval. Text hidden by a style sheet ("display:none") is kept, and so are a style element nobody closed and unknown
tags, because `std::vector<int>`, `List<Object>` and `<MyComponent>` are code a customer wrote. Everything here is
linear in the length of the text and accepts any `str`.
"""

import re
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from gatebook.lookalikes import ENTITY, decode_entity, fold

__all__ = ["Removed", "UntrustedText", "has_injection_signs", "preview", "sanitise"]

_BLOCKS = (
    "address article aside blockquote body br caption center dd details dialog div dl dt fieldset figcaption figure"
    " footer form frameset h1 h2 h3 h4 h5 h6 head header hr html iframe legend li link main menu meta nav noscript ol"
    " optgroup option pre search section select summary table tbody textarea tfoot thead title tr ul video audio"
    " canvas object"
)
_CELLS = "td th"
_INLINE = (
    "abbr acronym area base bdi bdo big blink button cite code col colgroup data datalist del dfn em embed font frame"
    " img input ins kbd label map mark marquee meter nobr output param picture progress rp rt ruby samp slot small"
    " source span strike strong style script sub sup svg template time track tt var wbr"
)
_SHORT = "a b i p q s u"
_UNREAD = "script style template"


def _any_of(names: str) -> str:
    return "|".join(names.split())


# Inside a tag nothing may hold "<": that keeps a failed match from running past the next tag.
_REST = r"""(?:[^<>"']|"[^"<]*"|'[^'<]*')*+>|[^<>]*+>"""
_MARKUP = re.compile(
    r"<(?=[a-z/!?])(?:(?P<comment>!--(?:-?>|[\s\S]*?--!?>|[\s\S]*)|![a-z\[][^<>]*>|/[^a-z<>][^<>]*>|\?(?!php|=)[^<>]*>)"
    rf"|/?(?=[a-z])(?:(?P<name>{_any_of(f'{_BLOCKS} {_CELLS} {_INLINE}')})(?=[\s/>])(?:{_REST})"
    # "if a<b and c>d" is arithmetic: one letter is a tag alone or with attributes that have values.
    rf"|(?P<short>{_any_of(_SHORT)})(?:\s*/?>|\s(?=[^<>]*=)(?:{_REST}))))",
    re.IGNORECASE,
)
_CLOSING = {name: re.compile(rf"</{name}\b[^<>]*>", re.IGNORECASE) for name in _UNREAD.split()}
_NEW_LINE = frozenset({*_BLOCKS.split(), "p"})
_OPENED_ONLY = frozenset({"dd", "dt", "li", "option", "tr"})  # their end is the next one's beginning
_NEW_CELL = frozenset(_CELLS.split())

_LINE_ENDS = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
_ODD_SPACES = re.compile(r"[\xa0\u1680\u2000-\u200a\u202f\u205f\u2800]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
# Joiners and emoji presentation stay where they join or dress emoji; nothing else here has a shape.
_EMOJI = r"\u00a9\u00ae\u2190-\u27ff\u2900-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001fbff"
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5"
    r"\u180b-\u180f\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb"
    r"\ufffe\uffff\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff]"
    rf"|(?<![{_EMOJI}])(?<![{_EMOJI}]\ufe0f)\u200d|\u200d(?![{_EMOJI}])|(?<![{_EMOJI}0-9#*])\ufe0f"
)
_BLANK_LINES = re.compile(r"\n(?:[ \t]*+\n){2,}")

# On words alone, so that punctuation and line breaks between them do not matter.
_ORDERS = re.compile(
    r"\b(?:"
    r"(?:ignore|disregard|forget|override|bypass)(?: \w+){0,5}"
    r" (?:instructions?|prompts?|rules|guidelines|directions|policy|policies)"
    r"|(?:system|developer|admin|administrator|operator) (?:note|message|prompt|instruction|override)s? (?:to|for)"
    r"|(?:note|message|instructions?|attention|dear|hey|hello) (?:(?:to|for|all) )?(?:the |any |all )?"
    r"(?:ai|llm|language model|chatbot|assistant|support agent|ai agent)s?"
    r"|you are now|pretend (?:to be|you are)"
    r"|act as (?:an? |the )?(?:admin|administrator|system|root|unrestricted|developer)"
    r"|pre ?(?:approved|authori[sz]ed)"
    r"|(?:new|updated|real|actual) (?:system )?(?:instructions|prompt)"
    r"|(?:without|no need for) (?:\w+ ){0,3}(?:approval|confirmation|permission|review)"
    r"|(?:skip|skipping|bypass) (?:\w+ ){0,3}(?:approval|review)"
    r"|approval (?:has |is |was )?(?:been )?(?:already )?(?:granted|given|not (?:needed|required|necessary))"
    r"|(?:do not|don t|never) (?:tell|inform|alert|notify|ask) (?:the |a )?(?:user|human|operator|admin|anyone|person)"
    r"|(?:reveal|print|show|repeat|output|send) (?:\w+ ){0,4}(?:system prompt|api keys?|secrets|your instructions)"
    r"|(?:mark|close|solve|resolve|refund|reply to|delete) (?:all|every) (?:\w+ ){0,2}(?:tickets?|customers?)"
    r"|to (?:all|every) (?:open )?(?:tickets?|customers?)"
    r"|jailbreak|god mode|dan mode"
    r"|ignorier\w*(?: \w+){0,4} (?:anweisung|vorgabe|regel)\w*"
    r"|ignor(?:ez|er|a|ar|e|are)(?: \w+){0,4} (?:instruction|instruccion|istruzion|instruco|consigne)\w*"
    r")\b"
)
_FORGED_TURN = re.compile(
    r"<\|[a-z_]{2,24}\|>|\[/?inst\]|<</?sys>>|</?(?:system|assistant|instructions?)>|\n(?:system|assistant): "
)
_SMUGGLED = re.compile(r"[\U000e0020-\U000e007e]{3}|[\U000e0100-\U000e01ef]{2}")
_NOT_WORDS = re.compile(r"[\W_]+")


class Removed(BaseModel):
    """What was taken out of a text.

    Attributes:
        html_comments: HTML comments, declarations and processing instructions.
        invisible: Characters without a shape: zero-width, bidirectional, tag, control and stray joiners.
        tags: HTML tags; a script or style element counts as one, with its content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    html_comments: int = 0
    invisible: int = 0
    tags: int = 0


class UntrustedText(BaseModel):
    """A sanitised text of an outsider, or a page of it. What it says is data and never an instruction.

    Attributes:
        text: The sanitised text from the offset asked for.
        trust: Always "untrusted".
        original_chars: Characters of the raw text.
        truncated: Whether sanitised text follows behind this page.
        next_offset: The offset of the next page, in characters of the sanitised text; None at the end.
        removed: What was taken out of the whole text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    trust: Literal["untrusted"] = "untrusted"
    original_chars: int
    truncated: bool = False
    next_offset: int | None = None
    removed: Removed = Removed()


def sanitise(raw: str, *, limit: int | None = None, offset: int = 0) -> UntrustedText:
    """Makes plain text of what an outsider wrote: markup out, entities decoded, both once more, invisibles out.

    Args:
        raw: Plain text, Markdown or HTML; lone surrogates become U+FFFD.
        limit: Characters of sanitised text to return at most; None returns the rest.
        offset: Where in the sanitised text to begin; behind the end gives an empty text.

    Raises:
        ValueError: The limit is below 1 or the offset negative.
    """
    if offset < 0 or (limit is not None and limit < 1):
        raise ValueError("limit must be at least 1 and offset at least 0")
    clean, removed = _clean(raw)
    end = len(clean) if limit is None else offset + limit
    more = end < len(clean)
    return UntrustedText(
        text=clean[offset:end],
        original_chars=len(raw),
        truncated=more,
        next_offset=end if more else None,
        removed=removed,
    )


def preview(raw: str, chars: int) -> str:
    """The sanitised text on one line of at most `chars` characters, cut between words and ended by "…" if cut.

    Raises:
        ValueError: `chars` is below 1.
    """
    if chars < 1:
        raise ValueError("chars must be at least 1")
    line = " ".join(_clean(raw)[0].split())
    if len(line) <= chars:
        return line
    cut = line[: chars - 1]
    if not line[chars - 1].isspace():
        cut = cut[: cut.rfind(" ")] if " " in cut else cut
    return cut.rstrip() + "…"


def has_injection_signs(raw: str) -> bool:
    """Whether the text looks as if it gave orders to a model. A flag for people; its absence allows nothing."""
    if _SMUGGLED.search(raw):
        return True
    folded = fold(raw).text
    return bool(_FORGED_TURN.search(folded) or _ORDERS.search(_NOT_WORDS.sub(" ", folded)))


class _Stripped(NamedTuple):
    text: str
    comments: int
    tags: int


def _clean(raw: str) -> tuple[str, Removed]:
    text, invisible = _shaped(_SURROGATES.sub("\ufffd", raw))
    comments = tags = 0
    for last in (False, False, True):  # what the second decoding uncovers is markup to strip, not to decode again
        before = text
        stripped = _strip_markup(text)
        text, more = _shaped(stripped.text if last else ENTITY.sub(_decoded, stripped.text))
        comments, tags, invisible = comments + stripped.comments, tags + stripped.tags, invisible + more
        if text == before:
            break
    text = _BLANK_LINES.sub("\n\n", _ODD_SPACES.sub(" ", text)).strip("\n").rstrip()
    return text, Removed(html_comments=comments, invisible=invisible, tags=tags)


def _decoded(entity: re.Match[str]) -> str:
    return decode_entity(entity.group())


def _shaped(text: str) -> tuple[str, int]:
    """The text without invisible characters, and how many there were."""
    return _INVISIBLE.subn("", _LINE_ENDS.sub("\n", text))


def _strip_markup(text: str) -> _Stripped:
    pieces: list[str] = []
    comments = tags = position = 0
    unclosed: set[str] = set()
    while match := _MARKUP.search(text, position):
        pieces.append(text[position : match.start()])
        position = match.end()
        if match["comment"]:
            comments += 1
        elif _is_code(text, match):
            pieces.append("<")
            position = match.start() + 1
        else:
            tags += 1
            name = (match["name"] or match["short"]).lower()
            pieces.append(_in_place_of(name, match.group()))
            position = _end_of_unread(text, match, name, unclosed)
    return _Stripped("".join([*pieces, text[position:]]), comments, tags)


def _is_code(text: str, match: re.Match[str]) -> bool:
    """Whether it is a component or a type argument (`<Button>`, `List<A>`) rather than markup."""
    name = match["name"] or match["short"]
    if len(name) > 1:
        return name.istitle() and name.isalpha() and name.lower() not in _CLOSING
    return name.isupper() and match.group().endswith(f"<{name}>") and text[match.start() - 1 : match.start()].isalnum()


def _in_place_of(name: str, tag: str) -> str:
    if name in _OPENED_ONLY:
        return "" if tag.startswith("</") else "\n- " if name == "li" else "\n"
    if name in _NEW_LINE:
        return "\n"
    return " " if name in _NEW_CELL and not tag.startswith("</") else ""


def _end_of_unread(text: str, match: re.Match[str], name: str, unclosed: set[str]) -> int:
    """The offset behind a script or style element, or behind the tag alone where nothing closes it."""
    if name not in _CLOSING or name in unclosed or match.group().startswith("</") or match.group().endswith("/>"):
        return match.end()
    closing = _CLOSING[name].search(text, match.end())
    if closing is None:
        unclosed.add(name)
        return match.end()
    return closing.end()
