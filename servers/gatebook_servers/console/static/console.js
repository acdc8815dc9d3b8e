// What makes the pages quicker. Without it everything works: links and forms are all there is.
"use strict";

const SLOW_MS = 15000;
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// Live: the server says that something changed, the page fetches itself, and the parts that live are exchanged.
let mark = document.body.dataset.mark;
let fetching = false;

function exchange(fresh) {
  for (const old of $$("[data-live]")) {
    const next = fresh.getElementById(old.id);
    const same = !next || (old.dataset.live && old.dataset.live === next.dataset.live) || old.isEqualNode(next);
    // What somebody is writing stays, unless what it is about is decided.
    const writing = !old.dataset.live && $$("textarea, input:not([type=hidden])", old).some((field) => field.value !== field.defaultValue);
    if (!same && !writing) old.replaceWith(document.importNode(next, true));
  }
  document.title = fresh.title;
}

async function refresh() {
  if (fetching) return;
  fetching = true;
  try {
    const page = new URL(location.href);
    page.searchParams.set("by", "itself");
    const answer = await fetch(page, { headers: { accept: "text/html" }, redirect: "manual" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    mark = fresh.body.dataset.mark;
    const focused = document.activeElement?.closest?.(".card")?.id;
    exchange(fresh);
    choose(chosen || focused, Boolean(focused));
    prepare();
  } catch {
    // The next change or the slow look tries again.
  } finally {
    fetching = false;
  }
}

function listen() {
  let stream = null;
  const open = () => {
    stream = new EventSource(`/events?by=itself&mark=${encodeURIComponent(mark)}`);
    stream.onmessage = (event) => { if (JSON.parse(event.data).mark !== mark) refresh(); };
  };
  const close = () => { stream?.close(); stream = null; };
  open();
  // A page in the back keeps no stream open: a browser has six for all its tabs.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (!stream) { open(); refresh(); }
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => { if (event.persisted) { open(); refresh(); } });
  setInterval(() => { if (!document.hidden && stream?.readyState !== EventSource.OPEN) refresh(); }, SLOW_MS);
}

// Keys: one card is chosen; Enter opens it, and on its page a approves and d goes to the reason.
let chosen = "";

function choose(id, focus) {
  const cards = $$(".card");
  const card = cards.find((one) => one.id === id) || (id ? cards[0] : null);
  for (const one of cards) one.classList.toggle("chosen", one === card);
  chosen = card ? card.id : "";
  if (card && focus) $(".open", card)?.focus({ preventScroll: true });
  return card;
}

function move(step) {
  const cards = $$(".card");
  if (!cards.length) return;
  const at = cards.findIndex((card) => card.id === chosen);
  const next = cards[at < 0 ? 0 : Math.min(Math.max(at + step, 0), cards.length - 1)];
  choose(next.id, true).scrollIntoView({ block: "nearest" });
}

function open(then) {
  const card = $$(".card").find((one) => one.id === chosen) || $(".card");
  const link = card && $(".open", card);
  if (link) location.assign(link.href + then);
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  i: () => location.assign("/"),
  Enter: () => open(""),
  a: () => press("a") || open(""),
  d: () => press("d") || open("#deny"),
  e: () => press("e"),
  w: () => press("w"),
};

function press(key) {
  const target = $(`[data-key="${key}"]`);
  if (!target || target.disabled) return Boolean(target);
  if (target.tagName === "TEXTAREA") target.focus();
  else target.click();
  return true;
}

document.addEventListener("keydown", (event) => {
  const busy = event.repeat || event.ctrlKey || event.metaKey || event.altKey;
  const field = event.target.closest("input, textarea, select");
  if (field && event.key === "Enter" && (event.ctrlKey || event.metaKey)) field.form?.requestSubmit();
  if (field && event.key === "Escape") field.blur();
  if (busy || field || (event.key === "Enter" && event.target.closest("a, button, summary"))) return;
  const act = KEYS[event.key];
  if (!act || (event.key === "Enter" && !$(".card"))) return;
  event.preventDefault();
  act();
});

document.addEventListener("focusin", (event) => {
  const card = event.target.closest(".card");
  if (card) choose(card.id, false);
});

// A long text is read to its end before the button works. The server has its own check that all of it was shown.
function prepare() {
  for (const button of $$("[data-after]")) {
    const end = document.getElementById(button.dataset.after);
    if (!end || button.dataset.watched) continue;
    button.dataset.watched = "yes";
    button.disabled = true;
    const hint = $(`[data-until="${end.id}"]`);
    if (hint) hint.hidden = false;
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      button.disabled = false;
      if (hint) hint.hidden = true;
    }).observe(end);
  }
}

// One press is one decision.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
  setTimeout(() => { delete event.target.dataset.sent; }, 5000);
});

if (mark) listen();
prepare();
if (location.hash === "#deny") press("d");
