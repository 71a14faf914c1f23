"use strict";
// The frame of the report: what the other parts share, and what was trained. All text goes in by textContent.

const report = JSON.parse(document.getElementById("data").textContent);
const { constants, summary, sets, evaluations, metric } = report;
const NAMES = { dev: "Dev", test: "Test" };
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
const plural = (number, noun, ending = "s") => `${grouped(number)} ${noun}${number === 1 ? "" : ending}`;
const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const nameOf = (key) => report.names[key] || key; // of a metric
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

function showHeader() {
  const encoder = fileName(constants.ENCODER);
  const title = `${encoder} on ${fileName(constants.TRAIN_FILE)}`;
  byId("title").textContent = title;
  document.title = `${title} – fine-tuning report`;
  const told = [report.shape];
  const positives = summary && summary.data && summary.data.positives;
  const counts = Object.entries({ ...(summary && summary.pairs), positives }).filter(([, count]) => count);
  if (counts.length) told.push(counts.map(([name, count]) => `${name} ${plural(count, "pair")}`).join(", "));
  const { EPOCHS, BATCH_SIZE, LEARNING_RATE, SEED } = constants;
  const rate = LEARNING_RATE.toExponential();
  const loss = summary && summary.loss ? `, loss ${summary.loss}` : "";
  const trained = `${plural(EPOCHS, "epoch")}${loss}, batch size ${BATCH_SIZE}, learning rate ${rate}, seed ${SEED}`;
  told.push(EPOCHS ? trained : "evaluation only (EPOCHS 0)");
  if (summary) told.push(summary.device.replace(/\b1 (core|thread)s\b/g, "1 $1"));
  byId("subtitle").textContent = told.join(" · ");
  const notices = noticed();
  byId("notice").textContent = notices.join(" ");
  byId("notice").hidden = !notices.length;
}

/** The two files that an entry of `overlap` compares: "dev" is train and dev, "positives and dev" says both. */
const comparedFiles = (key) => (key.includes(" and ") ? key.split(" and ") : ["train", key]);

/** A sentence on the pairs that a training file shares with dev or test. */
function sharedPairs(key, count) {
  const [file, heldOut] = comparedFiles(key);
  const dropped = constants.OVERLAP === "drop";
  const what = `${capitalised(file)} ${dropped ? "shared" : "shares"} ${plural(count, "pair")} with ${heldOut}`;
  const so = dropped ? "left out of training" : `the figures of ${heldOut} may be too high`;
  return `${what}: ${so} (OVERLAP "${constants.OVERLAP}").`;
}

/** What a reader must know first: an unfinished run, a training that did not help, shared pairs. */
function noticed() {
  const notices = [];
  if (!summary) notices.push("This run has not finished: the page shows its state when it stopped.");
  if (summary && summary.best_step === 0 && summary.steps)
    notices.push(`Training did not improve dev ${nameOf(metric)}: best/ holds the weights from before training.`);
  for (const [key, shared] of Object.entries((summary && summary.overlap) || {}))
    if (shared && shared.pairs) notices.push(sharedPairs(key, shared.pairs));
  return notices;
}

showHeader();
