"""`gatebook serve` and `gatebook worker`."""

import argparse

import anyio

from gatebook.errors import ConfigurationError
from gatebook.runtime import open_runtime
from gatebook.settings import load_settings
from gatebook.telemetry import configure_logging, start_telemetry
from gatebook.toolset import build_server
from gatebook.transports.auth import ensure_token
from gatebook_servers.catalogue import SERVERS, catalogue
from gatebook_servers.commands.context import Commands, opened, worker_of
from gatebook_servers.commands.output import complain, say

ALL = "all"
COMMANDS = ("serve", "worker")


def add(commands: Commands) -> None:
    """Declare the commands."""
    serve = commands.add_parser("serve", help="run a server, or all of them")
    serve.add_argument("name", choices=[*SERVERS, ALL])
    serve.add_argument("--transport", choices=["stdio", "http", "sse"], default="stdio")
    serve.add_argument("--port", type=int, help="port of HTTP and SSE; 0 takes a free one")
    serve.set_defaults(run=serve_command)
    worker = commands.add_parser("worker", help="execute what is approved, as long as it runs")
    worker.add_argument("--once", action="store_true", help="do what is due, then end")
    worker.set_defaults(run=worker_command)


def serve_command(options: argparse.Namespace) -> int:
    """Serve until the client leaves or a signal comes."""
    settings = load_settings()
    runtime = open_runtime(settings)
    names = list(SERVERS) if options.name == ALL else [options.name]
    specs = catalogue()
    flush = start_telemetry()

    def stop() -> None:
        runtime.close()
        flush()

    if options.transport == "stdio":
        # Imported here: the other transport costs every start half a second.
        from gatebook.transports.stdio import run_stdio  # noqa: PLC0415

        merged = build_server([SERVERS[name] for name in names], runtime, catalogue=specs, name=options.name)
        configure_logging(settings.log_level)
        return run_stdio(merged, on_stop=stop)
    from gatebook.transports.http import HttpOptions, run_http  # noqa: PLC0415

    servers = {name: build_server([SERVERS[name]], runtime, catalogue=specs) for name in names}
    configure_logging(settings.log_level)
    token_file = settings.home / "token"
    port = settings.port if options.port is None else options.port
    endpoint = "mcp" if options.transport == "http" else "sse"
    http = HttpOptions(host=settings.host, port=port, token=ensure_token(token_file), principal=settings.principal)

    def announce(url: str) -> None:
        for name in names:
            complain(f"{name}: {url}/{name}/{endpoint}")
        complain(f"bearer token: {token_file}")

    try:
        return run_http(servers, http, on_stop=stop, announce=announce)
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{error}.", next_step="Choose a free loopback address and port.") from error


def worker_command(options: argparse.Namespace) -> int:
    """Run the outbox."""
    configure_logging(load_settings().log_level)

    async def work() -> None:
        with opened() as runtime:
            worker = worker_of(runtime)
            if not options.once:
                complain("executing what is approved; end with Ctrl-C")
                await worker.run_forever()
            done = 0
            while await worker.run_one() is not None:
                done += 1
            say(f"{done} jobs")

    try:
        anyio.run(work)
    except KeyboardInterrupt:
        return 130
    return 0
