"""The console as one ASGI app: which page answers which address."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from gatebook.errors import NotFoundError
from gatebook.guard import Guard
from gatebook.runtime import Runtime
from gatebook_servers.console.drawing import environment
from gatebook_servers.console.lookups import Lookups
from gatebook_servers.console.pages import (
    batches,
    editing,
    inbox,
    live,
    looking,
    operating,
    records,
    requests,
    signing,
)
from gatebook_servers.console.people import ADMIN
from gatebook_servers.console.pulse import Pulse
from gatebook_servers.console.security import Address, Gatekeeper
from gatebook_servers.console.visit import Console, Handler, Visit, form, open_form, open_page, page

Work = Callable[[], Coroutine[object, object, None]]


def build_console(runtime: Runtime, guard: Guard, *, lookups: Lookups, address: Address) -> Console:
    """Return what the pages stand on.

    Args:
        runtime: The process's ports.
        guard: A guard whose catalogue has every tool that may be edited here.
        lookups: How to read in other rooms.
        address: Where the console may be reached.
    """
    return Console(runtime, guard, lookups, address, Pulse(runtime), environment())


def build_app(console: Console, work: Work) -> Starlette:
    """Return the app; its lifespan runs `work`, which must run the console's pulse."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            yield

    app = Starlette(
        routes=[
            *_pages(),
            *_decisions(),
            *_doors(),
            Mount("/static", StaticFiles(packages=[("gatebook_servers.console", "static")])),
        ],
        middleware=[Middleware(Gatekeeper, address=console.address)],
        exception_handlers={404: _missing, 405: _missing, 500: _broken},
        lifespan=lifespan,
    )
    app.state.console = console
    return app


def _pages() -> list[BaseRoute]:
    pages: dict[str, Handler] = {
        "/": inbox.inbox,
        "/held": inbox.held,
        "/requests/{approval_id}": requests.show,
        "/requests/{approval_id}/edit": editing.edit_page,
        "/batch/{approval_id}": batches.batch_page,
        "/attention": records.attention,
        "/history": records.history,
        "/audit": records.audit,
        "/runs": records.runs,
        "/runs/{run_id}": records.run,
        "/memory": looking.notes,
        "/tickets": looking.tickets,
        "/pause": operating.pause_page,
        "/events": live.events,
    }
    return [Route(path, page(handler), methods=["GET"]) for path, handler in pages.items()]


def _decisions() -> list[BaseRoute]:
    forms: dict[str, Handler] = {
        "/requests/{approval_id}/approve": requests.approve_request,
        "/requests/{approval_id}/deny": requests.deny_request,
        "/requests/{approval_id}/settle": requests.settle_request,
        "/requests/{approval_id}/edit": editing.edit_request,
        "/effects/{marker}/settle": requests.settle_effect,
        "/batch/{approval_id}": batches.approve_batch,
        "/batch/{approval_id}/deny": batches.deny_batch_lines,
    }
    switches: dict[str, Handler] = {"/pause": operating.pause, "/resume": operating.resume}
    return [
        *(Route(path, form(handler), methods=["POST"]) for path, handler in forms.items()),
        *(Route(path, form(handler, roles=[ADMIN]), methods=["POST"]) for path, handler in switches.items()),
    ]


def _doors() -> list[BaseRoute]:
    return [
        Route("/healthz", _healthz),
        Route("/sign-in", open_page(signing.sign_in_page), methods=["GET"]),
        Route("/sign-in", open_form(signing.sign_in), methods=["POST"]),
        Route("/sign-out", open_form(signing.sign_out), methods=["POST"]),
        Route("/first-run", open_page(signing.first_run_page), methods=["GET"]),
        Route("/first-run", open_form(signing.first_run), methods=["POST"]),
    ]


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _missing(request: Request, _error: Exception) -> Response:
    async def handler(_visit: Visit) -> Response:
        raise NotFoundError("there is no such page.", next_step="Go on from the inbox.")

    return await open_page(handler)(request)


async def _broken(_request: Request, _error: Exception) -> Response:
    # Drawn without the database: that may be what broke.
    return PlainTextResponse("Something went wrong here. Nothing was decided. The log says what it was.\n", 500)
