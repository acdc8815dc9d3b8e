"""How a server's tools are declared and made strict. A tool module declares; nothing runs at import."""

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import NoReturn, TypeVar, cast

from mcp.server.mcpserver import Extension, MCPServer
from mcp.server.mcpserver.prompts.base import Prompt
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata, func_metadata
from mcp.types import ToolAnnotations
from pydantic import BaseModel, ConfigDict, JsonValue

from gatebook.errors import GatebookError
from gatebook.guard import Guard
from gatebook.injection import Function, Injected
from gatebook.reach import Reach
from gatebook.runtime import Runtime
from gatebook.schemas import portable_input, portable_output
from gatebook.toolspec import MAX_RESULT_CHARS, ToolSpec

F = TypeVar("F", bound=Function)
L = TypeVar("L")
RUN_ARGUMENT: dict[str, JsonValue] = {"type": "string", "default": ""}
RUN_NOTE = "Pass run_id as start_run returned it to every tool while a run is going on."


class Toolset:
    """The tools of one server, declared before any server or store exists.

    Args:
        name: The server's name, at most 12 letters.
        instructions: What a client tells its model about the server.
        steps: Whether calls of these tools are steps of a run.
    """

    def __init__(self, name: str, *, instructions: str, steps: bool = True) -> None:
        self.name = name
        self.instructions = instructions
        self.steps = steps
        self.specs: dict[str, ToolSpec] = {}
        self.prompts: list[Prompt] = []

    def prompt(self, function: Callable[..., str]) -> Callable[..., str]:
        """Declare a prompt; its docstring is what a person reads in a client's list."""
        self.prompts.append(
            Prompt.from_function(function, title=None, description=inspect.getdoc(function), context_kwarg=None)
        )
        return function

    def reads(self, function: F) -> F:
        """Declare a tool that changes nothing."""
        return self._add(function, Reach.READ, graceful=True)

    def waits(self, *, longest_s: float) -> Callable[[F], F]:
        """Declare a tool that changes nothing and may wait for up to `longest_s` seconds: a long poll."""
        return lambda function: self._add(function, Reach.READ, graceful=True, longest_s=longest_s)

    def stages(
        self,
        *,
        facts: Function | None = None,
        graceful: bool = False,
        longest_chars: int = MAX_RESULT_CHARS,
        begins_run: bool = False,
    ) -> Callable[[F], F]:
        """Declare a tool that changes only Gatebook's own store.

        Args:
            facts: Fetches what policy must see; a sensitive text among it holds the call.
            graceful: Whether a run that used up its steps may still call it, to end cleanly.
            longest_chars: Characters a result may have.
            begins_run: Whether its result names, as `run_id`, the run that the call belongs to.
        """
        return lambda function: self._add(
            function,
            Reach.STAGE,
            facts=facts,
            graceful=graceful,
            longest_chars=longest_chars,
            begins_run=begins_run,
        )

    def answers_client(self, *, refusing: Callable[[GatebookError], BaseModel], longest_s: float) -> Callable[[F], F]:
        """Declare a tool that a client calls by itself, not for its model. It changes only Gatebook's own store.

        Its answer is one text block without structured content, always in the client's own form, and belongs to no run.

        Args:
            refusing: Says a refusal in that form.
            longest_s: Seconds it may take.
        """
        return lambda function: self._add(function, Reach.STAGE, graceful=True, longest_s=longest_s, refusing=refusing)

    def writes(
        self,
        *,
        effect: Function,
        facts: Function,
        reconcile: Function,
        editable: tuple[str, ...] = (),
        edit: Function | None = None,
    ) -> Callable[[F], F]:
        """Declare a tool that changes the outside in a way that can be undone.

        Args:
            effect: Resolves the validated arguments to the `Intent`: identity and exact content.
            facts: Fetches what policy must see.
            reconcile: Looks an interrupted effect up outside: its result, or None when it did not happen.
            editable: The fields of the content that a person may change before saying yes, where policy lets them.
            edit: Takes the arguments, a person's `changes` of these fields and that `editor`, and returns the `Edit`;
                without it the fields are arguments. The result's model has to have `edited_by_human`, `executed` and
                `note`, which tell an agent that repeats the original call.
        """
        return lambda function: self._add(
            function,
            Reach.WRITE,
            effect=effect,
            facts=facts,
            reconcile=reconcile,
            editable=editable,
            edit=edit,
        )

    def irreversible(
        self,
        *,
        effect: Function,
        facts: Function,
        reconcile: Function,
        editable: tuple[str, ...] = (),
        edit: Function | None = None,
    ) -> Callable[[F], F]:
        """Declare a tool whose effect cannot be undone. It takes an `Effect`, so it cannot run without a grant.

        Args as for `writes`.

        Raises:
            TypeError: If the function has no parameter of type `Effect`.
        """
        return lambda function: self._add(
            function,
            Reach.SEND,
            effect=effect,
            facts=facts,
            reconcile=reconcile,
            editable=editable,
            edit=edit,
        )

    def _add(
        self,
        function: F,
        reach: Reach,
        *,
        effect: Function | None = None,
        facts: Function | None = None,
        reconcile: Function | None = None,
        editable: tuple[str, ...] = (),
        edit: Function | None = None,
        graceful: bool = False,
        longest_s: float = 0,
        longest_chars: int = MAX_RESULT_CHARS,
        begins_run: bool = False,
        refusing: Callable[[GatebookError], BaseModel] | None = None,
    ) -> F:
        injected = Injected.of(function)
        if reach >= Reach.WRITE and not injected.takes_effect:
            raise TypeError(f"{_name(function)} reaches outside and takes no `Effect`")
        metadata = _strict_metadata(function, injected, structured=refusing is None)
        schema = portable_input(metadata.arg_model)
        declares_run = "run_id" in injected.arguments
        name = _name(function)
        if editable and "edited_by_human" not in cast("type[BaseModel]", metadata.output_model).model_fields:
            raise TypeError(f"{name} can be edited, and its result cannot tell of it")
        if name in self.specs:
            raise TypeError(f"{self.name} declares {name} twice")
        self.specs[name] = ToolSpec(
            server=self.name,
            name=name,
            description=_unwrapped(inspect.getdoc(function) or ""),
            reach=reach,
            function=injected,
            metadata=metadata,
            input_schema=schema,
            declares_run=declares_run,
            is_step=self.steps,
            graceful=graceful,
            longest_s=longest_s,
            longest_chars=longest_chars,
            begins_run=begins_run,
            refusing=refusing,
            effect=Injected.of(effect) if effect else None,
            facts=Injected.of(facts) if facts else None,
            reconcile=Injected.of(reconcile) if reconcile else None,
            editable=editable,
            edit=Injected.of(edit) if edit else None,
        )
        return function


