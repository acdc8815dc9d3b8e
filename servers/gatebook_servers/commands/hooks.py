"""`gatebook approvals hook`, and the settings that make Claude Code ask before every call."""

import argparse
import logging
import shlex
import sys

import anyio
from pydantic import JsonValue

from gatebook.errors import GatebookError
from gatebook.guard import Guard
from gatebook.runtime import Runtime
from gatebook.settings import Settings
from gatebook.transports.hooks import Hook
from gatebook_servers.approvals.claude_code import HookDecision, pre_tool_use
from gatebook_servers.catalogue import catalogue
from gatebook_servers.commands.context import Commands, opened
from gatebook_servers.commands.output import emit

logger = logging.getLogger(__name__)
PATH = "claude-code"
"""The hook's address over HTTP, under `/hooks/`."""
TIMEOUT_S = 30
"""Seconds that Claude Code waits for the hook, which answers at once."""


def add(actions: Commands) -> None:
    """Declare the command among those of `gatebook approvals`."""
    hook = actions.add_parser("hook", help="answer Claude Code's PreToolUse hook: JSON on stdin, JSON on stdout")
    hook.set_defaults(run=hook_command)


def hook_command(options: argparse.Namespace) -> int:
    """Answer one hook. Whatever goes wrong is a denial: any other ending would let the call go ahead."""
    del options
    try:
        body = sys.stdin.buffer.read()
        with opened() as runtime:
            decision = anyio.run(_decide, runtime, body)
    except GatebookError as error:
        decision = HookDecision(decision="deny", reason=error.as_text())
    except Exception:
        # The outermost handler of a hook.
        logger.exception("a hook failed")
        decision = HookDecision(decision="deny", reason="internal: the hook failed in an unexpected way.")
    emit(decision.as_json())
    return 0


def claude_code_hook(runtime: Runtime) -> Hook:
    """Return the hook as it is answered over HTTP."""
    guard = Guard(runtime, catalogue())

    async def answer(body: bytes, *, principal: str) -> dict[str, JsonValue]:
        return (await pre_tool_use(runtime, guard, body=body, principal=principal)).as_json()

    return answer


def asking_settings(settings: Settings, transport: str, *, defer: bool) -> dict[str, JsonValue]:
    """Return settings of Claude Code by which no call runs unasked, also not with what an allow rule names.

    Args:
        settings: Where the hook is.
        transport: How it is reached.
        defer: Whether a headless session ends as long as a person has not decided, instead of waiting.
    """
    rules: dict[str, JsonValue] = {"ask": ["*"], "disableBypassPermissionsMode": "disable"}
    hooks: dict[str, JsonValue] = {"hooks": {"PreToolUse": [_hook_entry(settings, transport)]}} if defer else {}
    return {"permissions": rules, **hooks}


def _hook_entry(settings: Settings, transport: str) -> dict[str, JsonValue]:
    """Return the hook before every call; it blocks when it fails, which Claude Code does not do by itself."""
    asked: dict[str, JsonValue]
    if transport == "stdio":
        home = shlex.quote(f"GATEBOOK_HOME={settings.home.absolute()}")
        asked = {
            "type": "command",
            "command": f"env {home} {shlex.quote(sys.executable)} -m gatebook_servers approvals hook",
        }
    else:
        asked = {
            "type": "http",
            "url": f"http://{settings.host}:{settings.port}/hooks/{PATH}",
            "headers": {"Authorization": "Bearer ${GATEBOOK_TOKEN}"},
            "allowedEnvVars": ["GATEBOOK_TOKEN"],
        }
    return {"matcher": "*", "hooks": [{**asked, "onFailure": "block", "timeout": TIMEOUT_S}]}


async def _decide(runtime: Runtime, body: bytes) -> HookDecision:
    principal = runtime.settings.principal
    return await pre_tool_use(runtime, Guard(runtime, catalogue()), body=body, principal=principal)
