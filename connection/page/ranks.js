// Pairs that belong together: at which rank each sentence1 finds its sentence2, before and after training.

/** The bars of one set: how many pairs have a rank, before beside after. */
function drawRankBars(set) {
  const { ranks, candidates, pairs } = sets[set];
  const bars = WHEN.filter((when) => ranks[when]).map((when) => ({
    label: unchanged ? "pairs" : `${when} training`, data: ranks[when], backgroundColor: css(when),
    barPercentage: 0.95, categoryPercentage: 0.85,
  }));
  if (!bars.length) return;
  const note = `${plural(pairs, "pair")}, each among ${plural(candidates, "candidate")}`;
  const described = `Ranks of sentence2 of ${set}${unchanged ? "" : ", before and after training"}.`;
  draw(figure("ranks-bars", NAMES[set], note, "", described), "bar", bars, {
    x: axis("rank of the right sentence2", { grid: { display: false }, ticks: { autoSkip: false } }),
    y: axis("pairs", { beginAtZero: true, ticks: { precision: 0 } }),
  }, {
    labels: ranks.labels,
    interaction: { mode: "index", intersect: false },
    tooltip: {
      callbacks: {
        title: (items) => `Rank ${items[0].label}`,
        label: (item) => ` ${item.dataset.label}: ${part(item.parsed.y, pairs)}`,
      },
    },
  });
}

function drawRanks() {
  const found = HELD_OUT.filter((name) => sets[name].ranks);
  found.forEach(drawRankBars);
  const drawn = byId("ranks-bars").children.length;
  const withNegatives = report.shape === "pairs with hard negatives";
  byId("ranks-meaning").textContent = [
    `Each sentence1 is searched among all different sentence2${withNegatives ? " and hard negatives" : ""} of its set.`,
    "Rank 1: the right sentence2 is the most similar of all.",
    "Recall@10: the share of the right sentence2 within the first 10; recall@1: within the first.",
    withNegatives ? "Triplet accuracy: the share of hard negatives less similar to sentence1 than its sentence2." : "",
    drawn ? "" : "The ranks of this run are not defined: a similarity is not finite.",
  ].filter(Boolean).join(" ");
  byId("ranks").hidden = !found.length;
}
