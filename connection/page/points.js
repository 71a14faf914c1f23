// Plots with a point for each pair: score and similarity, error by length. Both sentences of a point are shown on hover.

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
    make("p", { className: "small" }, [
      `score ${+points.gold[row].toFixed(3)}`,
      `similarity ${WHEN.map((when) => fixed(points[when][row], 3)).join(" → ")}`,
      points.tokens[row] === null ? "" : plural(points.tokens[row], "token"),
    ].filter(Boolean).join(" · ")));
  const box = chart.canvas.getBoundingClientRect();
  const left = box.left + tooltip.caretX + 14, top = box.top + tooltip.caretY + 14;
  hover.style.left = `${scrollX + Math.max(12, Math.min(left, innerWidth - hover.offsetWidth - 12))}px`;
  const above = Math.max(8, top - hover.offsetHeight - 28);
  hover.style.top = `${scrollY + (top + hover.offsetHeight > innerHeight ? above : top)}px`;
}

function drawPoints(canvas, set, points, color, scales, guide) {
  return draw(canvas, "scatter", [
    {
      data: points, backgroundColor: `${color}80`, hoverBackgroundColor: css("dev"),
      pointRadius: 3, hoverRadius: 7, hitRadius: 5, clip: 8,
    },
    line("", guide, css("soft"), { borderDash: [5, 5], borderWidth: 1, pointHitRadius: 0, order: -1 }),
  ], scales, {
    legend: { display: false },
    tooltip: { enabled: false, external: ({ chart, tooltip }) => showPair(set, tooltip, chart) },
  });
}

/** The scale of the predicted scores, and a warning where the calibration has seen these pairs. */
function scaleOf(set) {
  return `scale ${constants.SCORE_RANGE.join(" to ")}${set === "dev" ? "; fitted on these pairs" : ""}`;
}

/** What stands beside a plot's title: how many points it shows where not all, and how far the predicted scores are off. */
function noteOf(set, when) {
  const { points, pairs, predicted_error } = sets[set];
  const shown = points.gold.length < pairs ? `${grouped(points.gold.length)} of ${plural(pairs, "pair")} shown` : "";
  if (when === "before" || predicted_error === null) return shown || plural(pairs, "pair");
  return `${shown ? `${shown}, ` : ""}mean error of the predicted score ${fixed(predicted_error, 2)} (${scaleOf(set)})`;
}

function drawScatters() {
  const [low, high] = constants.SCORE_RANGE;
  for (const set of HELD_OUT.filter((name) => sets[name].points && !sets[name].binary)) {
    const { points } = sets[set];
    const lowest = Math.min(0, ...points.before.concat(points.after).filter((value) => value !== null));
    for (const when of WHEN) {
      const found = points.gold.map((x, row) => ({ x, y: points[when][row], row })).filter((point) => point.y !== null);
      const title = unchanged ? NAMES[set] : `${NAMES[set]}, ${when} training`;
      const canvas = figure("scatters", title, noteOf(set, when), "square", `Score against similarity: ${title}.`);
      const span = (high - low) * 0.03;
      drawPoints(canvas, set, found, css(when), {
        x: axis("your score", { type: "linear", min: low - span, max: high + span, ticks: { includeBounds: false } }),
        y: axis("similarity", { min: Math.floor(lowest * 5) / 5, max: 1 }),
      }, [{ x: low, y: 0 }, { x: high, y: 1 }]).partOf = set;
    }
  }
  byId("agreement").hidden = !byId("scatters").children.length;
}

/** An axis of errors that ends at the same round number on both sides of 0, with even ticks. */
function evenAxis(title, values) {
  const most = Math.max(0.05, ...values.map(Math.abs));
  const stepSize = [0.05, 0.1, 0.2, 0.25, 0.5].find((step) => most <= 4 * step) || 0.5;
  const end = Math.ceil(most / stepSize - 1e-9) * stepSize;
  const digits = stepSize === 0.05 || stepSize === 0.25 ? 2 : 1;
  const callback = (value) => (Math.abs(value) < 1e-9 ? "0" : signed(value, digits));
  return axis(title, { min: -end, max: end, ticks: { stepSize, autoSkip: false, callback } });
}

/** What an error is, on the scale of this run's scores. */
function errorInWords() {
  const [low, high] = constants.SCORE_RANGE;
  return `The error is the similarity minus your score${low === 0 && high === 1 ? "" : ", scaled to 0–1"}`;
}

/** The pairs of a set whose length and error are known, as points. */
function errorsByLength(set) {
  const { tokens, after, score } = sets[set].points;
  const error = (row) => (after[row] === null ? null : after[row] - score[row]);
  return tokens.map((x, row) => ({ x, y: error(row), row })).filter((point) => point.x !== null && point.y !== null);
}

function drawLengths() {
  const found = Object.fromEntries(HELD_OUT.filter((set) => sets[set].points).map((set) => [set, errorsByLength(set)]));
  const all = Object.values(found).flat();
  const lengths = all.map((point) => point.x);
  const [min, max] = [Math.max(0, Math.min(...lengths) - 1), Math.max(...lengths) + 1];
  for (const set of HELD_OUT.filter((name) => found[name]?.length)) {
    const pairs = plural(found[set].length, "pair");
    const canvas = figure("lengths", NAMES[set], pairs, "", `Error against token length for ${set}.`);
    drawPoints(canvas, set, found[set], css("after"), {
      x: axis("tokens of the longer sentence", { type: "linear", min, max, ticks: { precision: 0, includeBounds: false } }),
      y: evenAxis("error", all.map((point) => point.y)),
    }, [{ x: min, y: 0 }, { x: max, y: 0 }]);
  }
  const told = `${errorInWords()}${unchanged ? "" : ", after training"}.`;
  byId("residuals-meaning").textContent = `${told} Above the line the similarity is too high, below it too low.`;
  byId("residuals").hidden = !all.length;
}
