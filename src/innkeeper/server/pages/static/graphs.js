// What a machine uses, over the last minute or day.
"use strict";
(() => {
  const place = document.getElementById("graphs");
  const MEMORY = Number(place.dataset.memory);
  const plots = new Map();
  let span = "minute";
  let timer = 0;

  const LINES = {
    cpu: [["used", (rates) => rates.cpu_percent]],
    memory: [["used", (rates) => rates.memory_bytes]],
    disk: [["read", (rates) => rates.disk_read], ["written", (rates) => rates.disk_written]],
    network: [["in", (rates) => rates.network_received], ["out", (rates) => rates.network_sent]],
  };
  const SAY = {
    cpu: (value) => `${Math.round(value)} %`,
    memory: sayBytes,
    disk: (value) => `${sayBytes(value)}/s`,
    network: (value) => `${sayBytes(value)}/s`,
  };
  // Steps of an axis in bytes: powers of two, as the units are.
  const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // light-dark() has to be settled by the browser before a canvas can draw with it.
  function settled(name) {
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    place.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found || colour(name);
  }

  function options(key, box) {
    const axis = { stroke: settled("--ink-3"), grid: { stroke: settled("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const tones = [settled("--busy-solid"), settled("--warn-solid")];
    return {
      width: box.clientWidth,
      height: box.clientHeight,
      legend: { show: false },
      cursor: { y: false, points: { size: 5 } },
      scales: { y: { range: (plot, low, high) => [0, key === "cpu" ? 100 : key === "memory" ? MEMORY : Math.max(high * 1.1, 1024)] } },
      axes: [
        { ...axis, size: 22, space: 60, values: (plot, marks) => marks.map((mark) => say(new Date(mark * 1000), span === "day" ? "time" : "second")) },
        { ...axis, size: key === "cpu" || key === "memory" ? 62 : 82, space: 34, values: (plot, marks) => marks.map(SAY[key]), ...(key === "cpu" ? {} : { incrs: BINARY }) },
      ],
      series: [{}, ...LINES[key].map(([label], number) => ({ label, stroke: tones[number], width: 1.6, dash: number ? [5, 3] : undefined, fill: number ? undefined : tones[0].replace("rgb(", "rgba(").replace(")", ", .18)"), points: { show: false } }))],
    };
  }

  async function read() {
    if (document.hidden) return;
    const answer = await fetch(`${place.dataset.history}?span=${span}`);
    if (!answer.ok) return;
    const history = await answer.json();
    const last = Date.parse(history.until) / 1000;
    const count = history.points.length;
    const times = history.points.map((_, number) => last - (count - 1 - number) * history.step_seconds);
    for (const figure of place.querySelectorAll("[data-graph]")) draw(figure, history.points, times);
  }

  function draw(figure, points, times) {
    const key = figure.dataset.graph;
    const box = figure.querySelector("div");
    const data = [times, ...LINES[key].map(([, value]) => points.map(value))];
    if (!plots.has(key)) plots.set(key, new uPlot(options(key, box), data, box));
    else plots.get(key).setData(data);
    if (points.length) {
      const newest = LINES[key].map(([label, value]) => `${SAY[key](value(points.at(-1)))}${LINES[key].length > 1 ? ` ${label}` : ""}`);
      figure.querySelector("[data-is=now]").textContent = newest.join(", ");
    }
  }

  function anew() {
    for (const plot of plots.values()) plot.destroy();
    plots.clear();
    clearInterval(timer);
    timer = setInterval(read, span === "day" ? 60000 : 2000);
    read();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-span]");
    if (!button) return;
    span = button.dataset.span;
    for (const each of document.querySelectorAll("[data-span]")) each.setAttribute("aria-pressed", String(each === button));
    anew();
  });
  document.body.addEventListener("theme-changed", anew);
  let resizing = 0;
  new ResizeObserver(() => {
    clearTimeout(resizing);
    resizing = setTimeout(anew, 250);
  }).observe(place);

  const script = document.createElement("script");
  script.src = place.dataset.uplot;
  script.onload = anew;
  document.head.append(script);
})();
