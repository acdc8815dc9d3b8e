"""The console in a real browser. Whatever the page's policy refuses, or its script complains about, fails a test."""

import asyncio
import base64
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from consoles import PASSWORD, RunningConsole
from gatebook.approvals.models import Approval
from suite import Json, ticket

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here"),
]

HOSTILE = (
    "Hello,\n\nconfirm at https://\u0440aypal.example/login\u202egnp.exe, code\u200b\u200bs too."
    + "\n" * 30
    + "Pay now.\n"
    "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\"><b>bold</b>"
    " [link](https://elsewhere.example) <style>body{display:none}</style>"
)


@dataclass
class Visit:
    page: Page
    console: RunningConsole
    complaints: list[str] = field(default_factory=list[str])

    async def sign_in(self, name: str = "ada") -> None:
        await self.page.goto(f"{self.console.url}/sign-in")
        await self.page.fill("[name=name]", name)
        await self.page.fill("[name=password]", PASSWORD)
        await self.page.click("main button")
        await self.page.wait_for_url(f"{self.console.url}/")

    async def open(self, request: Approval, more: str = "") -> None:
        await self.page.goto(f"{self.console.url}/requests/{request.approval_id}{more}")

    async def until_decidable(self) -> None:
        """Wait until the script is there and has seen the text to its end: the keys work then."""
        await self.page.wait_for_load_state("load")
        await expect(self.page.locator(".deciding button.primary")).to_be_enabled()


@asynccontextmanager
async def visit(console: RunningConsole, *, script: bool = True, width: int = 1_200) -> AsyncGenerator[Visit]:
    """A browser at the console. At the end nothing was refused or broken in it."""
    async with async_playwright() as playwright:
        browser: Browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(viewport={"width": width, "height": 800}, java_script_enabled=script)
        page = await context.new_page()
        visited = Visit(page, console)

        def complain(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning") and "the server responded with" not in message.text:
                visited.complaints.append(message.text)

        page.on("console", complain)
        page.on("pageerror", lambda error: visited.complaints.append(str(error)))
        await page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => console.error('refused', event.violatedDirective))"
        )
        try:
            yield visited
            assert visited.complaints == []
        finally:
            await browser.close()


async def asked(console: RunningConsole, ticket_id: str = "AB-1", body: str = "Choose Rename.") -> Approval:
    suite = console.suite
    suite.tickets([ticket(ticket_id)])
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref=f"local:{ticket_id}", body=body)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        assert (await agent.call("send_reply", send)).code == "approval_required"
    return next(request for request in suite.requests() if request.target.endswith(ticket_id))


def sent(console: RunningConsole, ticket_id: str = "AB-1") -> list[str]:
    return [str(row["body"]) for row in console.suite.comments(ticket_id)]


async def until_sent(console: RunningConsole, *ticket_ids: str) -> None:
    async with asyncio.timeout(20):
        while not all(sent(console, ticket_id) for ticket_id in ticket_ids):  # noqa: ASYNC110 - another thread sends
            await asyncio.sleep(0.1)


async def test_the_first_run_makes_a_person_who_signs_out_and_in_again(console: RunningConsole) -> None:
    async with visit(console) as seen:
        page = seen.page
        await page.goto(console.first_run)
        await page.fill("[name=name]", "ada")
        await page.fill("[name=password]", PASSWORD)
        await page.fill("[name=again]", PASSWORD)
        await page.click("main button")
        await expect(page.locator("h2")).to_have_text("Nothing waits for you")
        await page.click("text=Sign out")
        await expect(page.locator(".banner.done")).to_have_text("You are signed out.")
        await seen.sign_in()
        await expect(page.locator(".name")).to_have_text("ada")


async def test_a_request_arrives_by_itself_and_is_decided_with_two_keys_and_sent(console: RunningConsole) -> None:
    console.add("ada", "admin")
    async with visit(console) as seen:
        await seen.sign_in()
        await expect(seen.page.locator(".empty")).to_be_visible()
        await asked(console)
        await expect(seen.page.locator(".card")).to_contain_text("Choose Rename.")
        assert await seen.page.title() == "(1) Inbox · Gatebook"
        await seen.page.keyboard.press("Enter")
        await expect(seen.page.locator(".deciding")).to_be_visible()
        await seen.until_decidable()
        await seen.page.keyboard.press("a")
        await expect(seen.page.locator(".banner.done")).to_have_text("Approved. It is being done now.")
        await until_sent(console, "AB-1")
    assert sent(console) == ["Choose Rename."]


