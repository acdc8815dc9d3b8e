"""Plain text to the Atlassian Document Format and back.

Texts of ours come back as they were, with every line end as a newline. Of documents that people made the words stay, in
order, with the address behind a link and the name of a file; emphasis, colours, layout and sizes are lost. The types of
nodes are those of https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/ and its schema; a type
that is not known gives its text.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import cast

from pydantic import JsonValue

Node = dict[str, JsonValue]

MAX_DEPTH = 40
"""How deep nesting is shown as such; below it only the words are taken."""
_PARAGRAPH = "\n\n"


def document(text: str) -> Node:
    """Return a text as a document: an empty line begins a paragraph, another line end is a hard break."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return {"type": "doc", "version": 1, "content": [_paragraph(part) for part in lines.split(_PARAGRAPH)]}


def text_of(body: JsonValue) -> str:
    """Return the text of a document; a plain string, as older answers have, is one already."""
    if isinstance(body, str):
        return body
    return _blocks(body, _PARAGRAPH, 0) if isinstance(body, dict) else ""


def _paragraph(text: str) -> Node:
    content: list[JsonValue] = []
    for number, line in enumerate(text.split("\n")):
        if number:
            content.append({"type": "hardBreak"})
        if line:
            content.append({"type": "text", "text": line})
    return {"type": "paragraph", "content": content}


def _rendered(node: Node, depth: int) -> str:
    """Return the text of one node of any type."""
    if depth > MAX_DEPTH:
        return _words(node)
    kind = node.get("type")
    return _RENDERERS.get(kind if isinstance(kind, str) else "", _unknown)(node, depth + 1)


def _blocks(node: Node, between: str, depth: int) -> str:
    return between.join(_rendered(child, depth) for child in _children(node))


def _inline(node: Node, depth: int) -> str:
    return _blocks(node, "", depth)


def _paragraphs(node: Node, depth: int) -> str:
    return _blocks(node, _PARAGRAPH, depth)


def _lines(node: Node, depth: int) -> str:
    return _blocks(node, "\n", depth)


def _text(node: Node, _: int) -> str:
    text = _string(node, "text")
    marks = node.get("marks")
    for mark in cast("list[JsonValue]", marks) if isinstance(marks, list) else []:
        target = _attribute(mark, "href") if isinstance(mark, dict) and mark.get("type") == "link" else ""
        if target and target != text:
            return f"{text} ({target})"
    return text


def _break(_: Node, __: int) -> str:
    return "\n"


def _rule(_: Node, __: int) -> str:
    return "---"


def _quote(node: Node, depth: int) -> str:
    return _indented(_paragraphs(node, depth), "> ", "> ")


def _bullets(node: Node, depth: int) -> str:
    return "\n".join(_item(child, "- ", depth) for child in _children(node))


def _numbers(node: Node, depth: int) -> str:
    first = _attributes(node).get("order")
    start = first if isinstance(first, int) else 1
    return "\n".join(_item(child, f"{start + n}. ", depth) for n, child in enumerate(_children(node)))


def _item(node: Node, mark: str, depth: int) -> str:
    return _indented(_rendered(node, depth), mark, " " * len(mark))


def _tasks(node: Node, depth: int) -> str:
    # A task list may hold further task lists beside its items.
    return "\n".join(
        _indented(_rendered(child, depth), "  ", "  ") if child.get("type") == "taskList" else _rendered(child, depth)
        for child in _children(node)
    )


def _task(node: Node, depth: int) -> str:
    mark = "[x] " if _attribute(node, "state") == "DONE" else "[ ] "
    return _indented(_inline(node, depth), mark, "    ")


def _block_task(node: Node, depth: int) -> str:
    mark = "[x] " if _attribute(node, "state") == "DONE" else "[ ] "
    return _indented(_lines(node, depth), mark, "    ")


def _row(node: Node, depth: int) -> str:
    return " | ".join(" ".join(_rendered(cell, depth).split("\n")) for cell in _children(node))


def _titled(node: Node, depth: int) -> str:
    title = _attribute(node, "title")
    return _PARAGRAPH.join(part for part in (title, _paragraphs(node, depth)) if part)


