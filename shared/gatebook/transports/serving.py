"""An ASGI app on one address of this machine, from the first request to the end of the process."""

import ipaddress
import math
import socket
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from gatebook.transports.ending import Background, Ending, attend, no_background

Compose = Callable[["Underway", Callable[[], Coroutine[object, object, None]]], ASGIApp]
"""Makes the app of what is under way and of the background, which its lifespan runs."""

_CLEANUP_S = 5.0
"""Seconds for lifespans and `on_stop` after the drain."""
_LOG_CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}},
    "loggers": {"uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False}},
}


def run_app(
    compose: Compose,
    *,
    host: str,
    port: int,
    drain_s: float,
    on_stop: Callable[[], None],
    announce: Callable[[str], None],
    background: Background = no_background,
) -> int:
    """Serve until SIGTERM or SIGINT, then let what is under way finish for `drain_s` seconds.

    Call it in the main thread and last: the process ends a few seconds after the drain, even if something blocks it.

    Args:
        compose: Makes the app.
        host: Where it listens.
        port: 0 takes any free port.
        drain_s: Seconds that requests in flight and the background have once the end has begun.
        on_stop: Called once when nothing runs any more.
        announce: Called with the base URL, such as `http://127.0.0.1:8420`, once requests are accepted.
        background: Work beside the serving.

    Returns:
        The exit code: 143 after SIGTERM, 130 after SIGINT.

    Raises:
        OSError: The port cannot be bound.
    """
    listener = _bind(host, port)
    ending = Ending(on_stop, limit_s=drain_s + _CLEANUP_S)
    underway = Underway()
    config = uvicorn.Config(
        compose(underway, partial(attend, background, ending, drain_s=drain_s)),
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=_LOG_CONFIG,
        access_log=False,  # it would write URLs, and a client may wrongly put a token there
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(drain_s) + 1,  # ours comes first, and without a traceback
    )

    def listening() -> None:
        announce(f"http://{in_url(host)}:{listener.getsockname()[1]}")

    def leave() -> None:
        server.should_exit = True
        underway.end(drain_s)

    server = _Server(config, ending=ending, listening=listening, leave=leave)
    try:
        with listener:
            server.run(sockets=[listener])
    finally:
        ending.stop()
    return ending.code


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def in_url(host: str) -> str:
    """Return an address as a URL holds it."""
    return f"[{host}]" if ":" in host else host


class Underway:
    """Whatever is under way, so that the end of the process can end it; event streams have no end of their own."""

    def __init__(self) -> None:
        self._ends: set[Callable[[float], None]] = set()
        self._drain_s: float | None = None

    @contextmanager
    def held(self, end: Callable[[float], None]) -> Generator[None]:
        """Have `end` called with the seconds left for calls in flight, should the process end meanwhile."""
        if self._drain_s is not None:
            end(self._drain_s)
        self._ends.add(end)
        try:
            yield
        finally:
            self._ends.discard(end)

    def end(self, drain_s: float) -> None:
        """End whatever is held, and what will be."""
        self._drain_s = drain_s
        for end in list(self._ends):
            end(drain_s)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which raise the signal again and so kill the process before `on_stop`.

    Nor does sse-starlette, which looks for those handlers, cut every event stream as soon as a signal arrives.
    """

    def __init__(
        self, config: uvicorn.Config, *, ending: Ending, listening: Callable[[], None], leave: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._ending = ending
        self._listening = listening
        self._leave = leave

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ending.when_begun(self._leave)
        self._listening()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)
