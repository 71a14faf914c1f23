// The headline: the metric by which dev chooses, for dev and test, before and after training; speed and memory.

const ROLES = { dev: "choose the best weights", test: "never trained on or chosen by" };
// Not the best F1: its threshold is each set's own. The F1 of matches below is that of the threshold of dev.
const OTHERS = Object.keys(report.names).filter((key) => key !== metric && key !== "f1");

/** By how much the metric rose. It has a colour only where the interval of the difference leaves 0 out. */
function gained(before, after) {
  if (unchanged || !Number.isFinite(before[metric]) || !Number.isFinite(after[metric])) return null;
  const found = interval(after.gain);
  const difference = signed(after[metric] - before[metric]);
  if (!found) return ["change ", difference];
  const [low, high] = found;
  const className = low > 0 ? "better" : high < 0 ? "worse" : "";
  const shown = make("span", { className }, difference);
  return ["change ", shown, ` (95 %: ${between(found, signed, 3)})`, className ? "" : ", within chance"];
}

/** The metrics beside the one by which dev chooses. */
function otherFigures(before, after) {
  const present = OTHERS.filter((key) => key in after);
  return present.map((key) => [`${capitalised(nameOf(key))} `, ...change(before[key], after[key])]);
}

/** Of pairs with a class: what the predictions say beside the accuracy. */
function classFigures(name) {
  const { macro_f1, most_frequent } = sets[name] || {};
  if (!macro_f1) return [];
  return [["Macro F1 ", ...change(macro_f1.before, macro_f1.after)], `always the most frequent class: ${fixed(most_frequent)}`];
}

function metricCard(name) {
  const [before, after] = [summary.before[name], summary.after[name]];
  const intervals = [before, after].map((one) => interval(one.interval));
  const shown = (unchanged ? intervals.slice(1) : intervals).map((one) => (one ? between(one, fixed, 2) : "–")).join(" → ");
  const count = summary.pairs && summary.pairs[name];
  const known = [count && plural(count, "pair"), summary.steps && ROLES[name]].filter(Boolean);
  return card(
    `${capitalised(nameOf(metric))} on ${name}${known.length ? ` (${known.join(", ")})` : ""}`,
    change(before[metric], after[metric]),
    intervals.some(Boolean) && `95 % interval ${shown}`,
    gained(before, after),
    ...otherFigures(before, after),
    ...classFigures(name),
    Number.isFinite(before.random_similarity) && Number.isFinite(after.random_similarity)
      && ["unrelated sentences: mean similarity ", ...change(before.random_similarity, after.random_similarity)]);
}

function timeCard() {
  const memory = summary.peak_memory_bytes && `peak memory ${size(summary.peak_memory_bytes)}`;
  if (!summary.steps) return card("Evaluation time", [duration(summary.evaluation_seconds)], memory);
  const { best_step, pairs_per_second, tokens_per_second } = summary;
  const after = best_step ? `best weights after step ${grouped(best_step)}` : "best weights before training";
  return card("Training time", [duration(summary.train_seconds)],
    pairs_per_second && `${pairs_per_second.toFixed(1)} pairs/s, ${grouped(Math.round(tokens_per_second))} tokens/s`,
    `${plural(summary.steps, "step")}, ${best_step === null ? "no best step" : after}`, memory);
}

/** What a value of the metric is to be compared with. */
function comparison() {
  if (sets[HELD_OUT[0]]?.confusion) {
    const untrained = unchanged ? "" : ": the one before training is that of a classifier with random weights";
    return `To judge a value, compare it with that of always naming the most frequent class${untrained}.`;
  }
  return `To judge a value, compare it with ${unchanged ? "another encoder on the same pairs" : "the one before training"}.`;
}

/** What the metric is, in words for everybody. */
function meaning(judged) {
  const sentences = [report.meaning, comparison()];
  if (judged.some((one) => one && interval(one.interval))) {
    const items = metric === "mrr_at_10" ? "different sentence1" : "pairs";
    sentences.push(`The 95 % interval shows how much the value varies by chance with this number of ${items}.`);
  }
  return sentences.filter(Boolean).join(" ");
}

/** The evaluations in which the metric is defined. */
const judged = evaluations.filter((one) => isKnown(one[metric]));

/** The figures of a run that has not finished. */
function cardsSoFar() {
  if (!judged.length) return [];
  const [first, last] = [judged[0], judged[judged.length - 1]];
  const name = nameOf(metric);
  if (judged.length === 1) return [card(`Dev ${name} at step ${grouped(first.step)}`, [fixed(first[metric])])];
  const rise = ["change ", signed(last[metric] - first[metric]), ` at step ${grouped(last.step)}`];
  return [card(`Dev ${name}, before training → last`, change(first[metric], last[metric]), rise)];
}

function showResult() {
  const evaluated = ["dev", "test"].filter((name) => summary && summary.before[name] && summary.after[name]);
  const cards = summary ? [...evaluated.map(metricCard), timeCard()] : cardsSoFar();
  byId("cards").replaceChildren(...cards);
  byId("meaning").textContent = meaning(summary ? Object.values(summary.after) : []);
  byId("result").hidden = !cards.length;
}

showResult();
