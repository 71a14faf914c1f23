// The plots, by Chart.js. They are drawn anew when the page turns dark or light and when it is printed.

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

function draw(canvas, type, datasets, scales, plugins = {}, data = {}) {
  const chart = new Chart(canvas, {
    type,
    data: { datasets, ...data },
    options: {
      animation: false, responsive: true, interaction: { mode: "nearest", intersect: true }, maintainAspectRatio: false, devicePixelRatio: Math.max(2, window.devicePixelRatio),
      parsing: type === "bar" ? undefined : false, indexAxis: type === "bar" ? "y" : "x", scales,
      plugins: { legend: { display: datasets.length > 1, align: "end", labels: { color: css("soft"), boxWidth: 18, boxHeight: 2 } }, ...plugins },
    },
  });
  charts.push(chart);
  return chart;
}

const line = (label, points, color, options = {}) =>
  ({ type: "line", label, data: points, borderColor: color, backgroundColor: color, borderWidth: 1.5, pointRadius: 0, pointHitRadius: 6, tension: 0, ...options });

const stepTooltip = {
  tooltip: { mode: "nearest", intersect: false, callbacks: { title: (items) => `Step ${grouped(items[0].parsed.x)}`, label: (item) => ` ${item.dataset.label}: ${item.dataset.written(item.parsed.y)}` } },
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
  const judged = evaluations.filter((one) => one.loss !== null).map((one) => ({ x: one.step, y: one.loss }));
  const written = (value) => fixed(value);
  if (step.length) {
    draw(figure("curves", "Loss", each, "", "Training loss and dev loss over the steps."), "line",
      [line("dev", judged, css("dev"), { pointRadius: 3, clip: 6, written }),
        line("train, smoothed", at(smoothed(loss)), css("after"), { borderWidth: 2, written }),
        line("train", at(loss), `${css("after")}55`, { borderWidth: 1, written })],
      { x: steps(), y: axis("loss", { beginAtZero: true }) }, stepTooltip);
  }
  drawSpearman(steps());
  if (step.length) {
    const exponent = (value) => value.toExponential(2);
    draw(figure("curves", "Learning rate", each, "", "Learning rate over the steps."), "line",
      [line("learning rate", at(learning_rate), css("after"), { written: exponent })],
      { x: steps(), y: axis("learning rate", { ticks: { callback: (value) => (value ? value.toExponential(1) : "0") } }) }, stepTooltip);
  }
  byId("training").hidden = !byId("curves").children.length;
}

function drawSpearman(steps) {
  const defined = evaluations.filter((one) => one.spearman !== null);
  if (!defined.length) return;
  const best = defined.reduce((a, b) => (b.spearman > a.spearman ? b : a));
  const written = (value) => fixed(value);
  const points = (list) => list.map((one) => ({ x: one.step, y: one.spearman }));
  draw(figure("curves", "Dev Spearman", `best ${fixed(best.spearman)}, step ${grouped(best.step)}`, "", "Dev Spearman after each evaluation, the best marked."), "line",
    [line("dev Spearman", points(defined), css("dev"), { pointRadius: 3, clip: 6, order: 2, written }),
      line("best", points([best]), css("good"), { pointRadius: 8, pointStyle: "rectRot", clip: 10, showLine: false, order: 1, written })],
    { x: steps, y: axis("Spearman") }, stepTooltip);
}

/** Both sentences of a point under the pointer or finger, beside it; the same pair lights up in the partner plots. */
function showPair(set, tooltip, chart) {
  const found = tooltip.opacity && (tooltip.dataPoints || []).find((item) => item.datasetIndex === 0);
  hover.hidden = !found;
  const partners = charts.filter((other) => other !== chart && other.partOf && other.partOf === chart.partOf);
  for (const other of partners) {
    other.setActiveElements(found ? [{ datasetIndex: 0, index: found.dataIndex }] : []);
    other.update("none");
  }
  if (!found) return;
  const row = found.raw.row;
  const { points } = sets[set];
  hover.replaceChildren(
    make("p", {}, points.sentence1[row]), make("p", {}, points.sentence2[row]),
    make("p", { className: "small" }, `score ${+points.gold[row].toFixed(3)} · similarity ${fixed(points.before[row], 3)} → ${fixed(points.after[row], 3)}${points.tokens[row] === null ? "" : ` · ${points.tokens[row]} tokens`}`));
  const box = chart.canvas.getBoundingClientRect();
  const left = box.left + tooltip.caretX + 14, top = box.top + tooltip.caretY + 14;
  hover.style.left = `${scrollX + Math.max(12, Math.min(left, innerWidth - hover.offsetWidth - 12))}px`;
  hover.style.top = `${scrollY + (top + hover.offsetHeight > innerHeight ? Math.max(8, top - hover.offsetHeight - 28) : top)}px`;
}

