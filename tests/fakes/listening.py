"""A server on a thread of the test's own process, for what is asked little and answered as the test says."""

from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class _Quiet(BaseHTTPRequestHandler):
    """Logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        del format, args


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Generator[str]:
    """Serve on a free port until the end of the block, answering as the `do_` methods say; where."""
    quiet = type(handler.__name__, (_Quiet, handler), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), quiet)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
