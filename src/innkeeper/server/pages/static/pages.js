// What the pages do beyond reading: times in the viewer's zone, live changes, dialogs, the theme.
// Everything here is an addition: with scripts blocked each page says the same and each form works.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// ---- Times -------------------------------------------------------------------------------------

const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const FORMATS = {
  time: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  second: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
  bare: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  full: { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
};
FORMATS.far = { ...FORMATS.full, year: "numeric" };
const formats = new Map();

function say(moment, shape, zone) {
  const key = `${shape} ${zone}`;
  if (!formats.has(key)) {
    formats.set(key, new Intl.DateTimeFormat("en-GB", { ...FORMATS[shape], ...(zone ? { timeZone: zone } : {}) }));
  }
  return formats.get(key).format(moment).replace(",", "");
}

function showTimes(within) {
  for (const element of all("time[data-shape]:not([data-said])", within)) {
    const moment = new Date(element.dateTime);
    const { shape, zone } = element.dataset;
    element.dataset.said = "";
    const mine = say(moment, shape);
    if (!zone) {
      element.title = `${element.textContent.trim()} · ${HERE}: ${mine}`;
      element.textContent = mine;
    } else if (say(moment, "full") !== say(moment, "full", zone)) {
      const yours = document.createElement("span");
      yours.className = "yours";
      yours.textContent = mine;
      const word = document.createElement("span");
      word.className = "unseen";
      word.textContent = " your time";
      yours.append(word);
      element.title = `${HERE}: ${say(moment, "full")}`;
      element.append(yours);
    }
  }
  for (const mark of all("text[data-moment]:not([data-said])", within)) {
    const moment = new Date(mark.dataset.moment);
    mark.dataset.said = "";
    if (say(moment, "full") !== say(moment, "full", mark.dataset.zone)) {
      mark.nextElementSibling.textContent = say(moment, "time");
      for (const note of all("[data-yours]")) note.hidden = false;
    }
  }
}

// ---- The theme ---------------------------------------------------------------------------------

function showTheme() {
  const kept = localStorage.getItem("innkeeper.theme") || "auto";
  for (const choice of all("[data-set-theme]")) {
    choice.setAttribute("aria-pressed", String(choice.dataset.setTheme === kept));
    choice.classList.toggle("main", choice.dataset.setTheme === kept);
  }
}

document.addEventListener("click", (event) => {
  const choice = event.target.closest("[data-set-theme]");
  if (!choice) return;
  const theme = choice.dataset.setTheme;
  if (theme === "auto") {
    localStorage.removeItem("innkeeper.theme");
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem("innkeeper.theme", theme);
    document.documentElement.dataset.theme = theme;
  }
  showTheme();
  document.body.dispatchEvent(new Event("theme-changed"));
});

// ---- Dialogs: a page that asks, shown over the one that led to it --------------------------------

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-dialog]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
  if (!answer.ok || answer.redirected) {
    location.assign(link.href);
    return;
  }
  const box = document.createElement("dialog");
  box.innerHTML = await answer.text();
  box.setAttribute("aria-labelledby", "confirm-title");
  document.body.append(box);
  one("[data-close]", box)?.addEventListener("click", (click) => {
    click.preventDefault();
    box.close();
  });
  box.addEventListener("close", () => {
    box.remove();
    link.focus();
  });
  showTimes(box);
  box.showModal();
});

// ---- Live: one stream for a page that is looked at ------------------------------------------------

let stream = null;
let lostAt = 0;

