// Bars: the similarities of both classes where the scores are yes or no, and the training scores.

/** The bars of one class: translucent, on the place of the other class's. */
function classBars(label, counts, edges, color) {
  const data = counts.map((y, i) => ({ x: (edges[i] + edges[i + 1]) / 2, y }));
  return { label, data, backgroundColor: `${color}99`, grouped: false, barPercentage: 1, categoryPercentage: 1, order: 2 };
}

function drawHistogram(set, when) {
  const { edges, counts, metrics } = sets[set].binary;
  const [others, matches] = counts[when];
  const [low, high] = constants.SCORE_RANGE;
  const top = Math.max(1, ...others, ...matches);
  const title = unchanged ? NAMES[set] : `${NAMES[set]}, ${when} training`;
  const sum = (list) => list.reduce((total, count) => total + count, 0);
  const bars = [classBars(`score ${low}`, others, edges, css("dev")), classBars(`score ${high}`, matches, edges, css("after"))];
  const cut = metrics[when] && metrics[when].threshold;
  if (Number.isFinite(cut)) {
    const dashed = { borderDash: [5, 5], pointHitRadius: 0, order: 1 };
    bars.push(line(`threshold ${fixed(cut, 2)}`, [{ x: cut, y: 0 }, { x: cut, y: top }], css("text"), dashed));
  }
  const range = (i) => `${fixed(edges[i], 2)} to ${fixed(edges[i + 1], 2)}`;
  const note = `${plural(sum(matches), "matching pair")}, ${plural(sum(others), "other pair")}`;
  const grid = { offset: false, color: css("grid") };
  draw(figure("histograms", title, note, "", `Similarities of both classes: ${title}.`), "bar", bars, {
    x: axis("similarity", { type: "linear", min: edges[0], max: 1, offset: false, ticks: { includeBounds: false }, grid }),
    y: axis("pairs", { min: 0, ticks: { precision: 0 } }),
  }, {
    tooltip: {
      filter: (item) => item.dataset.type !== "line",
      callbacks: {
        title: (items) => (items.length ? `Similarity ${range(items[0].dataIndex)}` : ""),
        label: (item) => ` ${item.dataset.label}: ${plural(item.parsed.y, "pair")}`,
      },
    },
  });
}

/** Average precision, threshold, precision, recall and F1 of dev or test, before and after. */
function decisions(set) {
  const { binary, predicted_error } = sets[set];
  const { before, after } = binary.metrics;
  if (!before || !after) return facts(NAMES[set], [["Metrics", "not defined: one class only, or a similarity is not finite"]]);
  const threshold = `Threshold, best F1 on ${after.chosen_here ? set : "dev"}`;
  const titles = { average_precision: "Average precision", threshold, precision: "Precision", recall: "Recall", f1: "F1" };
  const entries = Object.entries(titles).map(([key, title]) => [title, change(before[key], after[key])]);
  const error = [`Mean error of the predicted score (${scaleOf(set)})`, fixed(predicted_error, 2)];
  if (predicted_error !== null) entries.push(error);
  return facts(unchanged ? NAMES[set] : `${NAMES[set]}, before → after`, entries);
}

function drawClasses() {
  const found = HELD_OUT.filter((name) => sets[name].binary);
  for (const set of found) for (const when of WHEN) drawHistogram(set, when);
  byId("decisions").replaceChildren(...found.map(decisions));
  byId("classes-meaning").textContent = [
    `A pair of score ${constants.SCORE_RANGE[1]} is a match.`,
    "A pair is called a match from the threshold upwards.",
    "Precision: share of the called matches that are right.",
    "Recall: share of the matches that are called.",
    "F1: harmonic mean of both.",
    "Average precision: mean precision over all thresholds.",
  ].join(" ");
  byId("classes").hidden = !found.length;
}

function drawScores() {
  const scores = trainingScores();
  if (!scores.length) return;
  const counts = scores.map(([, count]) => count);
  const pairs = counts.reduce((sum, count) => sum + count, 0);
  draw(figure("scores", "Training scores", plural(pairs, "pair"), "", "Histogram of the training scores."), "bar",
    [{ label: "pairs", data: counts, backgroundColor: css("after"), barPercentage: 0.95, categoryPercentage: 0.95 }],
    { x: axis("score", { grid: { display: false } }), y: axis("pairs", { beginAtZero: true, ticks: { precision: 0 } }) },
    {
      labels: scores.map(([label]) => label),
      tooltip: {
        callbacks: { title: (items) => `Score ${items[0].label}`, label: (item) => ` ${plural(item.parsed.y, "pair")}` },
      },
    });
}
