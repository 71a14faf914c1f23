// Yes/no scores: the similarities of matches and other pairs, precision and recall by threshold.

/** The bars of matches or of other pairs: translucent, on the place of the other's. */
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
  draw(figure("histograms", title, note, "", `Similarities of matches and other pairs: ${title}.`), "bar", bars, {
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

/** Where the axes of thresholds begin: at the round number below all similarities, for there is nothing to tell apart. */
function lowestThreshold() {
  const all = HELD_OUT.flatMap((name) => Object.values(sets[name].binary.precision_recall)).filter(Boolean);
  return Math.floor(20 * Math.min(...all.map(({ threshold }) => threshold[0]))) / 20;
}

/** Precision and recall of every threshold, the chosen one marked. Between two thresholds both are those of the upper one. */
function drawThresholds(set, when) {
  const { metrics, precision_recall } = sets[set].binary;
  const found = precision_recall[when];
  if (!found) return;
  const points = (name) => found.threshold.map((x, i) => ({ x, y: found[name][i] }));
  const curve = (name, color) => line(name, points(name), color, { stepped: "after", borderWidth: 2 });
  const title = unchanged ? NAMES[set] : `${NAMES[set]}, ${when} training`;
  const { threshold: cut, precision, recall } = metrics[when];
  const note = `threshold ${fixed(cut, 2)}: precision ${fixed(precision, 2)}, recall ${fixed(recall, 2)}`;
  draw(figure("thresholds", title, note, "", `Precision and recall by threshold: ${title}. Chosen: ${note}.`), "line", [
    curve("precision", css("after")), curve("recall", css("dev")),
    line("chosen threshold", [{ x: cut, y: 0 }, { x: cut, y: 1 }], css("text"), { borderDash: [5, 5], pointHitRadius: 0 }),
  ], {
    x: axis("threshold", { type: "linear", min: lowestThreshold(), max: 1, ticks: { includeBounds: false } }),
    y: axis("precision, recall", { min: 0, max: 1 }),
  }, {
    interaction: { mode: "index", intersect: false },
    tooltip: {
      filter: (item) => item.datasetIndex < 2,
      callbacks: {
        title: (items) => (items.length ? `Threshold ${fixed(items[0].parsed.x, 3)}` : ""),
        label: (item) => ` ${item.dataset.label}: ${fixed(item.parsed.y, 3)}`,
      },
    },
  });
}

/** Average precision, threshold, precision, recall and F1 of dev or test, before and after. */
function decisions(set) {
  const { binary, predicted_error } = sets[set];
  const { before, after } = binary.metrics;
  if (!after) return facts(NAMES[set], [["Metrics", "not defined: one class only, or a similarity is not finite"]]);
  const threshold = `Threshold, best F1 on ${after.chosen_here ? set : "dev"}`;
  const titles = { average_precision: "Average precision", threshold, precision: "Precision", recall: "Recall", f1: "F1" };
  const entries = Object.entries(titles).map(([key, title]) => [title, change(before && before[key], after[key])]);
  const error = [`Mean error of the predicted score (${scaleOf(set)})`, fixed(predicted_error, 2)];
  if (predicted_error !== null) entries.push(error);
  return facts(unchanged ? NAMES[set] : `${NAMES[set]}, before → after`, entries);
}

function drawMatches() {
  const found = HELD_OUT.filter((name) => sets[name].binary);
  for (const set of found)
    for (const when of WHEN) {
      drawHistogram(set, when);
      drawThresholds(set, when);
    }
  byId("decisions").replaceChildren(...found.map(decisions));
  byId("thresholds-title").hidden = !byId("thresholds").children.length;
  byId("matches-meaning").textContent = [
    `A pair of score ${constants.SCORE_RANGE[1]} is a match.`,
    "A pair is called a match from the threshold upwards.",
    "Precision: share of the called matches that are right.",
    "Recall: share of the matches that are called.",
    "F1: harmonic mean of both.",
    "Average precision: mean precision over all thresholds.",
  ].join(" ");
  byId("matches").hidden = !found.length;
}
