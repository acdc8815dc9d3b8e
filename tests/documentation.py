"""The pages of docs/ that are written from the code."""

import argparse
from collections.abc import Iterator
from typing import cast

from gatebook.settings import Settings
from gatebook_servers.catalogue import SERVERS
from gatebook_servers.cli import parser
from requirements import PROMISES


def tools_page() -> str:
    lines = ["# Tools", "", "Written from the code; what a tool's reach means stands in [concepts](concepts.md).", ""]
    for name, toolset in SERVERS.items():
        lines += [f"## {name}", "", toolset.instructions, "", "| tool | reach | what |", "|---|---|---|"]
        for spec in toolset.specs.values():
            what = " ".join(spec.description.split())
            lines.append(f"| `{spec.name}` | {spec.reach.name.lower()} | {what} |")
        lines.append("")
    return "\n".join(lines)


def settings_page() -> str:
    lines = [
        "# Configuration",
        "",
        "Environment variables, or the same names in lower case without the prefix in `gatebook.toml` in the home. The",
        "environment wins. The secrets that may be here are the address of a database and the credentials of desks;",
        "they are never printed. The bearer token of HTTP and SSE stands in a file of its own. A name in the file that",
        "is none of these is refused; of a variable `GATEBOOK_...` that is none, `gatebook doctor` warns.",
        "",
        "| variable | default | what |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory or field.default is None else f"`{field.default}`"
        lines.append(f"| `GATEBOOK_{name.upper()}` | {default} | {field.description} |")
    lines += [
        "",
        "`OTEL_EXPORTER_OTLP_ENDPOINT` switches the export of spans and metrics over HTTP on.",
        "",
        "## Policy",
        "",
        "`policy.toml` in the home says what is allowed, what a person is asked about and what is never done:",
        "[policy](policy.md).",
        "",
        "## Commands",
        "",
        "| command | what |",
        "|---|---|",
        *(f"| `gatebook {name}` | {what} |" for name, what in commands(parser())),
        "",
    ]
    return "\n".join(lines)


def guarantees_page() -> str:
    lines = ["# Guarantees", "", "What is promised, and the tests that prove it, under `tests/`.", ""]
    for promise in PROMISES.values():
        lines += [f"- {promise.says}", *(f"  - `{test}`" for test in promise.tests)]
    return "\n".join([*lines, ""])


def commands(root: argparse.ArgumentParser, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every command with its help, parts of a group behind the group."""
    for action in root._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        choices = cast("dict[str, argparse.ArgumentParser]", action.choices)  # pyright: ignore[reportUnknownMemberType]
        for name, below in choices.items():
            nested = list(commands(below, f"{prefix}{name} "))
            if not nested or below.get_default("run"):
                yield f"{prefix}{name}", helps.get(name, "")
            yield from nested
