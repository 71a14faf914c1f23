// What the table of pairs lists, for each kind of pairs: which pairs, columns, and words.
//
// A list has kinds: the switch's labels; a column a title, a value to sort by and what its cells show; searched: the texts that
// the filter looks through; caption[kind]: what is listed, from the count in words, whether that is all, and whether it has an
// order; note: what a column means.

const BY_RATIO = ", the largest ratio of both ranks first";
const TIMES = { before: "Before", after: "After" };
const error = (row) => (isKnown(row.after) ? row.after - row.score : null);
const sentence = (title, name) => ({ title, value: (row) => row[name], text: (row) => row[name], className: "sentence" });
const SENTENCES = [sentence("Sentence 1", "sentence1"), sentence("Sentence 2", "sentence2")];

/** A column for before and one for after; one alone where nothing was trained. */
function bothTimes(title, name, write, className = "number") {
  return WHEN.map((when) => ({
    title: unchanged ? title : TIMES[when], value: (row) => row[`${name}${when}`],
    text: (row) => (isKnown(row[`${name}${when}`]) ? write(row[`${name}${when}`]) : "–"), className,
  }));
}

/** What stood before the right sentence2: a sentence, in italics where it is no text of the file. */
function foundText({ rank_after, found }) {
  if (found) return found;
  return rank_after > 1 ? make("em", {}, "another right sentence2") : "–";
}

const SCORED = {
  kinds: { wrong: "Largest error", improved: "Improved most" },
  columns: [
    { title: "Score", value: (row) => row.gold, text: (row) => String(+row.gold.toFixed(3)), className: "number" },
    ...bothTimes("Similarity", "", (value) => fixed(value, 3)),
    {
      title: "Error", value: (row) => (isKnown(error(row)) ? Math.abs(error(row)) : null),
      text: (row) => (isKnown(error(row)) ? signed(error(row), 3) : "–"), className: "number",
    },
    ...SENTENCES,
  ],
  searched: ["sentence1", "sentence2"],
  total: (set) => sets[set].pairs,
  caption: {
    wrong: (listed, isAll, ordered) => `${listed}${isAll ? ordered(", the largest error first") : " with the largest error"}.`,
    improved: (listed) => `${listed} with a smaller error after training.`,
  },
  note: () => `${errorInWords()}: above 0 is too similar, below 0 not similar enough.`,
};

const RANKED = {
  kinds: { worst: "Highest rank", improved: "Improved", worsened: "Worsened" },
  columns: [
    ...bothTimes("Rank", "rank_", grouped),
    ...SENTENCES,
    { title: "Found instead", value: (row) => row.found, text: foundText, className: "sentence" },
  ],
  searched: ["sentence1", "sentence2", "found"],
  total: (set, kind) => sets[set].totals[kind],
  caption: {
    worst: (listed, _, ordered) => `${listed} whose sentence2 is not at rank 1${ordered(", the highest rank first")}.`,
    improved: (listed, _, ordered) => `${listed} with a better rank after training${ordered(BY_RATIO)}.`,
    worsened: (listed, _, ordered) => `${listed} with a worse rank after training${ordered(BY_RATIO)}.`,
  },
  note: ({ candidates }) => `${unchanged ? "Rank" : "Before, after: the rank"} of sentence2 among ${
    plural(candidates, "candidate")}. Found instead: the candidate at rank 1${unchanged ? "" : ", after training"}.`,
};

const CLASSED = {
  kinds: { wrong: "Wrong class" },
  columns: [
    { title: "Class", value: (row) => row.label, text: (row) => row.label, className: "class" },
    ...bothTimes("Found", "class_", String, "class"),
    ...SENTENCES,
  ],
  searched: ["sentence1", "sentence2", "label", "class_after"],
  total: (set, kind) => sets[set].totals[kind],
  caption: { wrong: (listed, isAll) => `${listed} with a wrong class${isAll ? "" : ", evenly spread over the file"}.` },
  note: () => (unchanged ? "Class: as in the file." : "Class: as in the file. Before, after: the class that was found."),
};

const LIST = !HELD_OUT.length || sets[HELD_OUT[0]].points ? SCORED : sets[HELD_OUT[0]].ranks ? RANKED : CLASSED;
