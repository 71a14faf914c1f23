// The plots, by Chart.js. They are drawn anew when the page turns dark or light and when it is printed.

const PLOTS = "curves schedule scatters ranks-bars histograms thresholds lengths scores clocks".split(" ");
const hover = byId("hover");
let charts = [];

/** A figure with a title, a note at its right and a canvas; returns the canvas. */
function figure(parent, title, note, shape, describe) {
  const canvas = make("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", describe);
  byId(parent).append(
    make("figure", { className: "card" },
      make("figcaption", {}, make("h3", {}, title), make("span", { className: "small" }, note)),
      make("div", { className: `plot ${shape}` }, canvas)),
  );
  return canvas;
}

function axis(title, options = {}) {
  const { ticks = {}, ...others } = options;
  return {
    title: { display: true, text: title, color: css("soft") },
    grid: { color: css("grid") },
    border: { color: css("line") },
    ticks: { color: css("soft"), maxRotation: 0, autoSkipPadding: 16, ...ticks },
    ...others,
  };
}

/** options: what a kind of chart changes of Chart.js's options; `legend` and `tooltip` go to its plugins. */
function draw(canvas, type, datasets, scales, { legend, tooltip, labels, ...options } = {}) {
  const chart = new Chart(canvas, {
    type,
    data: labels ? { datasets, labels } : { datasets },
    options: {
      animation: false, responsive: true, maintainAspectRatio: false, devicePixelRatio: Math.max(2, window.devicePixelRatio),
      interaction: { mode: "nearest", intersect: true },
      parsing: labels ? undefined : false, scales,
      plugins: {
        legend: legend || { display: datasets.length > 1, align: "end", labels: markedAsDrawn },
        ...(tooltip ? { tooltip } : {}),
      },
      ...options,
    },
  });
  charts.push(chart);
  return chart;
}

/** A legend whose marks are those of the plot: a line for a curve, the diamond for the best step, a square for bars. */
const markedAsDrawn = {
  usePointStyle: true, pointStyleWidth: 18, boxHeight: 12,
  generateLabels: (chart) => Chart.defaults.plugins.legend.labels.generateLabels(chart).map((label) => {
    const { type, showLine, borderColor } = chart.data.datasets[label.datasetIndex];
    if (type !== "line") return { ...label, fontColor: css("soft"), pointStyle: "rect", lineWidth: 0 };
    const isPoint = showLine === false;
    return {
      ...label, fontColor: css("soft"), fillStyle: borderColor, strokeStyle: borderColor,
      lineWidth: isPoint ? 0 : 3, pointStyle: isPoint ? "rectRot" : "line",
    };
  }),
};

const line = (label, points, color, options = {}) =>
  ({
    type: "line", label, data: points, borderColor: color, backgroundColor: color,
    borderWidth: 1.5, pointRadius: 0, pointHitRadius: 6, tension: 0, ...options,
  });

const stepTooltip = {
  tooltip: {
    mode: "nearest", intersect: false,
    callbacks: {
      title: (items) => `Step ${grouped(items[0].parsed.x)}`,
      label: (item) => ` ${item.dataset.label}: ${item.dataset.written(item.parsed.y)}`,
    },
  },
};

/** The running mean of a noisy curve, over a twentieth of it. */
function smoothed(values) {
  const weight = 1 / Math.max(1, values.length / 20);
  let mean = values[0];
  return values.map((value) => (mean += weight * (value - mean)));
}