async def test_the_keys_move_open_and_deny_with_a_reason(console: RunningConsole) -> None:
    console.add("ada", "admin")
    first, second = await asked(console), await asked(console, "AB-2", "Press the button.")
    async with visit(console) as seen:
        await seen.sign_in()
        page = seen.page
        for key, chosen in (("j", 0), ("j", 1), ("j", 1), ("k", 0), ("j", 1)):
            await page.keyboard.press(key)
            await expect(page.locator(".card").nth(chosen)).to_have_class("card chosen")
        await page.keyboard.press("d")
        await expect(page.locator("textarea[name=reason]")).to_be_focused()
        await page.keyboard.type("a, not d: too short")
        await page.keyboard.press("Control+Enter")
        await expect(page.locator(".banner.done")).to_contain_text("Denied.")
    states = {request.approval_id: (request.state, request.state_reason) for request in console.suite.requests("all")}
    denied = [state for state in states.values() if state == ("denied", "a, not d: too short")]
    assert len(denied) == 1
    assert {first.approval_id, second.approval_id} == set(states)


async def test_an_edited_reply_is_a_new_request_and_what_is_sent_is_the_persons(console: RunningConsole) -> None:
    (console.suite.home / "policy.toml").write_text(EDITABLE, encoding="utf-8")
    console.add("ada", "admin")
    request = await asked(console)
    async with visit(console) as seen:
        await seen.sign_in()
        await seen.open(request)
        await seen.page.keyboard.press("e")
        await seen.page.fill("textarea[name=body]", "Choose Rename,\nthen Save.")
        await seen.page.click("main form button")
        await expect(seen.page.locator(".changed ins").first).to_contain_text("Rename,")
        await expect(seen.page.locator(".marks").first).to_contain_text("edited by ada")
        await seen.until_decidable()
        await seen.page.keyboard.press("a")
        await expect(seen.page.locator(".banner.done")).to_be_visible()
        await until_sent(console, "AB-1")
    assert sent(console) == ["Choose Rename,\nthen Save."]


async def test_a_batch_sends_what_is_ticked_and_leaves_the_rest(console: RunningConsole) -> None:
    console.add("ada", "admin")
    for number in (1, 2, 3):
        await asked(console, f"AB-{number}", f"Answer {number}.")
    async with visit(console) as seen:
        await seen.sign_in()
        await seen.page.click("text=Review together")
        await expect(seen.page.locator(".line")).to_have_count(3)
        await seen.page.get_by_label("Choose local:AB-2").uncheck()
        await seen.page.click("text=Approve the ticked ones")
        await expect(seen.page.locator(".banner.done")).to_contain_text("Approved together.")
        await until_sent(console, "AB-1", "AB-3")
    assert [request.target for request in console.suite.requests()] == ["local:AB-2"]
    assert sent(console, "AB-2") == []


@pytest.mark.parametrize("script", [True, False])
async def test_a_batch_is_denied_with_one_reason_and_leaves_the_rest(console: RunningConsole, *, script: bool) -> None:
    console.add("ada", "admin")
    for number in (1, 2, 3):
        await asked(console, f"AB-{number}", f"Answer {number}.")
    async with visit(console, script=script) as seen:
        await seen.sign_in()
        page = seen.page
        await page.click("text=Review together")
        await page.get_by_label("Choose local:AB-2").uncheck()
        await page.click("text=Deny the ticked ones")
        await expect(page.locator(".line")).to_have_count(3)  # not without a reason
        await page.fill("textarea[name=reason]", "too curt")
        if script:
            await page.keyboard.press("Control+Enter")
        else:
            await page.click("text=Deny the ticked ones")
        await expect(page.locator(".banner.done")).to_contain_text("Denied together.")
    decided = {request.target: (request.state, request.state_reason) for request in console.suite.requests("all")}
    assert decided == {
        "local:AB-1": ("denied", "too curt"),
        "local:AB-2": ("pending", ""),
        "local:AB-3": ("denied", "too curt"),
    }