function listen() {
  const kinds = document.body.dataset.live;
  if (!kinds || stream || document.hidden) return;
  // After what the page was made of: what happened on its way here is news too.
  const since = encodeURIComponent(document.body.dataset.since || "");
  document.body.dataset.since = "";
  stream = new EventSource(`/pages/events?kinds=${encodeURIComponent(kinds)}&after=${since}`);
  stream.onopen = () => {
    showLive("on");
    if (lostAt) happened("events.lost", {});
    lostAt = 0;
  };
  stream.onerror = () => {
    lostAt ||= Date.now();
    showLive("lost");
    if (stream.readyState === EventSource.CLOSED) {
      stream = null;
      setTimeout(listen, 4000);
    }
  };
  stream.onmessage = (message) => {
    for (const told of JSON.parse(message.data)) happened(told.kind, told);
  };
}

function hush() {
  stream?.close();
  stream = null;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    hush();
    showLive("off");
  } else {
    lostAt ||= 1;
    listen();
  }
});
window.addEventListener("pagehide", hush);

function showLive(state) {
  const sign = one(".live");
  if (!sign) return;
  sign.dataset.state = state;
  one("span", sign).textContent = { on: "live", lost: "connection lost, trying again", off: "paused" }[state];
}

// Kinds are gathered into names that fragments wait for; each waits as long as it likes between two reads.
function happened(kind, told) {
  if (kind === "task.changed") return showTask(told);
  if (kind === "task.logged") return showLine(told);
  const [noun] = kind.split(".");
  for (const name of noun === "events" ? ["task", "update", "machine", "schedule", "audit"] : [noun]) announce(name);
  if (noun === "machine") refreshCard(told.subject);
  if (kind === "task.ended") showEnd(told);
}

// Much news is read once: at most every 1.2 seconds, and always after the last of it.
const SPACING = 1200;
const announced = new Map();

function announce(name) {
  const last = announced.get(name);
  if (last?.timer) return;
  const rest = Math.max(150, SPACING - (Date.now() - (last?.at || 0)));
  const timer = setTimeout(() => {
    announced.set(name, { at: Date.now() });
    document.body.dispatchEvent(new Event(`${name}-news`));
  }, rest);
  announced.set(name, { at: last?.at || 0, timer });
}

function showTask(told) {
  const task = told.data;
  for (const row of all(`[data-task="${Number(task.id)}"]`)) {
    const steps = task.phase_count ? `${task.phase_number} of ${task.phase_count}: ` : "";
    const phase = task.cancel_requested ? "Cancelling" : `${steps}${task.phase || "Starting"}`;
    for (const place of all("[data-is=phase]", row)) place.textContent = phase;
    for (const place of all("[data-is=percent]", row)) place.textContent = task.percent === null ? "" : `${task.percent} %`;
    for (const bar of all("progress[data-is=bar]", row)) {
      if (task.percent === null) bar.removeAttribute("value");
      else bar.value = task.percent;
    }
    for (const place of all("[data-is=cancel]", row)) place.hidden = task.cancel_effect === "none" || task.cancel_requested;
  }
}

function showEnd(told) {
  for (const page of all(`[data-reload-at-end="${Number(told.subject)}"]`)) {
    if (!page.contains(document.activeElement) || document.activeElement === document.body) location.reload();
  }
}

function showLine(told) {
  const log = one(`.log[data-log="${Number(told.subject)}"]`);
  if (!log || Number(log.dataset.last) >= told.data.number) return;
  const follows = log.scrollTop + log.clientHeight > log.scrollHeight - 40;
  const line = one("#log-line").content.firstElementChild.cloneNode(true);
  line.dataset.level = told.data.level;
  const time = one("time", line);
  time.dateTime = told.at;
  one("span", line).textContent = told.data.text;
  one("ol", log).append(line);
  log.dataset.last = told.data.number;
  showTimes(line);
  if (follows) log.scrollTop = log.scrollHeight;
}

document.addEventListener("htmx:configRequest", (event) => {
  const token = one("meta[name=csrf]");
  if (token) event.detail.headers["X-CSRF-Token"] = token.content;
});

// ---- Machines: cards and pictures ------------------------------------------------------------------

const waiting = new Set();