function drawCurves() {
  const { step, loss, learning_rate, steps_per_point } = report.curve;
  const at = (values) => step.map((x, i) => ({ x, y: values[i] }));
  const last = Math.max(0, ...step, ...evaluations.map((one) => one.step));
  const steps = () => axis("step", { type: "linear", min: 0, max: last || 1, ticks: { precision: 0, includeBounds: false } });
  const each = steps_per_point > 1 ? `each point the mean of ${steps_per_point} steps` : "each step";
  const devLoss = evaluations.filter((one) => isKnown(one.loss)).map((one) => ({ x: one.step, y: one.loss }));
  const written = (value) => fixed(value);
  if (step.length) {
    draw(figure("curves", "Loss", each, "", "Training loss and dev loss over the steps."), "line",
      [line("dev", devLoss, css("dev"), { pointRadius: 3, clip: 6, written }),
        line("train, smoothed", at(smoothed(loss)), css("after"), { borderWidth: 2, written }),
        line("train", at(loss), `${css("after")}55`, { borderWidth: 1, written })],
      { x: steps(), y: axis("loss", { beginAtZero: true }) }, stepTooltip);
  }
  drawMetric(steps());
  byId("training").hidden = !byId("curves").children.length;
  if (!step.length) return;
  const exponent = (value) => value.toExponential(2);
  draw(figure("schedule", "Learning rate", each, "low", "Learning rate over the steps."), "line",
    [line("learning rate", at(learning_rate), css("after"), { written: exponent })],
    {
      x: steps(),
      y: axis("", { ticks: { maxTicksLimit: 4, callback: (value) => (value ? value.toExponential(1) : "0") } }),
    }, stepTooltip);
}

/** Dev by step, in the metric by which it chooses. */
function drawMetric(steps) {
  if (judged.length < 2) return;
  const name = nameOf(metric);
  const best = judged.reduce((a, b) => (b[metric] > a[metric] ? b : a));
  const written = (value) => fixed(value);
  const points = (list) => list.map((one) => ({ x: one.step, y: one[metric] }));
  const note = `best ${fixed(best[metric])}, step ${grouped(best.step)}`;
  const diamond = { pointRadius: 8, pointStyle: "rectRot", clip: 10, showLine: false, order: 1, written };
  draw(figure("curves", `Dev ${name}`, note, "", `Dev ${name} after each evaluation, the best marked.`), "line",
    [line(`dev ${name}`, points(judged), css("dev"), { pointRadius: 3, clip: 6, order: 2, written }),
      line("best", points([best]), css("good"), diamond)],
    { x: steps, y: axis(name) }, stepTooltip);
}

function drawTime() {
  const kinds = { training: "after", evaluation: "dev", loading: "before", saving: "good" }; // the colour of each
  const seconds = { ...summary, training_seconds: summary && summary.train_seconds };
  const spent = Object.entries(kinds).map(([name, color]) => [name, seconds[`${name}_seconds`], color]).filter((one) => one[1]);
  byId("time").hidden = !spent.length;
  if (!spent.length) return;
  const total = spent.reduce((sum, [, seconds]) => sum + seconds, 0);
  const share = (seconds) => `${duration(seconds)} (${Math.round((100 * seconds) / total)} %)`;
  const note = spent.map(([name, seconds]) => `${name} ${share(seconds)}`).join(" · ");
  draw(figure("clocks", duration(total), note, "flat", "Seconds of training, evaluation, loading and saving."), "bar",
    spent.map(([label, seconds, color]) => ({ label, data: [seconds], backgroundColor: css(color), barThickness: 26 })),
    { x: axis("seconds", { stacked: true, max: total }), y: { stacked: true, display: false } },
    {
      indexAxis: "y", labels: [""], legend: { display: true, align: "start", labels: markedAsDrawn },
      tooltip: { callbacks: { title: () => "", label: (item) => ` ${item.dataset.label}: ${share(item.parsed.x)}` } },
    });
}

function drawAll() {
  for (const chart of charts) chart.destroy();
  charts = [];
  for (const id of PLOTS) byId(id)?.replaceChildren();
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  hover.hidden = true;
  drawCurves();
  drawScatters();
  drawRanks();
  drawMatches();
  drawLengths();
  drawScores();
  drawTime();
}

/** Paper is white: its colours are the light ones, and each plot takes the width that it has there. */
function printing(on) {
  document.documentElement.toggleAttribute("data-printing", on);
  drawAll();
}

drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
addEventListener("beforeprint", () => printing(true));
addEventListener("afterprint", () => printing(false));
