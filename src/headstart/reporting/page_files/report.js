"use strict";
// The page: filters, colours, and the plots of each target.

const data = JSON.parse(document.getElementById("data").textContent);
const state = { hidden: new Set(), colourBy: null };
const COLOURS = 8;
const [costWords, costUnit] = data.cost;
const costLabel = costUnit ? `${costWords} (${costUnit})` : costWords;

const everyRow = data.targets.flatMap((target) => target.rows);
const labelNames = [...new Set(everyRow.flatMap((row) => Object.keys(row.labels)))];
const valuesOf = (name) => [...new Set(everyRow.map((row) => row.labels[name]).filter((value) => value !== undefined))];
const differing = labelNames.filter((name) => valuesOf(name).length > 1);

const isShown = (thing) => !Object.entries(thing.labels).some(([name, value]) => state.hidden.has(`${name}=${value}`));
const numbered = (rows) => rows.filter((row) => row.mean !== null && isShown(row));

function colour(thing, position) {
  const order = state.colourBy ? Math.max(0, valuesOf(state.colourBy).indexOf(thing.labels[state.colourBy])) : position;
  return `var(--c${order % COLOURS})`;
}

// Shapes and dashes tell the second label apart: the first that differs and is not told by colour.
const shapeBy = () => differing.find((name) => name !== state.colourBy && valuesOf(name).length <= SHAPES.length);

function shape(thing) {
  const name = state.colourBy && shapeBy();
  return name ? Math.max(0, valuesOf(name).indexOf(thing.labels[name])) : 0;
}

function said(row) {
  const half = row.half === null ? "" : ` ± ${row.half.toFixed(3)}`;
  return `${row.name}\n${data.heading} ${row.mean.toFixed(3)}${half} (${row.runs.length} run${row.runs.length > 1 ? "s" : ""})`;
}

function saidRun(row, run) {
  return `${row.name}, seed ${run.seed}\n${data.heading} ${run.value.toFixed(3)}` + (run.cost === null ? "" : `\n${costWords} ${short(run.cost)} ${costUnit}`);
}