def build_server(
    toolsets: Sequence[Toolset], runtime: Runtime, *, catalogue: Mapping[str, ToolSpec], name: str = ""
) -> MCPServer[Runtime]:
    """Build the server of one toolset, or of several merged into one.

    Tools above the operator's ceiling are not listed, and calling them is refused.

    Args:
        toolsets: What the server offers.
        runtime: The process's open ports.
        catalogue: Every tool of the suite, for the approval broker.
        name: The server's name; default the first toolset's.
    """
    specs = merged(toolsets)
    guard = Guard(runtime, specs, catalogue=catalogue)
    offered = [spec for spec in specs.values() if guard.admission.within_ceiling(spec)]
    return answered_by(guard, toolsets, offered=offered, state=runtime, name=name)


def merged(toolsets: Sequence[Toolset]) -> dict[str, ToolSpec]:
    """Return the tools of several toolsets by name.

    Raises:
        TypeError: If two of them declare the same one.
    """
    specs = {key: spec for toolset in toolsets for key, spec in toolset.specs.items()}
    if len(specs) != sum(len(toolset.specs) for toolset in toolsets):
        raise TypeError("tool names are global; two servers declare the same one")
    return specs


def answered_by(
    extension: Extension, toolsets: Sequence[Toolset], *, offered: Sequence[ToolSpec], state: L, name: str = ""
) -> MCPServer[L]:
    """Build a server whose every tool call is answered by one extension.

    Args:
        extension: What answers `tools/call`.
        toolsets: Whose instructions and prompts it has.
        offered: The tools that are listed.
        state: What the extension finds in its lifespan.
        name: The server's name; default the first toolset's.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[L]) -> AsyncGenerator[L]:
        yield state

    server = MCPServer(
        f"gatebook-{name or toolsets[0].name}",
        version=version("gatebook"),
        instructions="\n".join([*(toolset.instructions for toolset in toolsets), RUN_NOTE]),
        tools=[_listed(spec) for spec in offered],
        extensions=[extension],
        lifespan=lifespan,
        subscriptions=False,
        log_level="ERROR",
    )
    for toolset in toolsets:
        for prompt in toolset.prompts:
            server.add_prompt(prompt)
    return server


class _ListedTool(Tool):
    """A tool as it is listed. It runs through the guard and in no other way."""

    async def run(self, *_arguments: object, **_options: object) -> NoReturn:
        raise RuntimeError("tools run through the guard only")


def _listed(spec: ToolSpec) -> Tool:
    parameters = spec.input_schema
    if not (spec.declares_run or spec.for_client or spec.name in {"start_run", "list_runs"}):
        properties = cast("dict[str, JsonValue]", parameters["properties"])
        parameters = {**parameters, "properties": {**properties, "run_id": RUN_ARGUMENT}}
    return _ListedTool(
        fn=spec.function.function,
        name=spec.name,
        title=None,
        description=spec.description,
        context_kwarg=None,
        parameters=parameters,
        fn_metadata=spec.metadata,
        is_async=True,
        annotations=ToolAnnotations(
            read_only_hint=spec.reach is Reach.READ,
            destructive_hint=spec.reach is Reach.SEND,
            idempotent_hint=True,
            open_world_hint=spec.reach >= Reach.WRITE,
        ),
    )


def _strict_metadata(function: Function, injected: Injected, *, structured: bool) -> FuncMetadata:
    """Return the SDK's metadata with unknown arguments refused and portable schemas."""
    skipped = [*injected.ports, *injected.kinds]
    loose = func_metadata(function, skip_names=skipped)
    if not (isinstance(loose.output_model, type) and issubclass(loose.output_model, BaseModel)) or loose.wrap_output:
        raise TypeError(f"{_name(function)} does not return a pydantic model")
    model = type(
        loose.arg_model.__name__,
        (loose.arg_model,),
        {"model_config": ConfigDict(extra="forbid"), "__module__": function.__module__},
    )
    if not structured:
        return FuncMetadata(arg_model=model)
    return FuncMetadata(
        arg_model=model, output_schema=portable_output(loose.output_model), output_model=loose.output_model
    )


def _unwrapped(text: str) -> str:
    """Join the lines of each paragraph: line breaks of the source mean nothing to a model."""
    return "\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _name(function: Function) -> str:
    return getattr(function, "__name__", "")
