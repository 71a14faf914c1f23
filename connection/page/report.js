"use strict";
// The frame of the report: what was trained, and the result. All text goes in by textContent.

const report = JSON.parse(document.getElementById("data").textContent);
const { constants, summary, sets, evaluations } = report;
const NAMES = { dev: "Dev", test: "Test" };
const ROLES = { dev: "choose the best weights", test: "never trained on or chosen by" };
const HELD_OUT = ["dev", "test"].filter((name) => sets[name]);
// best/ holds the weights of the start: there is no before and after, every figure stands once.
const unchanged = Boolean(summary) && (summary.steps === 0 || summary.best_step === 0);
const WHEN = unchanged ? ["after"] : ["before", "after"];

const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const isKnown = (value) => value !== null && value !== undefined;
const fixed = (value, digits = 4) => (isKnown(value) ? value.toFixed(digits).replace("-", "−") : "–");
const signed = (value, digits = 4) => (value > 0 ? "+" : "") + fixed(value, digits);
const grouped = (value) => value.toLocaleString("en-GB");
const plural = (number, noun) => `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
const fileName = (path) => path.split(/[\\/]/).filter(Boolean).pop() || "";

/** A new element: make("p", { className: "small" }, "text", otherElement). */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Seconds in words: 8.4 s, 12 min 5 s, 3 h 20 min. */
function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${Math.floor(seconds % 60)} s`;
}

function size(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`;
}

/** [low, high] where a run has it, else null. */
const interval = (value) => (Array.isArray(value) && value.length === 2 && value.every(Number.isFinite) ? value : null);
const between = (found, write, digits) => found.map((end) => write(end, digits)).join(" to ");

function card(label, large, ...small) {
  const lines = small.filter(Boolean).map((line) => make("p", { className: "small" }, ...[].concat(line)));
  const head = [make("p", { className: "label" }, label), make("p", { className: "large" }, ...large)];
  return make("div", { className: "card" }, ...head, ...lines);
}

/** 0.5774 → 0.6053, or one value where nothing was trained. */
function change(before, after, digits = 4) {
  if (unchanged) return [fixed(after, digits)];
  const arrow = make("span", { className: "arrow" }, " → ");
  return [make("span", { className: "was" }, fixed(before, digits)), arrow, fixed(after, digits)];
}

/** By how much Spearman rose. It has a colour only where the interval of the difference leaves 0 out. */
function gained(before, after) {
  if (unchanged || !Number.isFinite(before.spearman) || !Number.isFinite(after.spearman)) return null;
  const found = interval(after.gain);
  const difference = signed(after.spearman - before.spearman);
  if (!found) return ["change ", difference];
  const [low, high] = found;
  const className = low > 0 ? "better" : high < 0 ? "worse" : "";
  const shown = make("span", { className }, difference);
  return ["change ", shown, ` (95 %: ${between(found, signed, 3)})`, className ? "" : ", within chance"];
}

function spearmanCard(name) {
  const [before, after] = [summary.before[name], summary.after[name]];
  const intervals = [before, after].map((one) => interval(one.interval));
  const shown = (unchanged ? intervals.slice(1) : intervals).map((one) => (one ? between(one, fixed, 2) : "–")).join(" → ");
  const count = summary.pairs && summary.pairs[name];
  const known = [count && plural(count, "pair"), summary.steps && ROLES[name]].filter(Boolean);
  return card(
    `Spearman on ${name}${known.length ? ` (${known.join(", ")})` : ""}`, change(before.spearman, after.spearman),
    intervals.some(Boolean) && `95 % interval ${shown}`,
    gained(before, after),
    ["Pearson ", ...change(before.pearson, after.pearson)],
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

function showHeader() {
  const encoder = fileName(constants.ENCODER);
  const title = `${encoder} on ${fileName(constants.TRAIN_FILE)}`;
  byId("title").textContent = title;
  document.title = `${title} – fine-tuning report`;
  const told = [];
  const counts = Object.entries((summary && summary.pairs) || {}).filter(([, count]) => count);
  if (counts.length) told.push(counts.map(([name, count]) => `${name} ${plural(count, "pair")}`).join(", "));
  const { EPOCHS, BATCH_SIZE, LEARNING_RATE, SEED } = constants;
  const rate = LEARNING_RATE.toExponential();
  const trained = `${plural(EPOCHS, "epoch")}, batch size ${BATCH_SIZE}, learning rate ${rate}, seed ${SEED}`;
  told.push(EPOCHS ? trained : "evaluation only (EPOCHS 0)");
  if (summary) told.push(summary.device.replace(/\b1 (core|thread)s\b/g, "1 $1"));
  byId("subtitle").textContent = told.join(" · ");
  const notices = noticed();
  byId("notice").textContent = notices.join(" ");
  byId("notice").hidden = !notices.length;
}

/** What a reader must know first: an unfinished run, a training that did not help, shared pairs. */
function noticed() {
  const notices = [];
  if (!summary) notices.push("This run has not finished: the page shows its state when it stopped.");
  if (summary && summary.best_step === 0 && summary.steps)
    notices.push("Training did not improve dev Spearman: best/ holds the weights from before training.");
  const dropped = constants.OVERLAP === "drop";
  for (const [name, shared] of Object.entries((summary && summary.overlap) || {}))
    if (shared && shared.pairs) {
      const what = `Train ${dropped ? "shared" : "shares"} ${plural(shared.pairs, "pair")} with ${name}`;
      const so = dropped ? "left out of training" : `the figures of ${name} may be too high`;
      notices.push(`${what}: ${so} (OVERLAP "${constants.OVERLAP}").`);
    }
  return notices;
}

/** What Spearman is, in words for everybody. */
function meaning(judged) {
  const told = ["Spearman measures rank agreement of similarity and score: 1 = same order, 0 = no agreement."];
  const other = unchanged ? "another encoder on the same pairs" : "the one before training";
  told.push(`To judge a value, compare it with ${other}.`);
  if (judged.some((one) => one && interval(one.interval)))
    told.push("The 95 % interval shows how much the value varies by chance with this number of pairs.");
  return told.join(" ");
}

function showResult() {
  const cards = [];
  const defined = evaluations.filter((one) => one.spearman !== null);
  if (summary) {
    for (const name of ["dev", "test"]) if (summary.before[name] && summary.after[name]) cards.push(spearmanCard(name));
    cards.push(timeCard());
  } else if (defined.length) {
    const [first, last] = [defined[0], defined[defined.length - 1]];
    const rise = ["change ", signed(last.spearman - first.spearman), ` at step ${grouped(last.step)}`];
    const both = change(first.spearman, last.spearman);
    if (defined.length > 1) cards.push(card("Dev Spearman, before training → last", both, rise));
    else cards.push(card(`Dev Spearman at step ${grouped(first.step)}`, [fixed(first.spearman)]));
  }
  byId("cards").replaceChildren(...cards);
  byId("meaning").textContent = meaning(summary ? Object.values(summary.after) : []);
  byId("result").hidden = !cards.length;
}

showHeader();
showResult();