function drawArms(holder, target) {
  const rows = numbered(target.rows);
  const width = Math.max(260, holder.clientWidth), line = 40, height = rows.length * line + 28;
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${data.heading} of each arm` });
  holder.replaceChildren(svg);
  if (!rows.length) return;
  const ends = rows.flatMap((row) => [row.mean + (row.half || 0), row.mean - (row.half || 0), ...row.runs.map((run) => run.value || 0)]);
  const px = scale([...ends, 0].map((value) => Math.max(value, 0)), 8, width - 14, { count: width < 420 ? 4 : 6 });
  for (const value of px.ticks) {
    element("line", { class: "grid", x1: px(value), x2: px(value), y1: 0, y2: height - 22 }, svg);
    element("text", { x: px(value), y: height - 6, "text-anchor": "middle" }, svg, short(value));
  }
  rows.forEach((row, i) => {
    const y = i * line + 27, tone = colour(row, target.rows.indexOf(row));
    element("text", { class: "name", x: 8, y: y - 12, stroke: "var(--ground)", "stroke-width": 4, "paint-order": "stroke" }, svg, named(row, row.name));
    if (row.half !== null) tells(interval(svg, y, px(Math.max(0, row.mean - row.half)), px(row.mean + row.half), tone, true), said(row), row.name);
    for (const run of row.runs.filter((run) => run.value !== null)) {
      const link = linked(svg, run.href, `seed ${run.seed}`);
      tells(element("circle", { cx: px(run.value), cy: y, r: 3.5, fill: tone, "fill-opacity": 0.45 }, link), saidRun(row, run), row.name);
    }
    tells(glyph(svg, px(row.mean), y, 6, shape(row), { fill: tone, stroke: "var(--ground)", "stroke-width": 1.5, tabindex: 0 }), said(row), row.name);
  });
  shorten([...svg.querySelectorAll(".name")], rows, width - 16);
}

const named = (row, name) => `${name}  ${row.mean.toFixed(3)}`;

// Names that reach beyond the plot lose their ends; pointing at the mean says them whole. All are measured before any is changed: one layout.
function shorten(labels, rows, room) {
  labels.map((label) => label.getComputedTextLength()).forEach((length, i) => {
    const kept = Math.floor(labels[i].textContent.length * room / length) - named(rows[i], "").length - 2;
    if (length > room) labels[i].textContent = named(rows[i], rows[i].name.slice(0, Math.max(kept, 1)).trimEnd() + "…");
  });
}

function drawCost(holder, target) {
  const rows = numbered(target.rows).filter((row) => row.cost !== null);
  if (!rows.length) return holder.replaceChildren("No cost was recorded.");
  const ends = rows.flatMap((row) => [row.mean + (row.half || 0), Math.max(0, row.mean - (row.half || 0))]);
  const plot = axes(holder, { values: rows.map((row) => row.cost), label: costLabel, zero: true }, { values: ends, label: data.heading, zero: true }, 300);
  const { svg, px, py } = plot;
  const front = rows.filter((row) => row.front).sort((a, b) => a.cost - b.cost).map((row) => [row.cost, row.mean]);
  element("path", { d: path(front, px, py), fill: "none", stroke: "var(--quiet)", "stroke-dasharray": "4 4" }, svg);
  for (const row of rows) {
    const tone = colour(row, target.rows.indexOf(row)), text = `${said(row)}\n${costWords} ${short(row.cost)} ${costUnit}${row.front ? "\nnothing cheaper is as good" : ""}`;
    if (row.half !== null) tells(interval(svg, px(row.cost), py(Math.max(0, row.mean - row.half)), py(row.mean + row.half), tone), text, row.name);
    tells(glyph(svg, px(row.cost), py(row.mean), 6, shape(row), { fill: row.front ? tone : "var(--ground)", stroke: tone, "stroke-width": 2, tabindex: 0 }), text, row.name);
  }
}

function drawCurves(holder, target) {
  const rows = numbered(target.rows).filter((row) => row.runs.some((run) => run.curve.length));
  const points = rows.flatMap((row) => row.runs.flatMap((run) => run.curve));
  if (!points.length) return holder.replaceChildren("No epoch of these runs has this number.");
  const { svg, px, py } = axes(holder, { values: points.map((p) => p[0]), label: "epoch" }, { values: points.map((p) => p[1]), label: data.heading, zero: true }, 300);
  for (const row of rows) for (const run of row.runs.filter((run) => run.curve.length)) {
    const best = Math.max(...run.curve.map((p) => p[1])), d = path(run.curve, px, py);
    const text = `${row.name}, seed ${run.seed}\nbest ${data.heading} while training ${best.toFixed(3)}`;
    const link = linked(svg, run.href, `seed ${run.seed}`);
    tells(element("path", { d, fill: "none", stroke: colour(row, target.rows.indexOf(row)), "stroke-width": 1.6, "stroke-dasharray": DASHES[shape(row) % DASHES.length] }, link), text, row.name);
    tells(element("path", { d, fill: "none", stroke: "transparent", "stroke-width": 10 }, link), text, row.name);
  }
}

function drawLabels(holder, target) {
  const curves = target.curves.filter(isShown), points = curves.flatMap((curve) => curve.points);
  if (!points.length) return holder.replaceChildren("Everything is filtered out.");
  const ends = points.flatMap(([, mean, half]) => [mean + (half || 0), Math.max(0, mean - (half || 0))]);
  const { svg, px, py } = axes(holder, { values: points.map((p) => p[0]), label: "labelled images", log: true }, { values: [...ends, target.goal || 0], label: data.heading, zero: true }, 300);
  if (target.goal !== null) element("line", { x1: 46, x2: px(Math.max(...points.map((p) => p[0]))), y1: py(target.goal), y2: py(target.goal), stroke: "var(--quiet)", "stroke-dasharray": "4 4" }, svg);
  for (const curve of curves) {
    const tone = colour(curve, target.curves.indexOf(curve)), banded = curve.points.filter((p) => p[2] !== null);
    const upper = banded.map(([x, y, half]) => [x, y + half]), lower = banded.map(([x, y, half]) => [x, Math.max(0, y - half)]).reverse();
    if (banded.length > 1) element("path", { d: path([...upper, ...lower], px, py) + "Z", fill: tone, opacity: 0.15 }, svg);
    tells(element("path", { d: path(curve.points, px, py), fill: "none", stroke: tone, "stroke-width": 2, "stroke-dasharray": DASHES[shape(curve) % DASHES.length] }, svg), curve.name, curve.name);
    for (const [images, mean, half] of curve.points) {
      const text = `${curve.name}\n${short(images)} labelled images: ${mean.toFixed(3)}${half === null ? "" : ` ± ${half.toFixed(3)}`}`;
      tells(glyph(svg, px(images), py(mean), 5, shape(curve), { fill: tone, tabindex: 0 }), text, curve.name);
    }
  }
}

function drawPrecision(holder, target) {
  const rows = numbered(target.rows).filter((row) => row.precision);
  if (!rows.length) return holder.replaceChildren("Everything is filtered out.");
  const plot = axes(holder, { values: [0, 1], label: "recall" }, { values: [0, 1], label: "precision" }, 300);
  for (const row of rows) {
    const d = path(row.precision.map((value, i) => [i / (row.precision.length - 1), value]), plot.px, plot.py);
    tells(element("path", { d, fill: "none", stroke: colour(row, target.rows.indexOf(row)), "stroke-width": 1.8, "stroke-dasharray": DASHES[shape(row) % DASHES.length] }, plot.svg), said(row), row.name);
    tells(element("path", { d, fill: "none", stroke: "transparent", "stroke-width": 10 }, plot.svg), said(row), row.name);
  }
}

// The chips of the two labels that colours and shapes tell apart are the legend.
function drawLegend() {
  for (const button of document.querySelectorAll("#filter button")) {
    const { name, value } = button.dataset, thing = { labels: { [name]: value } };
    button.querySelector("svg")?.remove();
    const coloured = name === state.colourBy, shaped = state.colourBy && name === shapeBy();
    if (!coloured && !shaped) continue;
    const svg = element("svg", { class: "glyph", viewBox: "-7 -7 14 14", "aria-hidden": true });
    glyph(svg, 0, 0, 5, shaped ? shape(thing) : 0, { fill: coloured ? colour(thing, 0) : "currentColor" });
    button.prepend(svg);
  }
}

const PLOTS = { arms: drawArms, cost: drawCost, curves: drawCurves, precision: drawPrecision, labels: drawLabels };

function draw() {
  drawLegend();
  for (const section of document.querySelectorAll("section[data-target]")) {
    const target = data.targets[section.dataset.target];
    for (const line of section.querySelectorAll("tr[data-row]")) {
      const row = target.rows[line.dataset.row], dot = line.querySelector(".dot");
      line.hidden = !isShown(row);
      if (dot) dot.style.background = colour(row, +line.dataset.row);
    }
    for (const holder of section.querySelectorAll("[data-plot]")) PLOTS[holder.dataset.plot](holder, target);
  }
}

function chip(name, value) {
  const button = document.createElement("button"), key = `${name}=${value}`;
  button.dataset.name = name;
  button.dataset.value = value;
  button.append(value);
  button.title = key;
  button.setAttribute("aria-pressed", "true");
  button.addEventListener("click", () => {
    state.hidden.has(key) ? state.hidden.delete(key) : state.hidden.add(key);
    button.setAttribute("aria-pressed", String(!state.hidden.has(key)));
    draw();
  });
  return button;
}

function makeFilter() {
  const bar = document.getElementById("filter");
  for (const name of differing) {
    const group = document.createElement("fieldset"), legend = document.createElement("legend");
    legend.textContent = name;
    group.append(legend, ...valuesOf(name).map((value) => chip(name, value)));
    bar.append(group);
  }
  if (differing.length > 1) {
    const group = document.createElement("fieldset"), label = document.createElement("label"), select = document.createElement("select");
    label.textContent = "colour by";
    label.htmlFor = select.id = "colour-by";
    select.append(new Option("arm", ""), ...differing.map((name) => new Option(name, name)));
    if (data.targets.some((target) => target.rows.length > COLOURS)) select.value = state.colourBy = differing[0];
    select.addEventListener("change", () => { state.colourBy = select.value || null; draw(); });
    group.append(label, select);
    bar.append(group);
  }
  bar.hidden = !differing.length;
}

makeFilter();
draw();
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
