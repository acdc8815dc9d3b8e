"""Telemetry: one JSON line and one enriched span for each call, and nobody's words in either."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from gatebook.telemetry import JsonFormatter, configure_logging, start_telemetry
from suite import Json, Suite, ticket

pytestmark = pytest.mark.anyio

CANARY = "kingfisher"
TOOL_USE: Json = {"claudecode/toolUseId": "toolu_1"}

SPANS = """
import json, sys
from pathlib import Path
import anyio
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
tracing = TracerProvider()
tracing.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(tracing)
metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
from suite import Suite, ticket

async def main():
    suite = Suite(Path(sys.argv[1]))
    suite.tickets([ticket(body="kingfisher")])
    async with suite.agent("tickets", "runs") as agent:
        run_id = (await agent.ok("start_run", key="night"))["run_id"]
        await agent.client.call_tool(
            "draft_reply", {"ref": "local:AB-1", "body": "kingfisher", "run_id": run_id},
            meta={"claudecode/toolUseId": "toolu_1"},
        )
        await agent.call("draft_reply", ref="local:AB-1", body=["kingfisher"])

anyio.run(main)
found = [{"name": span.name, "kind": span.kind.name, "attributes": dict(span.attributes or {}),
          "events": [event.name for event in span.events]} for span in spans.get_finished_spans()]
print(json.dumps({"spans": found, "metrics": json.loads(reader.get_metrics_data().to_json())}))
"""


def lines(caplog: pytest.LogCaptureFixture) -> list[Json]:
    """The lines of calls as they stand on stderr."""
    records = [record for record in caplog.records if record.name == "gatebook.calls"]
    return [cast("Json", json.loads(JsonFormatter().format(record))) for record in records]


async def test_every_call_is_one_line_with_sizes_and_none_of_its_words(
    suite: Suite, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    suite.tickets([ticket(body=f"Where is the {CANARY}?", subject=CANARY)])
    caplog.set_level(logging.INFO, "gatebook")
    async with suite.agent("tickets", "runs", mode=mode) as agent:
        run_id = str((await agent.ok("start_run", key=CANARY, goal=CANARY))["run_id"])
        got = await agent.call("get_ticket", ref="local:AB-1", run_id=run_id)
        assert CANARY in got.text
        draft = await agent.ok("draft_reply", ref="local:AB-1", body=f"The {CANARY} is here.", run_id=run_id)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public", "run_id": run_id}
        await agent.call("send_reply", send)
        await agent.call(CANARY, {CANARY: CANARY})
        await agent.call("get_ticket", ref=CANARY)
    suite.approve(suite.requests()[0].approval_id)
    await suite.execute()
    logged = lines(caplog)
    assert CANARY not in json.dumps(logged)
    wanted = {
        "run_id",
        "step_id",
        "tool_name",
        "input_size",
        "output_size",
        "duration_ms",
        "cost_usd",
        "outcome",
        "error",
    }
    assert all(line.keys() == wanted | {"time", "level", "logger", "message"} for line in logged)
    run = run_id.partition(".")[0]
    assert [(one["tool_name"], one["run_id"], one["step_id"], one["outcome"], one["error"]) for one in logged] == [
        ("start_run", run, None, "executed", ""),
        ("get_ticket", run, 1, "executed", ""),
        ("draft_reply", run, 2, "executed", ""),
        ("send_reply", run, 3, "held", "approval_required"),
        ("unknown", "", None, "refused", "not_found"),
        ("get_ticket", "", None, "refused", "not_found"),
        ("send_reply", run, None, "executed", ""),
    ]
    got_line = logged[1]
    assert got_line["input_size"] == len(json.dumps({"ref": "local:AB-1", "run_id": run_id}, separators=(",", ":")))
    assert got_line["output_size"] == len(got.text)
    assert all(isinstance(line["duration_ms"], float) and line["duration_ms"] > 0 for line in logged)
    assert all(line["cost_usd"] is None for line in logged)


def test_a_line_names_an_exception_by_type_and_place_and_never_quotes_it() -> None:
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads(CANARY)
    raised = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord("gatebook", logging.ERROR, __file__, 1, "it failed", None, raised)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert CANARY not in line
    parsed = json.loads(line)
    assert (parsed["exception"], parsed["message"]) == ("JSONDecodeError", "it failed")
    assert parsed["at"].startswith("decoder.py:")


def test_logs_go_to_stderr_and_talkative_libraries_stay_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    names = ("", "gatebook", "httpx", "httpx2", "httpcore", "mcp", "uvicorn.access")
    levels = {name: logging.getLogger(name).level for name in names}
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    try:
        configure_logging("INFO")
        logging.getLogger("gatebook.calls").info("one call")
        logging.getLogger("httpx").info("GET https://desk.example/%s", CANARY)
        logging.getLogger("mcp.server").warning("arguments %s", CANARY)
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    output = capsys.readouterr()
    assert output.out == ""
    assert json.loads(output.err)["message"] == "one call"


def test_without_a_collector_nothing_is_set_up() -> None:
    before = set(sys.modules)
    start_telemetry()()
    assert not any(name.startswith("opentelemetry.exporter") for name in set(sys.modules) - before)


def test_the_spans_of_the_sdk_say_run_step_and_outcome_and_no_words(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    path = os.pathsep.join(filter(None, (str(tests), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SPANS, str(tmp_path / "home")],
        capture_output=True, encoding="utf-8", check=False, timeout=60, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout
    found = json.loads(done.stdout)
    calls = [span["attributes"] for span in found["spans"] if "gatebook.server" in span["attributes"]]
    assert [(one["gatebook.server"], one["gatebook.step"], one["gatebook.effect.state"]) for one in calls] == [
        ("runs", 0, "executed"),
        ("tickets", 1, "executed"),
        ("tickets", 0, "refused"),
    ]
    drafted, refused = calls[1], calls[2]
    assert drafted["gatebook.run.id"].startswith("run_")
    assert drafted["gen_ai.tool.call.id"] == "toolu_1"
    assert (drafted["gatebook.attempts"], refused["gatebook.error.code"]) == (1, "invalid_arguments")
    assert drafted["gatebook.input.size"] > 0
    assert drafted["gatebook.output.size"] > 0
    assert not any("exception" in event for span in found["spans"] for event in span["events"])
    assert "mcp.server.operation.duration" in json.dumps(found["metrics"])
