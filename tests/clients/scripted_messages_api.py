"""Anthropic's Messages API on the loopback interface, played from a script.

A real client talks to it as to the real thing and does what the script says. The server keeps no place in the script:
each request carries the whole conversation, and the replies in it are counted, so a request that is repeated gets the
same answer. Requests without tools (titles, summaries) are answered, but are no part of the script.
"""

import json
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter

INPUT_TOKENS = 100
"""Input tokens that each scripted reply reports as used."""
OUTPUT_TOKENS = 10
"""Output tokens that each scripted reply reports as used."""

Object = Mapping[str, JsonValue]
_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class Block(BaseModel):
    """A content block, as far as a test looks at one; the fields of every block type are here."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # the shape is Anthropic's and grows

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    tool_use_id: str = ""
    content: "str | tuple[Block, ...]" = ""
    is_error: bool = False


class Message(BaseModel):
    """One message of the conversation."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: str
    content: str | tuple[Block, ...]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The content as blocks, also where the client sent a string."""
        return (Block(type="text", text=self.content),) if isinstance(self.content, str) else self.content


class OfferedTool(BaseModel):
    """A tool the client offered to the model."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    description: str = ""
    input_schema: dict[str, JsonValue] = {}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model would see of a tool's answer."""

    tool: str
    text: str
    is_error: bool

    @property
    def data(self) -> dict[str, JsonValue]:
        """The text as a JSON object.

        Raises:
            ValueError: The text is something else, a refusal for instance.
        """
        return _OBJECT.validate_json(self.text)


class ApiRequest(BaseModel):
    """One request to `/v1/messages`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    system: str | tuple[Block, ...] = ""
    tools: tuple[OfferedTool, ...] = ()

    @property
    def offered(self) -> list[str]:
        """Names of the tools, in the order in which the model would read them."""
        return [tool.name for tool in self.tools]

    @property
    def user_text(self) -> str:
        """Everything that is said to the model apart from the system prompt and the results of tools."""
        said = (block.text for message in self.messages if message.role == "user" for block in message.blocks)
        return "\n".join(text for text in said if text)

    @property
    def turn(self) -> int:
        """How many replies the conversation already holds."""
        return sum(message.role == "assistant" for message in self.messages)

    def results(self) -> list[ToolResult]:
        """The tools' answers in the conversation, oldest first."""
        blocks = [block for message in self.messages for block in message.blocks]
        names = {block.id: block.name for block in blocks if block.type == "tool_use"}
        return [
            ToolResult(tool=names.get(block.tool_use_id, ""), text=_text(block.content), is_error=block.is_error)
            for block in blocks
            if block.type == "tool_result"
        ]


class Seen(Mapping[str, ToolResult]):
    """The newest result of each tool, by the tool's full name or by what follows the last `__` in it."""

    def __init__(self, results: Sequence[ToolResult]) -> None:
        full = {result.tool: result for result in results}
        self._results = {name.rpartition("__")[2]: result for name, result in full.items()} | full

    def __getitem__(self, name: str) -> ToolResult:
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)


@dataclass(frozen=True, slots=True)
class Call:
    """The model calls a tool, with this input or with one made from the results so far."""

    tool: str
    input: Object | Callable[[Seen], Object] = field(default_factory=dict[str, JsonValue])

    def resolve(self, seen: Seen) -> Object:
        """Return the input for a conversation with these results."""
        return self.input(seen) if callable(self.input) else self.input


@dataclass(frozen=True, slots=True)
class Say:
    """The model says something and its turn ends."""

    text: str


Step = Call | Say


@dataclass(slots=True)
class ScriptedMessagesApi:
    """A script, and what the client made of it.

    Attributes:
        script: What the model does, one step a request; after the last one it says that the script is over.
        url: Base URL for the client, without `/v1`.
        requests: The requests of the scripted conversation, oldest first.
        asides: The requests without tools.
        unplayable: What was wrong with steps that could not be played; a test asserts that this is empty.
    """

    script: Sequence[Step]
    url: str = ""
    requests: list[ApiRequest] = field(default_factory=list[ApiRequest])
    asides: list[ApiRequest] = field(default_factory=list[ApiRequest])
    unplayable: list[str] = field(default_factory=list[str])

    def results(self) -> list[ToolResult]:
        """The tools' answers that the last request carried, oldest first."""
        return self.requests[-1].results() if self.requests else []

    def answer(self, request: ApiRequest) -> dict[str, JsonValue]:
        """Record the request and return the reply as one Messages API object."""
        if not request.tools:
            self.asides.append(request)
            return _reply(request, Say("Aside."))
        self.requests.append(request)
        step = self.script[request.turn] if request.turn < len(self.script) else Say("The script is over.")
        try:
            return _reply(request, step)
        except (LookupError, TypeError, ValueError) as error:
            self.unplayable.append(f"step {request.turn}, {step}: {error!r} after {request.results()[-1:]}")
            return _reply(request, Say("The script cannot go on."))


@contextmanager
def serving(script: Sequence[Step]) -> Generator[ScriptedMessagesApi]:
    """Play the script on a free port of the loopback interface."""
    api = ScriptedMessagesApi(script)

    class Handler(_Handler):
        played = api

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    played: ScriptedMessagesApi

    def do_HEAD(self) -> None:
        self._send(HTTPStatus.OK, "application/json", b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path = self.path.partition("?")[0]
        if path == "/v1/messages":
            self._play(ApiRequest.model_validate_json(body))
        elif path == "/v1/messages/count_tokens":
            self._send_json(HTTPStatus.OK, {"input_tokens": INPUT_TOKENS})
        else:
            self._send_json(HTTPStatus.NOT_FOUND, _error("not_found_error", path))

    def _play(self, request: ApiRequest) -> None:
        reply = self.played.answer(request)
        if request.stream:
            events = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in _events(reply))
            self._send(HTTPStatus.OK, "text/event-stream", events.encode())
        else:
            self._send_json(HTTPStatus.OK, reply)

    def _send_json(self, status: HTTPStatus, value: Object) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
        """Say nothing: `ScriptedMessagesApi.requests` is the log."""


def _text(content: str | tuple[Block, ...]) -> str:
    return content if isinstance(content, str) else "\n".join(block.text for block in content)


def _reply(request: ApiRequest, step: Step) -> dict[str, JsonValue]:
    block: dict[str, JsonValue] = (
        {"type": "text", "text": step.text}
        if isinstance(step, Say)
        else {
            "type": "tool_use",
            "id": f"toolu_{request.turn:06}",
            "name": step.tool,
            "input": dict(step.resolve(Seen(request.results()))),
        }
    )
    return {
        "id": f"msg_{request.turn:06}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [block],
        "stop_reason": "end_turn" if isinstance(step, Say) else "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
    }


def _events(reply: dict[str, JsonValue]) -> Iterator[dict[str, JsonValue]]:
    """Tell the reply as the events of a stream; its one content block comes as one delta."""
    (block,) = TypeAdapter(list[dict[str, JsonValue]]).validate_python(reply["content"])
    start: dict[str, JsonValue]
    delta: dict[str, JsonValue]
    if block["type"] == "text":
        start, delta = block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        start = block | {"input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    ending: dict[str, JsonValue] = {"stop_reason": reply["stop_reason"], "stop_sequence": None}
    yield {"type": "message_start", "message": reply | {"content": [], "stop_reason": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": start}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": OUTPUT_TOKENS}}
    yield {"type": "message_stop"}


def _error(kind: str, message: str) -> dict[str, JsonValue]:
    return {"type": "error", "error": {"type": kind, "message": message}}
