"use strict";
// The frame of the report: what was trained, the figures, how it was made. All text goes in by textContent.

const report = JSON.parse(document.getElementById("data").textContent);
const { constants, summary, sets, evaluations } = report;
const NAMES = { dev: "Dev", test: "Test" };

const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const fixed = (value, digits = 4) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
const signed = (value, digits = 4) => (value > 0 ? "+" : "") + fixed(value, digits);
const grouped = (value) => value.toLocaleString("en-GB");
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
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${Math.round(seconds % 60)} s`;
}

function size(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`;
}

function card(label, large, ...small) {
  const lines = small.filter(Boolean).map((line) => make("p", { className: "small" }, ...[].concat(line)));
  return make("div", { className: "card" }, make("p", { className: "label" }, label), make("p", { className: "large" }, ...large), ...lines);
}

/** 0.5774 → 0.6053, and by how much. */
function change(before, after, digits = 4) {
  const known = before !== null && after !== null;
  const difference = known ? signed(after - before, digits) : "";
  const className = known && after > before ? "better" : known && after < before ? "worse" : "";
  const large = [make("span", { className: "was" }, fixed(before, digits)), make("span", { className: "arrow" }, "→"), fixed(after, digits)];
  return { large, difference: make("span", { className }, difference) };
}

function showHeader() {
  const encoder = fileName(constants.ENCODER);
  const title = `${encoder} on ${fileName(constants.TRAIN_FILE)}`;
  byId("title").textContent = title;
  document.title = `${title} – fine-tuning report`;
  const told = [];
  if (summary && summary.pairs) told.push(Object.entries(summary.pairs).filter(([, count]) => count).map(([name, count]) => `${name} ${grouped(count)} pairs`).join(", "));
  told.push(`${constants.EPOCHS} epoch${constants.EPOCHS === 1 ? "" : "s"} of batches of ${constants.BATCH_SIZE}, learning rate ${constants.LEARNING_RATE.toExponential()}, seed ${constants.SEED}`);
  if (summary) told.push(summary.device);
  byId("subtitle").textContent = told.join(" · ");
  const notices = [];
  if (!summary) notices.push("This run has not finished: the page shows what it had left when it stopped.");
  if (summary && summary.best_step === 0 && summary.steps) notices.push("No evaluation was better than the one before training: best/ holds the weights it began with.");
  for (const [name, shared] of Object.entries((summary && summary.overlap) || {}))
    if (shared.pairs) notices.push(`Train and ${name} share ${grouped(shared.pairs)} pairs (OVERLAP is "${constants.OVERLAP}").`);
  byId("notice").textContent = notices.join(" ");
  byId("notice").hidden = !notices.length;
}

function showResult() {
  const cards = [];
  if (summary) {
    for (const name of ["dev", "test"]) {
      const [before, after] = [summary.before[name], summary.after[name]];
      if (!before || !after) continue;
      const spearman = change(before.spearman, after.spearman);
      const pearson = change(before.pearson, after.pearson);
      cards.push(card(`${NAMES[name]} Spearman, before → after`, spearman.large, [spearman.difference, name === "test" ? " on pairs kept aside" : " on the pairs to choose by"], ["Pearson ", ...pearson.large, " (", pearson.difference, ")"]));
    }
    const speed = summary.pairs_per_second;
    cards.push(card("Training time", [duration(summary.train_seconds)], speed && `${speed.toFixed(1)} pairs a second, ${grouped(Math.round(summary.tokens_per_second))} tokens a second`, `${grouped(summary.steps)} steps, ${summary.best_step === null ? "none the best" : `the best after ${grouped(summary.best_step)}`}`, summary.peak_memory_bytes && `${size(summary.peak_memory_bytes)} of memory at the most`));
  } else if (evaluations.length) {
    const last = evaluations[evaluations.length - 1];
    const spearman = change(evaluations[0].spearman, last.spearman);
    cards.push(card("Dev Spearman, before → last", spearman.large, [spearman.difference, ` at step ${grouped(last.step)}`]));
  }
  byId("result").replaceChildren(...cards);
  byId("result").hidden = !cards.length;
}

function facts(title, entries, className = "") {
  const list = make("dl");
  for (const [name, value] of entries) list.append(make("dt", {}, name), make("dd", { className }, value));
  return make("div", { className: "card" }, make("h3", {}, title), list);
}

function showFacts() {
  const written = (value) => (value === "" ? "–" : value === true ? "yes" : value === false ? "no" : Array.isArray(value) ? value.join(" to ") : String(value));
  const sums = Object.entries(report.sha256).flatMap(([constant, files]) => Object.entries(files).map(([name, sum]) => [`${constant}: ${name}`, sum]));
  byId("facts").replaceChildren(
    facts("Constants", Object.entries(constants).map(([name, value]) => [name, written(value)])),
    make("div", { className: "stack" },
      facts("Versions and folder", [...Object.entries(report.versions), ["run", report.folder]]),
      facts("SHA-256 of what was read", sums, "sum")),
  );
}

showHeader();
showResult();
showFacts();
