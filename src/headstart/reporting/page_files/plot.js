"use strict";
// A plot of numbers in SVG: axes, marks, and what a mark says when it is pointed at.

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, parent, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high * 1.0000001; i++) found.push(+(i * step).toPrecision(12));
  return found;
}

function scale(values, from, to, options) {
  const { log = false, zero = false, count = 5 } = options || {};
  let low = Math.min(...values), high = Math.max(...values);
  if (zero) low = Math.min(0, low);
  if (low === high) { high = low + (Math.abs(low) || 1); if (log) low = low / 2; }
  const shape = log ? Math.log : (value) => value;
  const place = (value) => from + ((shape(value) - shape(low)) / (shape(high) - shape(low))) * (to - from);
  place.ticks = log ? [...new Set(values)].sort((a, b) => a - b) : ticks(low, high, count);
  return place;
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return +(value / 1e6).toPrecision(3) + " M";
  if (size >= 1e4) return +(value / 1e3).toPrecision(3) + " k";
  return String(+value.toPrecision(4));
}

// An empty plot with its axes. `x` and `y`: {values, label, log, zero}; a log axis is ticked at its values, a bare one not at all, a whole one at whole numbers. Gives the places of numbers and where to draw.
function axes(holder, x, y, height) {
  const width = Math.max(260, holder.clientWidth);
  const edge = { left: 46, right: 14, top: 8, bottom: 38 };
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${y.label} against ${x.label}` });
  const count = width < 420 ? 4 : 6;
  const px = scale(x.values, edge.left, width - edge.right, { count, ...x });
  const py = scale(y.values, height - edge.bottom, edge.top, { count: 5, ...y });
  for (const value of py.ticks) {
    element("line", { class: "grid", x1: edge.left, x2: width - edge.right, y1: py(value), y2: py(value) }, svg);
    element("text", { x: edge.left - 6, y: py(value) + 4, "text-anchor": "end" }, svg, short(value));
  }
  let last = -Infinity;
  for (const value of x.bare ? [] : px.ticks.filter((tick) => !x.whole || Number.isInteger(tick))) {
    if (px(value) - last < 34) continue;
    last = px(value);
    element("text", { x: last, y: height - edge.bottom + 17, "text-anchor": "middle" }, svg, short(value));
  }
  element("text", { x: (edge.left + width - edge.right) / 2, y: height - 4, "text-anchor": "middle" }, svg, x.label);
  holder.replaceChildren(svg);
  return { svg, px, py };
}

function path(points, px, py) {
  return points.map(([x, y], i) => `${i ? "L" : "M"}${px(x).toFixed(1)},${py(y).toFixed(1)}`).join("");
}

function interval(svg, x, low, high, colour, horizontal) {
  const ends = horizontal ? { x1: low, x2: high, y1: x, y2: x } : { x1: x, x2: x, y1: low, y2: high };
  return element("line", { ...ends, stroke: colour, "stroke-width": 2, "stroke-linecap": "round" }, svg);
}

// `node` says `text` when it is pointed at or has the focus, and the rest of its kind fades.
function tells(node, text, key) {
  const tip = document.getElementById("tip");
  node.classList.add("mark");
  node.dataset.key = key;
  const show = (event) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = node.getBoundingClientRect();
    const x = event.clientX || box.left + box.width / 2, y = event.clientY || box.top;
    tip.style.left = Math.max(6, Math.min(x + 12, innerWidth - tip.offsetWidth - 6)) + "px";
    tip.style.top = (y + 18 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 12 : y + 18) + "px";
    for (const other of node.closest("section").querySelectorAll("svg .mark"))
      other.classList.toggle("faint", other.dataset.key !== key);
  };
  const hide = () => {
    tip.hidden = true;
    for (const other of document.querySelectorAll("svg .faint")) other.classList.remove("faint");
  };
  for (const name of ["pointerenter", "pointermove", "focus"]) node.addEventListener(name, show);
  for (const name of ["pointerleave", "blur"]) node.addEventListener(name, hide);
  return node;
}

// The same for every arm of one kind: what a mark looks like beside its colour.
const SHAPES = [
  (r) => `M${-r},0A${r},${r} 0 1 0 ${r},0A${r},${r} 0 1 0 ${-r},0Z`,
  (r) => `M${-r * 0.88},${-r * 0.88}H${r * 0.88}V${r * 0.88}H${-r * 0.88}Z`,
  (r) => `M0,${-r * 1.2}L${r * 1.1},${r * 0.85}H${-r * 1.1}Z`,
  (r) => `M0,${-r * 1.25}L${r * 1.25},0L0,${r * 1.25}L${-r * 1.25},0Z`,
];
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];

function glyph(parent, x, y, size, shape, attributes) {
  const d = SHAPES[shape % SHAPES.length](size);
  return element("path", { d, transform: `translate(${x.toFixed(1)},${y.toFixed(1)})`, ...attributes }, parent);
}

function linked(svg, href, label) {
  return element("a", { href, "aria-label": label }, svg);
}

// Which colour is which, below a plot. `keys`: [name, colour].
function legend(holder, keys) {
  const list = document.createElement("p");
  list.className = "keys";
  for (const [name, tone] of keys) {
    const key = document.createElement("span"), dot = document.createElement("i");
    dot.className = "dot";
    dot.style.background = tone;
    key.append(dot, name);
    list.append(key);
  }
  holder.append(list);
}