function drawPoints(canvas, set, points, color, scales, guide) {
  const chart = draw(canvas, "scatter", [
    { data: points, backgroundColor: `${color}80`, hoverBackgroundColor: css("dev"), pointRadius: 3, hoverRadius: 7, hitRadius: 5, clip: 8 },
    line("", guide, css("soft"), { borderDash: [5, 5], borderWidth: 1, pointHitRadius: 0, order: -1 }),
  ], scales, { legend: { display: false }, tooltip: { enabled: false, external: ({ chart, tooltip }) => showPair(set, tooltip, chart) } });
  return chart;
}

function drawScatters() {
  const [low, high] = constants.SCORE_RANGE;
  for (const set of ["dev", "test"].filter((name) => sets[name])) {
    const { points, pairs, mean_error } = sets[set];
    const shown = points.gold.length < pairs ? `${grouped(points.gold.length)} of ${grouped(pairs)} pairs shown, ` : "";
    const lowest = Math.min(0, ...points.before.concat(points.after).filter((value) => value !== null));
    for (const when of ["before", "after"]) {
      const found = points.gold.map((x, row) => ({ x, y: points[when][row], row })).filter((point) => point.y !== null);
      const canvas = figure("scatters", `${NAMES[set]}, ${when} training`, `${shown}mean error ${fixed(mean_error[when], 3)}`, "square", `Score against similarity ${when} training for ${set}.`);
      const span = (high - low) * 0.03;
      drawPoints(canvas, set, found, css(when), {
        x: axis("your score", { type: "linear", min: low - span, max: high + span, ticks: { includeBounds: false } }),
        y: axis("similarity", { min: Math.floor(lowest * 5) / 5, max: 1 }),
      }, [{ x: low, y: 0 }, { x: high, y: 1 }]).partOf = set;
    }
  }
  byId("agreement").hidden = !byId("scatters").children.length;
}

function drawLengths() {
  for (const set of ["dev", "test"].filter((name) => sets[name])) {
    const { points } = sets[set];
    const found = points.tokens.map((x, row) => ({ x, y: points.after[row] === null ? null : points.after[row] - points.score[row], row })).filter((point) => point.x !== null && point.y !== null);
    if (!found.length) continue;
    const longest = Math.max(...found.map((point) => point.x));
    const canvas = figure("lengths", NAMES[set], "tokens of the longer sentence", "", `Similarity less score against token length for ${set}.`);
    drawPoints(canvas, set, found, css("after"), { x: axis("tokens", { type: "linear", min: 0, max: longest + 1, ticks: { precision: 0, includeBounds: false } }), y: axis("similarity − score") }, [{ x: 0, y: 0 }, { x: longest + 1, y: 0 }]);
  }
  byId("residuals").hidden = !byId("lengths").children.length;
}

function drawTime() {
  const spent = summary ? [["training", summary.train_seconds, "after"], ["evaluation", summary.evaluation_seconds, "dev"], ["loading", summary.loading_seconds, "before"], ["saving", summary.saving_seconds, "good"]].filter(([, seconds]) => seconds) : [];
  byId("time").hidden = !spent.length;
  if (!spent.length) return;
  const total = spent.reduce((sum, [, seconds]) => sum + seconds, 0);
  const share = (seconds) => `${duration(seconds)} (${Math.round((100 * seconds) / total)} %)`;
  draw(figure("clocks", duration(total), spent.map(([name, seconds]) => `${name} ${share(seconds)}`).join(" · "), "flat", "Seconds of training, evaluation, loading and saving."), "bar",
    spent.map(([label, seconds, color]) => ({ label, data: [seconds], backgroundColor: css(color), barThickness: 26 })),
    { x: axis("seconds", { stacked: true, max: total }), y: { stacked: true, display: false } },
    { legend: { display: true, align: "start", labels: { color: css("soft"), boxWidth: 12, boxHeight: 12 } }, tooltip: { callbacks: { title: () => "", label: (item) => ` ${item.dataset.label}: ${share(item.parsed.x)}` } } }, { labels: [""] });
}

function drawAll() {
  for (const chart of charts) chart.destroy();
  charts = [];
  for (const id of ["curves", "scatters", "lengths", "clocks"]) byId(id).replaceChildren();
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  hover.hidden = true;
  drawCurves();
  drawScatters();
  drawLengths();
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
