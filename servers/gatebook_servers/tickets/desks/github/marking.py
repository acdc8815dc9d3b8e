"""The marker of a text of ours: an HTML comment, which GitHub keeps and shows to nobody who reads the page.

What is visible is exactly the approved text. The marker stands behind it, or in front where the text ends inside a
fence of code, which would show it.
"""

import re

_MARK = r"<!-- gatebook:(\S{1,80}) -->"
_BEHIND = re.compile(rf"(?:(?:\r?\n){{2}}|\A){_MARK}\s*\Z")
_IN_FRONT = re.compile(rf"\A{_MARK}(?:\r?\n){{2}}")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


def marked(text: str, marker: str) -> str:
    """Return the text with the marker, where it is not visible."""
    mark = f"<!-- gatebook:{marker} -->"
    return f"{mark}\n\n{text}" if _ends_in_code(text) else f"{text}\n\n{mark}"


def marker_in(text: str) -> str:
    """Return the marker of a text, empty where there is none."""
    found = _found(text)
    return found[1] if found else ""


def unmarked(text: str) -> str:
    """Return the text as it was before it was marked."""
    found = _found(text)
    return text[: found.start()] + text[found.end() :] if found else text


def _found(text: str) -> re.Match[str] | None:
    return _BEHIND.search(text) or _IN_FRONT.search(text)


def _ends_in_code(text: str) -> bool:
    """Whether a fence of code is open at the end (https://github.github.com/gfm/#fenced-code-blocks)."""
    fence = ""
    for line in text.splitlines():
        found = _FENCE.match(line)
        if found is None:
            continue
        if not fence:
            # What follows an opening fence of backticks has none.
            fence = "" if found[1][0] == "`" and "`" in found[2] else found[1]
        elif found[1].startswith(fence) and not found[2].strip():
            fence = ""
    return bool(fence)
