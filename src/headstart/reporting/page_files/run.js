"use strict";
// The page of a run: how it trained, and what its detections came to.

const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = 8;

function say(holder, text) {
  const line = document.createElement("p");
  line.className = "quiet";
  line.textContent = text;
  holder.replaceChildren(line);
}

function line(plot, points, attributes, text, key) {
  const d = path(points, plot.px, plot.py);
  tells(element("path", { d, fill: "none", ...attributes }, plot.svg), text, key);
  return tells(element("path", { d, fill: "none", stroke: "transparent", "stroke-width": 10 }, plot.svg), text, key);
}

function drawEpochs(holder, points, label, words) {
  if (!points.length) return say(holder, "No epoch has this number.");
  const plot = axes(holder, { values: [0, ...points.map((p) => p[0])], label: "epochs done", whole: true }, { values: points.map((p) => p[1]), label, zero: true }, 300);
  for (const [epoch, stages] of data.phases) {
    const x = plot.px(epoch), text = `after ${epoch} epoch${epoch === 1 ? "" : "s"}\n${stages} begin${stages.includes(",") ? "" : "s"} to train`;
    tells(element("line", { x1: x, x2: x, y1: 8, y2: 262, stroke: "var(--quiet)", "stroke-dasharray": "4 4", "stroke-width": 1.5 }, plot.svg), text, stages);
  }
  element("path", { d: path(points, plot.px, plot.py), fill: "none", stroke: "var(--c0)", "stroke-width": 2 }, plot.svg);
  for (const [epoch, value] of points)
    tells(element("circle", { cx: plot.px(epoch), cy: plot.py(value), r: 4, fill: "var(--c0)" }, plot.svg), `${words(epoch)}\n${label} ${short(value)}`, `epoch ${epoch}`);
}

const inEpoch = (epoch) => (epoch ? `after epoch ${epoch}` : "before training");

const UNIT = [0, 1];

function drawPrecision(holder, split) {
  const few = split.classes.length <= COLOURS && split.classes.length > 1;
  const plot = axes(holder, { values: UNIT, label: "recall" }, { values: UNIT, label: "precision" }, 320);
  const points = (curve) => split.recalls.map((recall, i) => [recall, curve[i]]);
  if (split.classes.length > 1) split.classes.forEach((row, i) => {
    const tone = few ? `var(--c${i})` : "var(--quiet)";
    line(plot, points(row.curve), { stroke: tone, "stroke-width": few ? 1.4 : 1, opacity: few ? 1 : 0.5 }, `${row.name}\nAP ${row.ap === null ? "–" : row.ap.toFixed(3)}`, row.name);
  });
  for (const [iou, curve] of Object.entries(split.mean))
    line(plot, points(curve), { stroke: "var(--text)", "stroke-width": 2.6, "stroke-dasharray": iou === "0.5" ? "" : "7 5" }, `all classes, IoU ${iou}`, `mean ${iou}`);
  if (few) legend(holder, split.classes.map((row, i) => [row.name, `var(--c${i})`]));
}

function drawCalibration(holder, split) {
  const plot = axes(holder, { values: UNIT, label: "score" }, { values: UNIT, label: "share that is right" }, 320);
  const most = Math.max(...split.bins.map((bin) => bin[2]));
  element("line", { x1: plot.px(0), y1: plot.py(0), x2: plot.px(1), y2: plot.py(1), stroke: "var(--quiet)", "stroke-dasharray": "4 4" }, plot.svg);
  element("path", { d: path(split.bins, plot.px, plot.py), fill: "none", stroke: "var(--c0)", "stroke-width": 1.6 }, plot.svg);
  for (const [score, right, count] of split.bins)
    tells(element("circle", { cx: plot.px(score), cy: plot.py(right), r: 3 + 7 * Math.sqrt(count / most), fill: "var(--c0)", "fill-opacity": 0.6, tabindex: 0 }, plot.svg), `${short(count)} detection${count === 1 ? "" : "s"} of mean score ${score.toFixed(2)}\n${(100 * right).toFixed(0)} % of them are right`, score);
}

function drawLabels(holder, split) {
  const rows = split.classes.filter((row) => row.ap !== null && row.boxes > 0);
  if (!rows.length) return say(holder, "No class has both.");
  const boxes = rows.map((row) => row.boxes), least = Math.min(...boxes), most = Math.max(...boxes);
  const plot = axes(holder, { values: least < most ? boxes : [least / 2, 2 * most], label: "boxes trained on (logarithmic)", log: true }, { values: rows.map((row) => row.ap), label: "AP", zero: true }, 320);
  rows.forEach((row, i) => {
    const tone = rows.length <= COLOURS ? `var(--c${split.classes.indexOf(row)})` : "var(--c0)", right = plot.px(row.boxes) > holder.clientWidth * 0.6;
    tells(element("circle", { cx: plot.px(row.boxes), cy: plot.py(row.ap), r: 5, fill: tone, tabindex: 0 }, plot.svg), `${row.name}\n${short(row.boxes)} boxes, AP ${row.ap.toFixed(3)}`, row.name);
    if (rows.length <= 12) element("text", { class: "name", x: plot.px(row.boxes) + (right ? -9 : 9), y: plot.py(row.ap) + 4, "text-anchor": right ? "end" : "start" }, plot.svg, row.name);
  });
}

const PLOTS = { precision: drawPrecision, calibration: drawCalibration, labels: drawLabels };

function draw() {
  for (const holder of document.querySelectorAll("[data-plot]")) {
    const name = holder.dataset.plot, section = holder.closest("section");
    if (name === "map") drawEpochs(holder, data.map, "mAP", inEpoch);
    else if (name === "loss") drawEpochs(holder, data.loss, "loss", (epoch) => `in epoch ${epoch}`);
    else PLOTS[name](holder, data.splits[section.dataset.split]);
  }
}

draw();
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
