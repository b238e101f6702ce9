"use strict";
// The page of a data set: histograms, a colour for each split.

const data = JSON.parse(document.getElementById("data").textContent);

function drawHistogram(holder, graph) {
  const splits = Object.keys(graph.counts), bars = graph.names.length;
  const totals = splits.map((split) => graph.counts[split].reduce((sum, count) => sum + count, 0) || 1);
  const shares = splits.flatMap((split, k) => graph.counts[split].map((count) => (100 * count) / totals[k]));
  const plot = axes(holder, { values: [0, bars], label: graph.unit, bare: true }, { values: [0, ...shares], label: "%", zero: true }, 240);
  const step = plot.px(1) - plot.px(0), width = (step * 0.8) / splits.length, every = Math.ceil(30 / step);
  graph.names.forEach((name, i) => {
    if (i % every === 0) element("text", { x: plot.px(i) + step * 0.1, y: 219, "text-anchor": "middle" }, plot.svg, name);
    const range = i + 1 < bars ? `${name} to ${graph.names[i + 1]}` : `${name} or more`;
    splits.forEach((split, k) => {
      const count = graph.counts[split][i], share = (100 * count) / totals[k], top = plot.py(share);
      tells(element("rect", { x: plot.px(i) + step * 0.1 + k * width, y: top, width: Math.max(1, width - 1), height: Math.max(0, plot.py(0) - top), fill: `var(--c${k})` }, plot.svg), `${split}: ${range} ${graph.unit}\n${short(count)} ${graph.what}, ${share.toFixed(1)} %`, split);
    });
  });
  if (splits.length > 1) legend(holder, splits.map((split, k) => [split, `var(--c${k})`]));
}

function draw() {
  for (const holder of document.querySelectorAll("[data-histogram]")) drawHistogram(holder, data.histograms[holder.dataset.histogram]);
}

draw();
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
