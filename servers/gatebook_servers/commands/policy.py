"""`gatebook approvals policy`: look at a policy, and try it on cases."""

import argparse
import json
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, JsonValue, TypeAdapter, ValidationError

from gatebook.approvals.cases import Case, matches
from gatebook.approvals.policy import Policy, Verdict
from gatebook.errors import ConfigurationError
from gatebook.intents import Facts, Value
from gatebook.reach import Reach
from gatebook.settings import load_settings
from gatebook_servers.catalogue import catalogue
from gatebook_servers.commands.context import Commands
from gatebook_servers.commands.files import text_from
from gatebook_servers.commands.output import emit, say, table

MISMATCH = 1
"""Exit code of `policy test` when a verdict is not the expected one."""


class Expected(Value):
    """What the verdict has to be; what is left out may be anything."""

    outcome: Literal["allow", "review", "deny"]
    rules: tuple[str, ...] | None = None
    risk: str | None = None
    quorum: int | None = None
    roles: tuple[str, ...] | None = None
    four_eyes: bool | None = None
    decide_within_s: float | None = None
    use_within_s: float | None = None
    editable: tuple[str, ...] | None = None
    batch: bool | None = None
    shadow: tuple[str, ...] | None = None


class Example(Value):
    """One call as the server would know it. `at` and `earlier` are unknown where they are left out."""

    name: str = ""
    tool: str
    facts: Facts = Facts()
    content: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    principal: str = "agent:local"
    mode: Literal["live", "dry-run"] = "live"
    at: AwareDatetime | None = None
    earlier: int | None = Field(default=None, ge=0)
    expect: Expected


class Tried(Value):
    """What became of an example."""

    name: str
    tool: str
    ok: bool
    outcome: str
    rules: tuple[str, ...]
    unexpected: dict[str, JsonValue]
    """What the verdict says instead, by the name of what was expected."""


_EXAMPLES = TypeAdapter(list[Example])


def add(commands: Commands) -> None:
    """Declare the commands, below `approvals`."""
    policy = commands.add_parser("policy", help="the rules by which a person is asked").add_subparsers(
        required=True, metavar="ACTION"
    )
    check = policy.add_parser("check", help="whether a policy fits, and what it says of each tool")
    check.add_argument("file", type=Path, nargs="?", help="default: the policy in force")
    check.add_argument("--json", action="store_true")
    check.set_defaults(run=check_command)
    test = policy.add_parser("test", help="try a policy on cases; the exit code is 1 when a verdict is another")
    test.add_argument("cases", type=Path, metavar="CASES.json")
    test.add_argument("--policy", type=Path, metavar="FILE", help="default: the policy in force")
    test.add_argument("--json", action="store_true")
    test.set_defaults(run=test_command)


def check_command(options: argparse.Namespace) -> int:
    """Print what a policy says of each tool when nothing more is known; warn of names that no tool has."""
    policy = _policy(options.file)
    specs = catalogue().values()
    verdicts = {spec.qualified: policy.judge(Case(spec.qualified, spec.reach, Facts())) for spec in specs}
    idle = _idle(policy, tuple(verdicts))
    if options.json:
        tools = {name: verdict.model_dump(mode="json") | _outcome(verdict) for name, verdict in verdicts.items()}
        emit({"sha256": policy.sha256, "rules": len(policy.file.rule), "tools": tools, "without_a_tool": idle})
        return 0
    say(f"the policy fits: {len(policy.file.rule)} rules, sha256 {policy.sha256[:12]}")
    table(
        "what it says of a call of which nothing more is known",
        ["tool", "outcome", "because of", "on trial"],
        [
            (name, verdict.outcome.name.lower(), ", ".join(verdict.rules), ", ".join(verdict.shadow))
            for name, verdict in verdicts.items()
        ],
    )
    for glob in idle:
        say(f"no tool of this suite is named by: {glob}")
    return 0


def test_command(options: argparse.Namespace) -> int:
    """Try the policy on every case."""
    policy = _policy(options.policy)
    tried = [_try(policy, example) for example in _examples(options.cases)]
    failed = sum(not one.ok for one in tried)
    if options.json:
        emit({"sha256": policy.sha256, "failed": failed, "cases": [one.model_dump(mode="json") for one in tried]})
    else:
        table(
            f"{len(tried)} cases, {failed} failed",
            ["case", "tool", "verdict", "because of", "unexpected"],
            [
                (
                    one.name,
                    one.tool,
                    one.outcome,
                    ", ".join(one.rules),
                    json.dumps(one.unexpected) if not one.ok else "",
                )
                for one in tried
            ],
        )
    return MISMATCH if failed else 0


def _policy(file: Path | None) -> Policy:
    settings = load_settings()
    path = file or settings.policy_file or settings.home / "policy.toml"
    if file is None and not path.exists():
        return Policy.shipped()
    return Policy(text_from(path))


def _examples(path: Path) -> list[Example]:
    try:
        return _EXAMPLES.validate_json(text_from(path))
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ConfigurationError(
            f"the cases do not fit at {where or 'their start'}: {fault['msg']}.",
            next_step="Write them as docs/policy.md shows.",
        ) from None


def _try(policy: Policy, example: Example) -> Tried:
    spec = catalogue().get(example.tool.rpartition(".")[2])
    known = spec is not None and spec.qualified == example.tool
    earlier = example.earlier
    verdict = policy.judge(
        Case(
            name=example.tool,
            reach=spec.reach if spec and known else Reach.SEND,
            facts=example.facts,
            content=example.content,
            principal=example.principal,
            mode=example.mode,
            at=example.at.astimezone(load_settings().zone) if example.at else None,
            earlier=None if earlier is None else lambda _tools, _within, _by: earlier,
        )
    )
    said = verdict.model_dump(mode="json") | _outcome(verdict)
    wanted = example.expect.model_dump(mode="json", exclude_unset=True)
    unexpected = {name: said[name] for name, value in wanted.items() if _sorted(said[name]) != _sorted(value)}
    return Tried(
        name=example.name or example.tool,
        tool=example.tool,
        ok=not unexpected,
        outcome=verdict.outcome.name.lower(),
        rules=verdict.rules,
        unexpected=unexpected,
    )


def _outcome(verdict: Verdict) -> dict[str, JsonValue]:
    return {"outcome": verdict.outcome.name.lower()}


def _sorted(value: JsonValue) -> JsonValue:
    """The order in which rules or roles are expected does not matter."""
    return sorted(value, key=str) if isinstance(value, list) else value


def _idle(policy: Policy, names: tuple[str, ...]) -> list[str]:
    """Return the globs that name no tool: most likely a slip."""
    lists = (policy.file.always_allow, policy.file.always_review, policy.file.never)
    globs = {glob for named in (*lists, *(rule.tools for rule in policy.file.rule)) for glob in named}
    return sorted(glob for glob in globs if not any(matches((glob,), name) for name in names))
