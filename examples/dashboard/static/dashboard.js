// The charts of the dashboard, drawn as SVG, and the EventSource that feeds them.

const SECONDS = 60; // that a chart shows
const SILENCE = 10_000; // milliseconds after which the connection is taken for dead
const LEFT = 34, BOTTOM = 20, TOP = 6; // pixels for the labels, and for the line's width
const SVG = "http://www.w3.org/2000/svg";

const samples = []; // by time, the oldest first
let ahead = 0; // milliseconds by which the server's clock is ahead of this one
let pointed = null; // where the pointer is, as a share of the chart's width

const megabytes = (bytes) => bytes / 1e6;
const charts = [
  new_chart("cpu", (s) => s.cpu, 100, (v) => `${v.toFixed(0)} %`),
  new_chart("requests", (s) => s.requests, 10, (v) => v.toFixed(v < 10 ? 1 : 0)),
  new_chart("lag", (s) => s.lag, 10, (v) => v.toFixed(v < 10 ? 1 : 0)),
  new_chart("memory", (s) => s.memory === null ? null : megabytes(s.memory), 50, (v) => v.toFixed(0)),
];

// Drawing

function element(parent, name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

function new_chart(name, value, least, format) {
  const section = document.querySelector(`[data-chart=${name}]`);
  const svg = section.querySelector("svg");
  const chart = { svg, value, least, format, output: section.querySelector("output"), top: 0 };
  chart.back = element(svg, "g");
  const clip = element(svg, "clipPath", { id: `clip-${name}` });
  chart.clip = element(clip, "rect");
  const front = element(svg, "g", { "clip-path": `url(#clip-${name})` });
  chart.moving = element(front, "g"); // as time goes on
  chart.area = element(chart.moving, "path", { class: "area" });
  chart.line = element(chart.moving, "path", { class: "line" });
  chart.cursor = element(svg, "line", { class: "cursor", visibility: "hidden" });
  chart.dot = element(svg, "circle", { class: "dot", r: 5, visibility: "hidden" });
  new ResizeObserver(() => measure(chart)).observe(svg);
  svg.addEventListener("pointermove", (event) => {
    const at = (event.clientX - svg.getBoundingClientRect().left - LEFT) / chart.width;
    pointed = at >= 0 && at <= 1 ? at : null;
    charts.forEach(point);
  });
  svg.addEventListener("pointerleave", () => {
    pointed = null;
    charts.forEach(point);
  });
  return chart;
}

function measure(chart) {
  const box = chart.svg.getBoundingClientRect();
  chart.width = Math.max(box.width - LEFT, 1);
  chart.height = Math.max(box.height - BOTTOM - TOP, 1);
  for (const [key, value] of Object.entries({ x: LEFT, width: chart.width, height: TOP + chart.height + 1 }))
    chart.clip.setAttribute(key, value);
  chart.top = 0;
  draw(chart);
}

// The smallest of 1, 2, 5, 10, 20, 50... that is not below the value.
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value);
}

function draw(chart) {
  if (!chart.width || !samples.length) return;
  const values = samples.map(chart.value);
  const top = nice(Math.max(chart.least, ...values.filter((value) => value !== null)));
  if (top !== chart.top) {
    chart.top = top;
    grid(chart);
  }
  const newest = samples.at(-1).at;
  const base = (chart.base = newest); // path coordinates count from here: small numbers
  const x = (at) => ((at - base) / 1000 / SECONDS) * chart.width;
  const y = (value) => TOP + chart.height * (1 - value / top);
  let line = "", area = "", from = null, last = null;
  samples.forEach((sample, i) => {
    if (values[i] === null || newest - sample.at > (SECONDS + 5) * 1000) return;
    const here = `${x(sample.at).toFixed(1)} ${y(values[i]).toFixed(1)}`;
    if (last === null || sample.at - last > 5000) { // a gap: the server was not there
      if (from !== null) area += `L${x(last).toFixed(1)} ${TOP + chart.height}Z`;
      line += `M${here}`;
      area += `M${x(sample.at).toFixed(1)} ${TOP + chart.height}L${here}`;
      from = sample.at;
    } else {
      line += `L${here}`;
      area += `L${here}`;
    }
    last = sample.at;
  });
  if (last !== null) area += `L${x(last).toFixed(1)} ${TOP + chart.height}Z`;
  chart.line.setAttribute("d", line);
  chart.area.setAttribute("d", area);
  point(chart);
}

