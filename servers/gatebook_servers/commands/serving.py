"""`gatebook serve` and `gatebook worker`."""

import argparse
from collections.abc import Callable, Mapping

import anyio
from mcp.server.mcpserver import MCPServer

from gatebook.errors import ConfigurationError
from gatebook.runtime import Runtime, open_runtime
from gatebook.settings import Settings, load_settings
from gatebook.telemetry import configure_logging, start_telemetry
from gatebook.toolset import build_server
from gatebook.transports.auth import ensure_token
from gatebook.transports.ending import Background, no_background, run_background
from gatebook.transports.hooks import NO_HOOKS, NO_WEBHOOKS, Hook, Webhook
from gatebook_servers.catalogue import SERVERS, catalogue
from gatebook_servers.commands.context import Commands, opened, pause_in, worker_of
from gatebook_servers.commands.output import complain, say

ALL = "all"
COMMANDS = ("serve", "worker")
HIGHEST_PORT = 65_535
WORKER_DRAIN_S = 10.0
"""Seconds that `gatebook worker` has for the job that it is at when it is told to end."""


def add(commands: Commands) -> None:
    """Declare the commands."""
    serve = commands.add_parser("serve", help="run a server, or all of them")
    serve.add_argument("name", choices=[*SERVERS, ALL])
    add_transport(serve)
    serve.set_defaults(run=serve_command)
    worker = commands.add_parser("worker", help="do the background jobs of every server, as long as it runs")
    worker.add_argument("--once", action="store_true", help="do what is due, then end")
    worker.set_defaults(run=worker_command)


def add_transport(parser: argparse.ArgumentParser) -> None:
    """Declare over what a command serves."""
    parser.add_argument("--transport", choices=["stdio", "http", "sse"], default="stdio")
    parser.add_argument("--port", type=port, help="port of HTTP and SSE; 0 takes a free one")


def port(text: str) -> int:
    """Read a port's number from the command line.

    Raises:
        ArgumentTypeError: If it is none.
    """
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {HIGHEST_PORT}")
    return int(text)


def serve_command(options: argparse.Namespace) -> int:
    """Serve until the client leaves or a signal comes."""
    settings = load_settings()
    runtime = open_runtime(settings)
    names = list(SERVERS) if options.name == ALL else [options.name]
    if options.transport == "stdio":
        toolsets = [SERVERS[name] for name in names]
        servers = {options.name: build_server(toolsets, runtime, catalogue=catalogue(), name=options.name)}
    else:
        servers = {name: build_server([SERVERS[name]], runtime, catalogue=catalogue()) for name in names}
    configure_logging(settings.log_level)
    background = worker_of(runtime, names).run
    hooks = _hooks(runtime) if "approvals" in names and options.transport != "stdio" else NO_HOOKS
    webhooks = _webhooks(runtime) if "tickets" in names and options.transport != "stdio" else NO_WEBHOOKS
    stop = stopping(runtime)
    return serve_over(options, settings, servers, on_stop=stop, background=background, hooks=hooks, webhooks=webhooks)


def serve_over(
    options: argparse.Namespace,
    settings: Settings,
    servers: Mapping[str, MCPServer[Runtime]],
    *,
    on_stop: Callable[[], None],
    background: Background = no_background,
    hooks: Mapping[str, Hook] = NO_HOOKS,
    webhooks: Mapping[str, Webhook] = NO_WEBHOOKS,
) -> int:
    """Serve over the transport of the options until the client leaves or a signal comes; the exit code.

    Args:
        options: Of a command with `add_transport`.
        settings: Where HTTP listens, and for whom.
        servers: By name; stdio serves the only one.
        on_stop: Called once when no call runs any more.
        background: Work beside the serving.
        hooks: What else is answered over HTTP, by name.
        webhooks: What other companies' servers may tell over HTTP, by name.

    Raises:
        ConfigurationError: If the address cannot be used.
    """
    if options.transport == "stdio":
        # Imported here: the other transport costs every start half a second.
        from gatebook.transports.stdio import run_stdio  # noqa: PLC0415

        [server] = servers.values()
        return run_stdio(server, on_stop=on_stop, background=background)
    from gatebook.transports.http import HttpOptions, run_http  # noqa: PLC0415

    token_file = settings.home / "token"
    chosen = settings.port if options.port is None else options.port
    endpoint = "mcp" if options.transport == "http" else "sse"

    def announce(url: str) -> None:
        for name in servers:
            complain(f"{name}: {url}/{name}/{endpoint}")
        complain(f"bearer token: {token_file}")

    try:
        http = HttpOptions(
            host=settings.host, port=chosen, token=ensure_token(token_file), principal=settings.principal
        )
        return run_http(
            servers,
            http,
            on_stop=on_stop,
            announce=announce,
            background=background,
            hooks=hooks,
            webhooks=webhooks,
        )
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{error}.", next_step="Choose a free loopback address and port.") from error


def worker_command(options: argparse.Namespace) -> int:
    """Do the jobs of the outbox."""
    settings = load_settings()
    configure_logging(settings.log_level)
    if options.once:
        with opened(settings) as runtime:
            say(f"{anyio.run(worker_of(runtime).run_due)} jobs")
            with runtime.database.transaction() as tx:
                pause = pause_in(tx)
        if pause:
            complain(pause)
        return 0
    runtime = open_runtime(settings)
    complain("doing what is approved and what is due; end with Ctrl-C")
    return run_background(worker_of(runtime).run, on_stop=stopping(runtime), drain_s=WORKER_DRAIN_S)


def _hooks(runtime: Runtime) -> Mapping[str, Hook]:
    # Imported here: it loads a room.
    from gatebook_servers.commands.hooks import PATH, claude_code_hook  # noqa: PLC0415

    return {PATH: claude_code_hook(runtime)}


def _webhooks(runtime: Runtime) -> Mapping[str, Webhook]:
    file = runtime.settings.zendesk_webhook_secret_file
    if file is None:
        return NO_WEBHOOKS
    # Imported here: it loads a room.
    from gatebook_servers.tickets.waking import ZENDESK, ZendeskWebhook, read_secret  # noqa: PLC0415

    return {ZENDESK: ZendeskWebhook(runtime, read_secret(file))}


def stopping(runtime: Runtime) -> Callable[[], None]:
    """Start what observes the process; return what ends it and everything else."""
    flush = start_telemetry()

    def stop() -> None:
        runtime.close()
        flush()

    return stop
