"""Spans, metrics and logs. No argument, result or exception text reaches any of them.

The SDK opens one span per message; this module adds what it cannot know. The attribute names of the GenAI and MCP
conventions (open-telemetry/semantic-conventions-genai, in development) stand here once; ours begin with `gatebook.`.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter
from typing import Protocol

from opentelemetry import metrics, trace

from gatebook.clock import moment

SERVICE = "gatebook"
TOOL_USE_META = "claudecode/toolUseId"
"""Where Claude Code puts the id of its tool use; it joins its spans with ours and is never an idempotency key."""

ATTR_TOOL_CALL_ID = "gen_ai.tool.call.id"
ATTR_ERROR = "error.type"
ATTR_CODE = "gatebook.error.code"
"""Which error it was; the SDK itself sets `error.type` of every refused call to the convention's `tool_error`."""
ATTR_RUN = "gatebook.run.id"
ATTR_STEP = "gatebook.step"
ATTR_SERVER = "gatebook.server"
ATTR_EFFECT = "gatebook.effect.state"
ATTR_ATTEMPTS = "gatebook.attempts"
ATTR_INPUT = "gatebook.input.size"
ATTR_OUTPUT = "gatebook.output.size"
METRIC_DURATION = "mcp.server.operation.duration"
METRIC_SHADOW = "gatebook.policy.shadow"
ATTR_RULE = "gatebook.policy.rule"
METRIC_WARNING = "gatebook.upstream.warnings"
ATTR_UPSTREAM = "gatebook.upstream"

_BUCKETS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]
_FIELDS = (
    "run_id",
    "step_id",
    "tool_name",
    "input_size",
    "output_size",
    "duration_ms",
    "cost_usd",
    "outcome",
    "error",
    "rule",
)

logger = logging.getLogger("gatebook.calls")


class _Stopping(Protocol):
    def shutdown(self) -> object: ...


@dataclass
class CallRecord:
    """What is known of one call when it ends; filled by the guard on the way."""

    server: str
    tool: str
    started: float = field(default_factory=perf_counter)
    run_id: str = ""
    step: int = 0
    tool_use_id: str = ""
    input_size: int = 0
    arguments_sha256: str = ""
    """Hash of the arguments in the one form in which they are recorded."""
    output_size: int = 0
    counted: bool = False
    """Whether the day's calls include it already."""
    retries: list[int] = field(default_factory=list[int])
    cost_usd: float | None = None
    warning: str = ""
    """Which limits are nearly used up."""
    outcome: str = ""
    error: str = ""

    @property
    def attempts(self) -> int:
        """First tries and retries of the work behind this call."""
        return 1 + sum(self.retries)

    @property
    def seconds(self) -> float:
        """How long the call has taken by now."""
        return perf_counter() - self.started

    def emit(self) -> None:
        """Write the log line, enrich the current span and record the duration."""
        seconds = self.seconds
        attributes = {
            ATTR_SERVER: self.server,
            ATTR_RUN: self.run_id,
            ATTR_STEP: self.step,
            ATTR_EFFECT: self.outcome,
            ATTR_ATTEMPTS: self.attempts,
            ATTR_INPUT: self.input_size,
            ATTR_OUTPUT: self.output_size,
            ATTR_TOOL_CALL_ID: self.tool_use_id,
            ATTR_CODE: self.error,
        }
        trace.get_current_span().set_attributes({name: value for name, value in attributes.items() if value != ""})
        _duration(metrics.get_meter_provider()).record(
            seconds,
            {
                "gen_ai.tool.name": self.tool,
                ATTR_EFFECT: self.outcome,
                **({ATTR_ERROR: self.error} if self.error else {}),
            },
        )
        logger.info(
            "tool call",
            extra={
                "run_id": self.run_id,
                "step_id": self.step or None,
                "tool_name": self.tool,
                "input_size": self.input_size,
                "output_size": self.output_size,
                "duration_ms": round(seconds * 1000, 2),
                "cost_usd": self.cost_usd,
                "outcome": self.outcome,
                "error": self.error,
            },
        )


def count_shadow(rule: str, *, tool: str, outcome: str) -> None:
    """Count and log that a rule on trial applies to a call.

    Args:
        rule: The operator's name of the rule.
        tool: The tool, `server.tool`.
        outcome: What policy says of the call without it.
    """
    attributes = {ATTR_RULE: rule, "gen_ai.tool.name": tool, ATTR_EFFECT: outcome}
    metrics.get_meter(SERVICE).create_counter(METRIC_SHADOW).add(1, attributes)
    logger.info("a rule on trial applies", extra={"rule": rule, "tool_name": tool, "outcome": outcome})


def count_upstream_warning(upstream: str) -> None:
    """Count that an upstream answered with a warning: what we send is no longer what it expects.

    Args:
        upstream: Our name of it.
    """
    metrics.get_meter(SERVICE).create_counter(METRIC_WARNING).add(1, {ATTR_UPSTREAM: upstream})


@cache
def _duration(provider: metrics.MeterProvider) -> metrics.Histogram:
    """Return the histogram of the provider that is in force; making one for every call costs more than recording."""
    return provider.get_meter(SERVICE).create_histogram(
        METRIC_DURATION, unit="s", explicit_bucket_boundaries_advisory=_BUCKETS
    )


class JsonFormatter(logging.Formatter):
    """One JSON object a line. Exceptions are named by type; their text may hold what a customer wrote."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": moment(record.created).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in _FIELDS if hasattr(record, name)})
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__qualname__
            line["at"] = _innermost_line(record)
        return json.dumps(line, separators=(",", ":"))


def _innermost_line(record: logging.LogRecord) -> str:
    traceback = record.exc_info[2] if record.exc_info else None
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    return f"{os.path.basename(traceback.tb_frame.f_code.co_filename)}:{traceback.tb_lineno}"  # noqa: PTH119 - text only


def configure_logging(level: str) -> None:
    """Send every log record of the process to stderr as JSON; libraries that log addresses or bodies stay quiet."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("gatebook").setLevel(level)
    # These put request addresses, arguments or tracebacks into their records.
    for name in ("httpx", "httpx2", "httpcore", "mcp", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.ERROR)


def start_telemetry() -> Callable[[], None]:
    """Set OpenTelemetry up once; return what flushes it at the end.

    Exports over HTTP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set, and does nothing otherwise.
    """
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return lambda: None
    # Imported only where they are used: they cost every start a tenth of a second.
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.name": SERVICE})
    tracing = TracerProvider(resource=resource)
    tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    metering = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter())])
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(metering)
    providers: list[_Stopping] = [tracing, metering]

    def stop() -> None:
        for provider in providers:
            provider.shutdown()

    return stop