function grid(chart) {
  chart.back.replaceChildren();
  for (const share of [0, 0.5, 1]) {
    const y = TOP + chart.height * (1 - share);
    element(chart.back, "line", { class: "grid", x1: LEFT, x2: LEFT + chart.width, y1: y, y2: y });
    element(chart.back, "text", { class: "label", x: 0, y: y + 4 }).textContent = +(chart.top * share).toPrecision(3);
  }
  const step = chart.width < 500 ? 20 : 10;
  for (let seconds = step; seconds < SECONDS; seconds += step) {
    const x = LEFT + chart.width * (1 - seconds / SECONDS);
    element(chart.back, "text", { class: "label time", x, y: TOP + chart.height + 15 }).textContent = `-${seconds} s`;
  }
}

// What the right edge shows: a little in the past, for the next sample is yet to come.
const edge = () => Date.now() + ahead - 700;

function point(chart) {
  const hidden = pointed === null || !samples.length;
  let sample = samples.at(-1);
  if (!hidden) {
    const at = edge() - (1 - pointed) * SECONDS * 1000;
    sample = samples.reduce((a, b) => (Math.abs(b.at - at) < Math.abs(a.at - at) ? b : a));
  }
  const value = sample ? chart.value(sample) : null;
  chart.output.textContent = value === null ? "–" : chart.format(value);
  const visibility = hidden || value === null ? "hidden" : "visible";
  chart.cursor.setAttribute("visibility", visibility);
  chart.dot.setAttribute("visibility", visibility);
  if (visibility === "hidden") return;
  const x = LEFT + chart.width * (1 - (edge() - sample.at) / 1000 / SECONDS);
  const y = TOP + chart.height * (1 - value / chart.top);
  for (const [key, v] of Object.entries({ x1: x, x2: x, y1: TOP, y2: TOP + chart.height }))
    chart.cursor.setAttribute(key, v);
  chart.dot.setAttribute("cx", x);
  chart.dot.setAttribute("cy", y);
}

function move() {
  for (const chart of charts) {
    if (chart.base === undefined) continue;
    const x = LEFT + chart.width * (1 - (edge() - chart.base) / 1000 / SECONDS);
    chart.moving.setAttribute("transform", `translate(${x.toFixed(2)} 0)`);
  }
}

const still = matchMedia("(prefers-reduced-motion: reduce)");
function animate() {
  if (!still.matches) move();
  requestAnimationFrame(animate);
}
animate();

// What is measured

let source, heard = 0;
const status = document.getElementById("status");

function show(state, text) {
  status.dataset.state = state;
  status.textContent = text;
}

function connect() {
  source?.close();
  heard = Date.now();
  const url = new URL(document.body.dataset.samples, location);
  if (samples.length) url.searchParams.set("after", samples.at(-1).at);
  source = new EventSource(url);
  source.onopen = () => show("open", "Live");
  source.onmessage = (event) => add(JSON.parse(event.data));
  source.onerror = () => {
    show("waiting", "Reconnecting");
    // The browser does not reconnect after a response that is not an event stream, such as a proxy's 502.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

function add(more) {
  heard = Date.now();
  samples.push(...more);
  samples.splice(0, samples.length - 600);
  const latest = samples.at(-1);
  ahead = latest.at - Date.now();
  const viewers = latest.watching;
  document.getElementById("watching").textContent = `${viewers} ${viewers === 1 ? "viewer" : "viewers"}`;
  charts.forEach(draw);
  move();
}

setInterval(() => {
  if (Date.now() - heard > SILENCE) {
    show("waiting", "Reconnecting");
    connect();
  }
}, 1000);

connect();

// Something to see

async function busy(button, task) {
  button.disabled = true;
  try {
    await task();
  } catch {
    // The server is away; the status says so.
  } finally {
    button.disabled = false;
  }
}

const { ping, work } = document.body.dataset;
document.getElementById("work").addEventListener("click", (event) =>
  busy(event.target, () => fetch(work, { method: "POST" })));
document.getElementById("burst").addEventListener("click", (event) =>
  busy(event.target, () => Promise.all(Array.from({ length: 200 }, () => fetch(ping)))));
