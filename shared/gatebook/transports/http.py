"""Several servers on one loopback address, over streamable HTTP and over HTTP with server-sent events.

Streamable HTTP is stateless: every request stands alone in either protocol era, so a restart or a second replica loses
no session. It answers as an event stream, because a plain JSON answer would drop progress.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

import anyio
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware, get_access_token
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.sse import SseServerTransport
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gatebook.errors import GatebookError
from gatebook.transports.auth import StaticTokenVerifier
from gatebook.transports.conversation import Conversation
from gatebook.transports.ending import Background, no_background, seconds_from_now
from gatebook.transports.hooks import NO_HOOKS, NO_WEBHOOKS, Hook, Webhook
from gatebook.transports.serving import Underway, in_url, is_loopback, run_app

L = TypeVar("L")

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Longest request body; a longer one is answered with 413 before anything is parsed."""

MAX_DELIVERY_BYTES = 256 * 1024
"""Longest body of a webhook, which is read before anybody knows whose it is."""

_LISTEN = (b"mcp-method", b"subscriptions/listen")


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """Where and for whom to serve.

    Args:
        host: A loopback address or `localhost`.
        port: 0 takes any free port.
        token: Bearer token that every MCP request must carry in its `Authorization` header.
        principal: Who the bearer of the token is.
        drain_s: Seconds that calls in flight have to finish after SIGTERM or SIGINT.

    Raises:
        ValueError: The host is not a loopback address, or the token is empty.
    """

    host: str = "127.0.0.1"
    port: int = 8420
    token: str = field(repr=False)
    principal: str = "agent:http"
    drain_s: float = 10

    def __post_init__(self) -> None:
        if not is_loopback(self.host):
            raise ValueError(
                f"cannot serve on {self.host!r}: only a loopback address such as 127.0.0.1 is allowed,"
                " because requests and the token travel unencrypted"
            )
        if not self.token:
            raise ValueError("the bearer token is empty")


def build_app(
    servers: Mapping[str, MCPServer[L]],
    options: HttpOptions,
    *,
    hooks: Mapping[str, Hook] = NO_HOOKS,
    webhooks: Mapping[str, Webhook] = NO_WEBHOOKS,
) -> Starlette:
    """Compose the ASGI app.

    For each server it has `/NAME/mcp` and `/NAME/sse` with `/NAME/messages/`, for each hook `/hooks/NAME`, for each
    webhook `/webhooks/NAME`, and `/healthz`.

    Everything but `/healthz` and the webhooks, which are signed, needs the bearer token. The app's lifespan enters the
    lifespan of every server for streamable HTTP; the SDK enters it once more for each SSE connection, so what is
    expensive belongs to the process.
    """
    nothing = partial(no_background, anyio.Event())
    return _compose(servers, options, Underway(), nothing, hooks=hooks, webhooks=webhooks)


def run_http(
    servers: Mapping[str, MCPServer[L]],
    options: HttpOptions,
    *,
    on_stop: Callable[[], None],
    announce: Callable[[str], None],
    background: Background = no_background,
    hooks: Mapping[str, Hook] = NO_HOOKS,
    webhooks: Mapping[str, Webhook] = NO_WEBHOOKS,
) -> int:
    """Serve until SIGTERM or SIGINT, then let calls in flight finish for `drain_s` seconds.

    Call it in the main thread and last: the process ends a few seconds after the drain, even if a tool blocks it.

    Args:
        servers: By the name in their path.
        options: Where and for whom.
        on_stop: Called once when no call runs any more.
        announce: Called with the base URL, such as `http://127.0.0.1:8420`, once requests are accepted.
        background: Work beside the serving; what it is at when the end begins has `drain_s` too.
        hooks: By the name in their path.
        webhooks: By the name in their path.

    Returns:
        The exit code: 143 after SIGTERM, 130 after SIGINT.

    Raises:
        OSError: The port cannot be bound.
    """
    return run_app(
        partial(_compose, servers, options, hooks=hooks, webhooks=webhooks),
        host=options.host,
        port=options.port,
        drain_s=options.drain_s,
        on_stop=on_stop,
        announce=announce,
        background=background,
    )