function refreshCard(name) {
  const card = one(`.machine[data-name="${CSS.escape(name)}"]`);
  if (!card || waiting.has(name)) return;
  waiting.add(name);
  setTimeout(() => {
    waiting.delete(name);
    if (card.isConnected) htmx.ajax("GET", card.dataset.card, { target: card, swap: "outerHTML" });
  }, 400 + Math.random() * 400);
}

const seen = new Set();
const eyes = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) seen.add(target);
    else seen.delete(target);
  }
});

function watchPictures(within) {
  for (const picture of all("img[data-again]", within)) eyes.observe(picture);
  for (const card of all(".machine", within)) cardEyes.observe(card);
}

setInterval(() => {
  if (document.hidden) return;
  for (const picture of seen) {
    if (!picture.isConnected) {
      seen.delete(picture);
      eyes.unobserve(picture);
    } else if (picture.complete && Date.now() - Number(picture.dataset.at || 0) > Number(picture.dataset.again)) {
      picture.dataset.at = Date.now();
      showAgain(picture);
    }
  }
}, 1000);

// The service answers 304 where the screen shows the same, and nothing is drawn anew.
async function showAgain(picture) {
  const address = picture.dataset.from || picture.getAttribute("src");
  const answer = await fetch(address, { cache: "no-cache" });
  if (!answer.ok) return;
  const next = new Image();
  next.src = URL.createObjectURL(await answer.blob());
  try {
    await next.decode(); // else the screen would be black between two pictures
  } catch {
    return;
  }
  const old = picture.dataset.from ? picture.src : "";
  picture.dataset.from = address;
  picture.decoding = "sync";
  picture.src = next.src;
  if (old) URL.revokeObjectURL(old);
}

const inView = new Set();
const cardEyes = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) inView.add(target);
    else inView.delete(target);
  }
});

async function showFigures() {
  const cards = [...inView].filter((card) => card.isConnected && one("[data-is=cpu]", card));
  if (document.hidden || !cards.length) return;
  const names = cards.map((card) => card.dataset.name).filter((name) => !name.includes(","));
  const answer = await fetch(`/machines/figures?names=${encodeURIComponent(names.join(","))}`);
  if (!answer.ok) return;
  const figures = await answer.json();
  for (const card of cards) {
    const found = figures[card.dataset.name];
    if (!found) continue;
    one("[data-is=cpu]", card).value = found.cpu;
    one("[data-is=cpu-text]", card).textContent = `${Math.round(found.cpu)} %`;
    one("[data-is=memory]", card).value = found.memory;
    one("[data-is=memory-text]", card).textContent = sayBytes(found.memory);
  }
}
if (one(".machines")) setInterval(showFigures, 3000);

function sayBytes(count) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (count >= 1024 && place < 4) {
    count /= 1024;
    place += 1;
  }
  return `${place && count < 100 ? count.toFixed(1) : Math.round(count)} ${units[place]}`;
}

// A picture that cannot be had gives way to the sign behind it.
document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement && event.target.dataset.again) event.target.hidden = true;
}, true);
document.addEventListener("load", (event) => {
  if (event.target instanceof HTMLImageElement && event.target.dataset.again) event.target.hidden = false;
}, true);

// ---- Together ----------------------------------------------------------------------------------------

function ready(within) {
  showTimes(within);
  watchPictures(within);
  for (const log of all(".log[data-log]", within)) log.scrollTop = log.scrollHeight;
}

document.addEventListener("htmx:afterSwap", (event) => ready(event.detail.target.isConnected ? event.detail.target.parentNode : document));
document.addEventListener("htmx:load", (event) => ready(event.detail.elt));
document.addEventListener("DOMContentLoaded", () => {
  ready(document);
  showTheme();
  one("nav [aria-current=page]")?.scrollIntoView({ block: "nearest", inline: "center" });
  listen();
});
// A menu closes when one looks elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of all("details.menu[open]")) {
    menu.open = false;
    one("summary", menu).focus();
  }
});