async def test_hostile_text_is_shown_as_it_is_and_does_nothing(console: RunningConsole) -> None:
    console.add("ada", "admin")
    request = await asked(console, body=HOSTILE)
    async with visit(console) as seen:
        await seen.sign_in()
        await seen.open(request)
        page, body = seen.page, seen.page.locator(".sheet .body").first
        assert await body.locator("script, img, b, a, style").count() == 0
        assert await body.locator("*:not(bdi):not(span)").count() == 0
        text = await body.inner_text()
        assert "<script>" in text
        assert "U+202E" in text
        assert not set(text) & {"\u202e", "\u200b"}
        assert await page.title() == "Send reply · Gatebook"
        await expect(page.locator(".banner.warning")).to_contain_text("A domain name is not the one it looks like.")
        # What reaches the eye: a mark is a block of its own colour with its characters on it.
        background, share = await colour_of(page, await page.locator(".mark").first.screenshot())
        around, _ = await colour_of(page, await page.locator(".sheet .body").first.screenshot())
        assert background != around
        assert 0.3 < share < 0.98


async def test_a_long_text_is_read_to_its_end_before_the_key_works(console: RunningConsole) -> None:
    console.add("ada", "admin")
    request = await asked(console, body="\n".join(f"Line {number}." for number in range(95)))
    async with visit(console) as seen:
        await seen.sign_in()
        await seen.open(request)
        page, approve = seen.page, seen.page.locator(".deciding button.primary")
        await expect(approve).to_be_disabled()
        await page.keyboard.press("w")
        await page.wait_for_url("**?whole=1")
        await expect(approve).to_be_disabled()
        await page.keyboard.press("a")
        assert [one.state for one in console.suite.requests("all")] == ["pending"]
        await page.locator("#end").scroll_into_view_if_needed()
        await expect(approve).to_be_enabled()
        await page.keyboard.press("a")
        await expect(page.locator(".banner.done")).to_be_visible()


async def test_what_somebody_else_decided_is_seen_at_once_and_cannot_be_decided_again(console: RunningConsole) -> None:
    console.add("ada", "admin")
    request = await asked(console)
    async with visit(console) as seen:
        await seen.sign_in()
        await seen.open(request)
        await expect(seen.page.locator(".deciding button.primary")).to_be_enabled()
        console.suite.clock.advance(1)
        console.suite.deny(request.approval_id, reason="not today")
        await expect(seen.page.locator(".deciding")).to_contain_text("not today")
        await expect(seen.page.locator(".deciding button.primary")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_fits_a_phone(console: RunningConsole, scheme: str) -> None:
    console.add("ada", "admin")
    request = await asked(console, body=f"{HOSTILE} {'unbroken' * 40}")
    await asked(console, "AB-2", "Press the button.")
    async with visit(console, width=360) as seen:
        await seen.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await seen.sign_in()
        own = f"/requests/{request.approval_id}"
        pages = [
            "/",
            own,
            f"/batch/{request.approval_id}",
            "/held",
            "/attention",
            "/history",
            "/audit",
            "/runs",
            "/memory",
        ]
        for path in [*pages, "/tickets", "/tickets?ref=local:AB-1", "/pause", "/nothing"]:
            await seen.page.goto(f"{console.url}{path}")
            assert await seen.page.evaluate("document.documentElement.scrollWidth") == 360, path


async def test_without_a_script_everything_is_decided_all_the_same(console: RunningConsole) -> None:
    console.add("ada", "admin")
    request = await asked(console)
    other = await asked(console, "AB-2", "\n".join(f"Line {number}." for number in range(95)))
    async with visit(console, script=False) as seen:
        await seen.sign_in()
        await seen.page.click(f"#{request.approval_id} a")
        await seen.page.fill("[name=reason]", "too short")
        await seen.page.click("text=Deny")
        await expect(seen.page.locator(".banner.done")).to_contain_text("Denied.")
        await seen.page.click(f"#{other.approval_id} a")
        await seen.page.click("text=Show the whole text")
        await seen.page.click(".deciding button.primary")
        await expect(seen.page.locator(".banner.done")).to_contain_text("Approved.")
        await until_sent(console, "AB-2")


EDITABLE = """
version = 1
[[rule]]
id = "replies"
tools = ["tickets.send_reply"]
then = { outcome = "review", edit = ["body"] }
"""


async def colour_of(page: Page, png: bytes) -> tuple[str, float]:
    """Return the most frequent colour of a picture, and its share. A page without our policy decodes it."""
    blank = await page.context.new_page()
    found = await blank.evaluate(COUNT, base64.b64encode(png).decode())
    await blank.close()
    return str(found[0]), float(found[1])


COUNT = """async (png) => {
  const bytes = Uint8Array.from(atob(png), (char) => char.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) || 0) + 1);
  const [colour, count] = [...counts].sort((a, b) => b[1] - a[1])[0];
  return [String(colour), count / pixels.length];
}"""