def _mention(node: Node, _: int) -> str:
    return _attribute(node, "text") or f"@{_attribute(node, 'id')}"


def _emoji(node: Node, _: int) -> str:
    return _attribute(node, "text") or _attribute(node, "shortName")


def _date(node: Node, _: int) -> str:
    stamp = _attributes(node).get("timestamp")
    try:
        return datetime.fromtimestamp(int(str(stamp)) / 1000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def _label(node: Node, _: int) -> str:
    return _attribute(node, "text")


def _card(node: Node, _: int) -> str:
    data = _attributes(node).get("data")
    url = _attribute(node, "url") or (_string(data, "url") if isinstance(data, dict) else "")
    return url or (_string(data, "name") if isinstance(data, dict) else "")


def _media(node: Node, _: int) -> str:
    named = _attribute(node, "alt") or _attribute(node, "url") or _attribute(node, "id")
    return f"[file: {named}]" if named else "[file]"


def _extension(node: Node, depth: int) -> str:
    """An app's place in a document: what it shows is not in it, only a text to stand in, and what stands inside."""
    shown = _attribute(node, "text") or f"[{_attribute(node, 'extensionKey') or 'extension'}]"
    return _PARAGRAPH.join(part for part in (shown, _paragraphs(node, depth)) if part)


def _synced(_: Node, __: int) -> str:
    return "[content of another page]"


def _unknown(node: Node, depth: int) -> str:
    own = _string(node, "text") or _attribute(node, "text")
    inline = all(child.get("type") in _INLINE for child in _children(node))
    return own + _blocks(node, "" if inline else _PARAGRAPH, depth)


def _words(node: Node) -> str:
    """Every text below a node, without recursion."""
    words: list[str] = []
    waiting = [node]
    while waiting:
        one = waiting.pop()
        words.append(_string(one, "text") or _attribute(one, "text"))
        waiting += reversed(_children(one))
    return " ".join(word for word in words if word)


_RENDERERS: dict[str, Callable[[Node, int], str]] = {
    "doc": _paragraphs,
    "paragraph": _inline,
    "heading": _inline,
    "caption": _inline,
    "codeBlock": _inline,
    "text": _text,
    "hardBreak": _break,
    "rule": _rule,
    "blockquote": _quote,
    "panel": _paragraphs,
    "bulletList": _bullets,
    "orderedList": _numbers,
    "listItem": _lines,
    "taskList": _tasks,
    "taskItem": _task,
    "blockTaskItem": _block_task,
    "decisionList": _bullets,
    "decisionItem": _inline,
    "table": _lines,
    "tableRow": _row,
    "tableHeader": _lines,
    "tableCell": _lines,
    "expand": _titled,
    "nestedExpand": _titled,
    "layoutSection": _paragraphs,
    "layoutColumn": _paragraphs,
    "mediaSingle": _lines,
    "mediaGroup": _lines,
    "media": _media,
    "mediaInline": _media,
    "mention": _mention,
    "emoji": _emoji,
    "date": _date,
    "status": _label,
    "placeholder": _label,
    "inlineCard": _card,
    "blockCard": _card,
    "embedCard": _card,
    "extension": _extension,
    "inlineExtension": _extension,
    "bodiedExtension": _extension,
    "syncBlock": _synced,
    "bodiedSyncBlock": _paragraphs,
}
NODE_TYPES = frozenset(_RENDERERS)
"""The types that are rendered each in its own way."""
_INLINE = {"text", "hardBreak", "mention", "emoji", "date", "status", "inlineCard", "mediaInline", "placeholder"}


def _children(node: Node) -> Sequence[Node]:
    content = node.get("content")
    return [child for child in content if isinstance(child, dict)] if isinstance(content, list) else []


def _attributes(node: Node) -> Node:
    attributes = node.get("attrs")
    return attributes if isinstance(attributes, dict) else {}


def _attribute(node: Node, name: str) -> str:
    return _string(_attributes(node), name)


def _string(node: Node, name: str) -> str:
    value = node.get(name)
    return value if isinstance(value, str) else ""


def _indented(text: str, first: str, others: str) -> str:
    return first + text.replace("\n", f"\n{others}")
