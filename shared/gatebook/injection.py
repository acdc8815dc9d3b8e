"""How a function asks for what it needs: by the types of its parameters, never through its schema."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol, get_args, get_origin

from gatebook.approvals.models import Approval
from gatebook.effects import Effect
from gatebook.runtime import Runtime

Function = Callable[..., Awaitable[object]]


@dataclass(frozen=True)
class Port:
    """Marks a parameter that receives a port: `Annotated[TicketDesk, Port(open_desk)]`."""

    opener: Callable[[Runtime], object]


@dataclass(frozen=True)
class Caller:
    """Who calls. A parameter of this type receives it; the model cannot supply it."""

    principal: str
    run_id: str = ""
    """The run's handle, empty outside a run."""

    @property
    def run(self) -> str:
        """The run without its epoch."""
        return self.run_id.partition(".")[0]


class Progress(Protocol):
    """A parameter of this type reports progress of a long call to the client."""

    async def __call__(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Report `progress` of `total`."""
        ...


async def no_progress(progress: float, total: float | None = None, message: str | None = None) -> None:
    """Report to nobody: there is no client."""


class Broker(Protocol):
    """A parameter of this type asks a person for a call that is made later, and knows every tool of the suite."""

    async def ask(self, tool: str, arguments: Mapping[str, object], *, caller: Caller, reason: str) -> Approval:
        """Create the approval request that calling `tool` would create."""
        ...

    def offers(self, server: str, tool: str) -> bool:
        """Whether the suite itself has this tool."""
        ...


@dataclass(frozen=True)
class Scope:
    """What one call may reach."""

    runtime: Runtime
    caller: Caller
    broker: Broker
    effect: Effect | None = None
    progress: Progress = field(default=no_progress)


_KINDS: tuple[type, ...] = (Broker, Caller, Effect, Progress, Runtime)


@dataclass(frozen=True)
class Injected:
    """A function with the parameters that are filled in for it told apart from its arguments."""

    function: Function
    ports: Mapping[str, Callable[[Runtime], object]]
    kinds: Mapping[str, type]
    arguments: tuple[str, ...]

    @classmethod
    def of(cls, function: Function) -> "Injected":
        """Look at a function's signature."""
        ports: dict[str, Callable[[Runtime], object]] = {}
        kinds: dict[str, type] = {}
        arguments: list[str] = []
        for name, parameter in inspect.signature(function).parameters.items():
            annotation: object = parameter.annotation
            port = _port(annotation)
            if port:
                ports[name] = port.opener
            elif isinstance(annotation, type) and annotation in _KINDS:
                kinds[name] = annotation
            else:
                arguments.append(name)
        return cls(function, ports, kinds, tuple(arguments))

    @property
    def takes_effect(self) -> bool:
        """Whether the function receives the claimed effect, and so cannot run without one."""
        return Effect in self.kinds.values()

    async def call(self, scope: Scope, arguments: Mapping[str, object]) -> object:
        """Await the function with those of `arguments` that it names."""
        values: Mapping[type, object] = {
            Broker: scope.broker,
            Caller: scope.caller,
            Effect: scope.effect,
            Progress: scope.progress,
            Runtime: scope.runtime,
        }
        given = {name: scope.runtime.port(opener) for name, opener in self.ports.items()}
        given |= {name: values[kind] for name, kind in self.kinds.items()}
        given |= {name: arguments[name] for name in self.arguments}
        return await self.function(**given)


def _port(annotation: object) -> Port | None:
    if get_origin(annotation) is not Annotated:
        return None
    return next((mark for mark in get_args(annotation)[1:] if isinstance(mark, Port)), None)
