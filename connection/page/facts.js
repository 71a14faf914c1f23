// Lists of names and values: the training data, and how the run was made.

function facts(title, entries, className = "") {
  const list = make("dl");
  for (const [name, value] of entries) list.append(make("dt", {}, name), make("dd", { className }, ...[].concat(value)));
  return make("div", { className: "card" }, make("h3", {}, title), list);
}

/** The part of a whole in words: "3 of 1,040 (0.3 %)". */
function part(count, whole) {
  if (!Number.isFinite(count) || !Number.isFinite(whole) || whole <= 0) return null;
  return `${grouped(count)} of ${grouped(whole)} (${((100 * count) / whole).toFixed(1)} %)`;
}

/** The histogram of training scores or classes that a run stored, as [label, count]; none where it did not. */
function trainingScores() {
  const { labels, counts } = (summary && summary.data && summary.data.scores) || {};
  const good = [labels, counts].every(Array.isArray) && labels.length === counts.length && counts.every(Number.isFinite);
  return good ? labels.map((label, i) => [String(label), counts[i]]) : [];
}

const REPEATS = {
  exact_duplicates: "Identical rows within train",
  duplicates: "Alike rows within train",
  pairs_with_several_scores: `Pairs with several ${report.shape === "pairs with a class" ? "classes" : "scores"} within train`,
};
const SHARED = { exact_pairs: "Identical pairs", pairs: "Alike pairs", sentences: "Sentences" };

function showInput() {
  const data = (summary && summary.data) || {};
  const overlap = (summary && summary.overlap) || {};
  const tokens = [
    ["Sentences cut at the token limit", part(data.cut_sentences, data.sentences)],
    ["Unknown tokens, [UNK]", part(data.unknown_tokens, data.tokens)],
  ].filter(([, text]) => text);
  const added = { "Hard negatives": data.negatives, "Pairs of POSITIVES_FILE": data.positives };
  const rows = Object.entries(added).filter(([, count]) => count).map(([title, count]) => [title, grouped(count)]);
  const repeats = Object.entries(REPEATS).map(([key, title]) => [title, overlap.train && overlap.train[key]]);
  const shared = Object.keys(overlap).filter((name) => name !== "train" && overlap[name]).flatMap((name) =>
    Object.entries(SHARED).map(([key, title]) =>
      [`${title} in both ${comparedFiles(name).join(" and ")}`, overlap[name][key]]));
  const known = repeats.concat(shared).filter(([, count]) => Number.isFinite(count));
  const counted = known.filter(([, count]) => count).map(([title, count]) => [title, grouped(count)]);
  if (known.length && !counted.length) counted.push(["Repeated rows, shared pairs, shared sentences", "none"]);
  const all = [["Beside the pairs", rows], ["Tokens", tokens], ["Repeats and overlap", counted]];
  const lists = all.filter(([, entries]) => entries.length);
  const cards = lists.map(([title, entries]) => facts(title, entries));
  const hasScores = trainingScores().length > 0;
  if (hasScores && cards.length) cards.splice(0, cards.length, make("div", { className: "stack" }, ...cards));
  byId("input-cards").replaceChildren(...(hasScores ? [make("div", { id: "scores" })] : []), ...cards);
  byId("input").hidden = !byId("input-cards").children.length;
}

function showFacts() {
  const words = new Map([["", "–"], [true, "yes"], [false, "no"]]);
  const joined = (name, value) => (Array.isArray(value) ? value.join(name === "SCORE_RANGE" ? " to " : ", ") : value);
  const written = (value) => words.get(value) || String(value);
  const sums = Object.entries(report.sha256).flatMap(([constant, files]) =>
    Object.entries(files).map(([name, sum]) => [`${constant}: ${name}`, sum]));
  byId("facts").replaceChildren(
    facts("Constants", Object.entries(constants).map(([name, value]) => [name, written(joined(name, value))])),
    make("div", { className: "stack" },
      facts("Versions and folder", [...Object.entries(report.versions), ["run", report.folder]]),
      facts("SHA-256 of the input files", sums, "sum"),
      make("div", { id: "schedule" })),
  );
}

showInput();
showFacts();