def _compose(
    servers: Mapping[str, MCPServer[L]],
    options: HttpOptions,
    underway: Underway,
    work: Callable[[], Coroutine[object, object, None]],
    *,
    hooks: Mapping[str, Hook],
    webhooks: Mapping[str, Webhook],
) -> Starlette:
    security = _security(options)
    mounts = [_mounted(name, _routes(server, security, underway)) for name, server in servers.items()]
    if hooks:
        mounts.append(
            _mounted("hooks", [Route(f"/{name}", _answered(hook), methods=["POST"]) for name, hook in hooks.items()])
        )
    signed = [Route(f"/webhooks/{name}", _told(webhook), methods=["POST"]) for name, webhook in webhooks.items()]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for server in servers.values():  # Starlette does not run the lifespans of mounted apps
                await stack.enter_async_context(server.session_manager.run())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work)
                yield

    # The SDK's own bearer middleware, put together as the SDK does it. Its AuthSettings would want the URLs of an
    # authorization server, and there is none: the one token is a file on this machine.
    verifier = StaticTokenVerifier(options.token, principal=options.principal)
    return Starlette(
        routes=[Route("/healthz", _healthz), *signed, *mounts],
        middleware=[
            Middleware(_AddressCheck, security=security),
            Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(verifier)),
            Middleware(AuthContextMiddleware),
        ],
        lifespan=lifespan,
    )


def _routes(server: MCPServer[L], security: TransportSecuritySettings, underway: Underway) -> list[BaseRoute]:
    # Called for the session manager it creates; its routes would also hold a GET stream open that never says anything.
    server.streamable_http_app(stateless_http=True, max_request_body_size=MAX_BODY_BYTES, transport_security=security)
    events = SseServerTransport("/messages/", security_settings=security, max_request_body_size=MAX_BODY_BYTES)
    return [
        Route("/mcp", _Exchange(server.session_manager.asgi_app, underway), methods=["POST"]),
        Route("/sse", _EventStream(server, events, underway), methods=["GET"]),
        Mount("/messages/", app=events.handle_post_message),
    ]


def _mounted(name: str, routes: Sequence[BaseRoute]) -> Mount:
    return Mount(f"/{name}", app=RequireAuthMiddleware(Router(routes), required_scopes=[]))


def _answered(hook: Hook) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def answer(request: Request) -> JSONResponse:
        token = get_access_token()
        assert token is not None
        return JSONResponse(await hook(await _body(request), principal=token.client_id))

    return answer


def _told(webhook: Webhook) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        body = await _body(request, most=MAX_DELIVERY_BYTES + 1)
        if len(body) > MAX_DELIVERY_BYTES:
            return Response(status_code=413)
        try:
            return Response(status_code=204 if await webhook(body, request.headers) else 403)
        except GatebookError:
            return Response(status_code=503)

    return answer


async def _body(request: Request, *, most: int = MAX_BODY_BYTES) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            break
    return body[:most]


async def _healthz(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


@dataclass(frozen=True)
class _Exchange:
    """One request over streamable HTTP. One that only listens for changes has nothing to finish."""

    app: ASGIApp
    underway: Underway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listens = _LISTEN in scope["headers"]
        with anyio.CancelScope() as exchange:

            def end(drain_s: float) -> None:
                exchange.deadline = seconds_from_now(0 if listens else drain_s)

            # A client that is gone is no defect; a write it asked for is finished all the same.
            with self.underway.held(end), suppress(ClientDisconnect):
                await self.app(scope, receive, send)


@dataclass(frozen=True)
class _EventStream(Generic[L]):
    """The event stream of one client of the older HTTP transport."""

    server: MCPServer[L]
    transport: SseServerTransport
    underway: Underway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.transport.connect_sse(scope, receive, send) as (incoming, outgoing):
            conversation = Conversation(incoming, outgoing)
            with self.underway.held(conversation.end):
                await conversation.serve(self.server)


class _AddressCheck:
    """Refuses a foreign Host or Origin, so that no web page can reach the server by rebinding its name.

    The SDK checks them too, but only after it has read the body, and on its event stream with a traceback.
    """

    def __init__(self, app: ASGIApp, *, security: TransportSecuritySettings) -> None:
        self._app = app
        self._security = TransportSecurityMiddleware(security)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = await self._security.validate_request(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)


def _security(options: HttpOptions) -> TransportSecuritySettings:
    names = dict.fromkeys((in_url(options.host), "127.0.0.1", "localhost", "[::1]"))
    hosts = [host for name in names for host in (name, f"{name}:*")]
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts])
