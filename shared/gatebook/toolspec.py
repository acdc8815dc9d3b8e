"""What one tool is: its reach, its strict schema, and the functions behind it."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, JsonValue, ValidationError

from gatebook.database.port import Transaction
from gatebook.errors import GatebookError, IdempotencyConflictError, InvalidArgumentsError, TooLargeError
from gatebook.injection import Injected, Scope
from gatebook.intents import Facts, Intent, digest
from gatebook.ledger.models import GRACE_CALLS
from gatebook.reach import Reach

MAX_RESULT_CHARS = 40_000
MODE_META = "dev.gatebook/mode"
WARNING_META = "dev.gatebook/warning"
"""Where a result says that a limit is nearly used up."""
EDITED_NOTE = "A person changed this and it was done as changed; do not repeat the original call."
_CONTAINERS = ("object", "array")


def _store_nothing(tx: Transaction) -> None:
    del tx


@dataclass(frozen=True)
class Edit:
    """What a person's change of a call comes to: the arguments of the changed call, and what it would do.

    `store` keeps what the person wrote, in the transaction in which the changed call is asked for; it raises a
    `ConflictError` when what was changed is not the newest any more.
    """

    arguments: Mapping[str, object]
    intent: Intent
    facts: Facts
    store: Callable[[Transaction], None] = _store_nothing


@dataclass(frozen=True)
class ToolSpec:
    """A declared tool. `effect`, `facts`, `reconcile` and `edit` belong to its room; the guard only calls them."""

    server: str
    name: str
    description: str
    reach: Reach
    function: Injected
    metadata: FuncMetadata
    input_schema: dict[str, JsonValue]
    declares_run: bool
    is_step: bool
    graceful: bool
    longest_s: float = 0
    """Seconds the tool may take where that is more than a call usually may: a long poll."""
    longest_chars: int = MAX_RESULT_CHARS
    """Characters a result may have; more than usual only where it returns what an agent saved."""
    begins_run: bool = False
    """Whether its result names the run that the call belongs to."""
    refusing: Callable[[GatebookError], BaseModel] | None = None
    """How a refusal is said, for a tool that the client itself calls; see `Toolset.answers_client`."""
    effect: Injected | None = None
    facts: Injected | None = None
    reconcile: Injected | None = None
    editable: tuple[str, ...] = ()
    """The fields of the content that a person may change, where policy lets them."""
    edit: Injected | None = None
    """Turns a person's change into an `Edit`; without it the fields are arguments."""

    @property
    def qualified(self) -> str:
        """The name that policy uses: `server.tool`."""
        return f"{self.server}.{self.name}"

    @property
    def for_client(self) -> bool:
        """Whether the client itself calls it: it answers with text alone and belongs to no run."""
        return self.refusing is not None

    @property
    def grace_calls(self) -> int:
        """How many calls of it are left above the day's: it saves where a run stands, and ends it."""
        return GRACE_CALLS if self.graceful and self.reach is Reach.STAGE and not self.for_client else 0

    @cached_property
    def sha256(self) -> str:
        """Hash of what a person's yes relied on: the name, the description, the schema and the reach."""
        return digest([self.server, self.name, self.description, self.input_schema, int(self.reach)])

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(_property_names(self.input_schema))

    def validate(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """Return the validated arguments with their defaults.

        Raises:
            InvalidArgumentsError: If they do not fit; says where and why, never the value.
        """
        try:
            model = self.metadata.arg_model.model_validate(self._decoded(arguments))
        except ValidationError as error:
            raise InvalidArgumentsError(
                brief(error, self._names),
                next_step="Correct the arguments and call again.",
            ) from None
        return model.model_dump_one_level()

    def dump(self, arguments: Mapping[str, object]) -> dict[str, JsonValue]:
        """Return validated arguments as JSON values, to be stored."""
        model = self.metadata.arg_model.model_construct(None, **{k: v for k, v in arguments.items() if v is not None})
        return cast("dict[str, JsonValue]", model.model_dump(mode="json", warnings=False))

    async def resolve(self, scope: Scope, arguments: Mapping[str, object]) -> Intent:
        """Resolve validated arguments to the exact effect."""
        assert self.effect is not None
        return cast("Intent", await self.effect.call(scope, arguments))

    async def look(self, scope: Scope, arguments: Mapping[str, object]) -> Facts:
        """Fetch what policy must see."""
        return cast("Facts", await self.facts.call(scope, arguments)) if self.facts else Facts()

    async def edited(
        self, scope: Scope, arguments: Mapping[str, object], changes: Mapping[str, str], *, editor: str
    ) -> Edit:
        """Return what a person's change of a call comes to.

        Args:
            scope: What the call may reach.
            arguments: Its validated arguments.
            changes: The new texts by field.
            editor: The person.

        Raises:
            InvalidArgumentsError: If a changed text does not fit.
            GatebookError: Whatever refuses the changed call.
        """
        if self.edit is None:
            changed = self.validate({**self.dump(arguments), **changes})
            return Edit(changed, await self.resolve(scope, changed), await self.look(scope, changed))
        return cast("Edit", await self.edit.call(scope, {**arguments, "changes": changes, "editor": editor}))

    def as_result(self, value: object, mode: str) -> CallToolResult:
        """Return what the client sees: text and structured content that say the same."""
        assert isinstance(value, BaseModel)
        return self.result_of(value.model_dump(mode="json", by_alias=True), mode)

    def as_refusal(self, error: GatebookError) -> CallToolResult:
        """Return a refusal as the caller of this tool reads it."""
        return error.as_result() if self.refusing is None else self.as_result(self.refusing(error), "live")

    def as_replay(self, recorded: str, mode: str, *, edited: Mapping[str, JsonValue] | None = None) -> CallToolResult:
        """Return a recorded result, marked as replayed, and with what was done where a person had changed the call.

        Raises:
            IdempotencyConflictError: If another version of the tool recorded it in a form that no longer fits.
        """
        content: dict[str, JsonValue] = json.loads(recorded)
        if "outcome" in content:
            content["outcome"] = "replayed"
        if edited is not None:
            content |= {"edited_by_human": True, "executed": dict(edited), "note": EDITED_NOTE}
        try:
            cast("type[BaseModel]", self.metadata.output_model).model_validate(content)
        except ValidationError:
            raise IdempotencyConflictError(
                "this was already done; its record is of an older version of the tool.",
                next_step="Do not repeat it; read the object instead.",
            ) from None
        return self.result_of(content, mode)

    def result_of(self, content: dict[str, JsonValue], mode: str) -> CallToolResult:
        """Return structured content as a result.

        Raises:
            TooLargeError: If it is longer than a result may be.
        """
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        if len(text) > self.longest_chars:
            raise TooLargeError(
                f"the result would have more than {self.longest_chars} characters.", next_step="Ask for fewer items."
            )
        meta = {MODE_META: mode} if mode != "live" else None
        structured = None if self.for_client else content
        return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured, _meta=meta)

    def _decoded(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """Decode JSON text where the schema wants an object or a list: some clients send these as strings."""
        properties = cast("dict[str, dict[str, JsonValue]]", self.input_schema["properties"])
        decoded = dict(arguments)
        for name, value in arguments.items():
            if isinstance(value, str) and properties.get(name, {}).get("type") in _CONTAINERS:
                try:
                    decoded[name] = json.loads(value)
                except (ValueError, RecursionError):
                    continue
        return decoded


def warned(result: CallToolResult, warning: str) -> CallToolResult:
    """Return the result with a warning of what is nearly used up; as it is where there is nothing to warn of."""
    return result.model_copy(update={"meta": {**(result.meta or {}), WARNING_META: warning}}) if warning else result


def brief(error: ValidationError, known: frozenset[str]) -> str:
    """Say in one short sentence what does not fit, without any value and without names that the caller made up."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    parts = [f"{_place(fault['loc'], known)}: {fault['msg']}" for fault in faults[:5]]
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""  # noqa: PLR2004 - as many as are shown
    return "; ".join(parts) + more + "."


def _place(location: tuple[int | str, ...], known: frozenset[str]) -> str:
    if not location or location[0] not in known:
        return "an unknown argument"
    return ".".join(str(part) if isinstance(part, int) or part in known else "?" for part in location)


def _property_names(node: JsonValue) -> Iterator[str]:
    """Yield every property that a schema declares, at any depth."""
    if isinstance(node, dict):
        declared = node.get("properties")
        yield from declared if isinstance(declared, dict) else ()
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _property_names(inner)
