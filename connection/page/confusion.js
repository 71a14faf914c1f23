// Pairs with a class: a table of given classes and the classes that were found for their pairs.

/** "13 (0.87)": how many of a class's pairs were found right, and their share, the recall. */
function recallText(right, pairs) {
  if (!isKnown(right) || !pairs) return "–";
  return `${grouped(right)} (${fixed(right / pairs, 2)})`;
}

/** Both rows of column headers: what the columns are, and each class by name. */
function confusionHead({ classes, of }) {
  const spanning = (text, columns, rows = 1) =>
    make("th", { scope: columns > 1 ? "colgroup" : "col", colSpan: columns, rowSpan: rows }, text);
  const names = of > classes.length ? [...classes, "other classes"] : classes;
  const groups = [
    spanning("Given class", 1, 2), spanning(unchanged ? "Found class" : "Found class, after training", names.length),
    spanning("Pairs", 1, 2), spanning("Right (recall)", WHEN.length, unchanged ? 2 : 1),
  ];
  const found = names.map((name) => make("th", { scope: "col", className: "name", title: name }, make("span", {}, name)));
  const times = unchanged ? [] : WHEN.map((when) => make("th", { scope: "col" }, when));
  return make("thead", {}, make("tr", {}, ...groups), make("tr", {}, ...found, ...times));
}

/** A count, shaded by its share of the given class's pairs: in one colour where it is right, in another where it is wrong. */
function confusionCell(count, pairs, isRight) {
  const cell = make("td", { className: isRight ? "right" : "wrong" }, grouped(count));
  if (!count) cell.className += " none";
  cell.style.setProperty("--share", `${pairs ? Math.round((55 * count) / pairs) : 0}%`);
  return cell;
}

function confusionRow(confusion, row) {
  const { classes, of, counts, others, right } = confusion;
  const pairs = confusion.pairs[row];
  const cells = counts[row].map((count, column) => confusionCell(count, pairs, row === column));
  if (of > classes.length) cells.push(confusionCell(others[row], pairs, false));
  const recalls = WHEN.map((when) => make("td", { className: "sum" }, recallText(right[when] && right[when][row], pairs)));
  return make("tr", {},
    make("th", { scope: "row", title: classes[row] }, make("span", {}, classes[row])), ...cells,
    make("td", { className: "sum" }, grouped(pairs)), ...recalls);
}

/** What the table holds, and what it leaves out. */
function confusionCaption(set) {
  const { pairs, confusion: { classes, of, counts, others, pairs: given } } = sets[set];
  const sum = (list) => list.reduce((total, count) => total + count, 0);
  const left = of - classes.length;
  const missing = sum(given) - sum(counts.flat()) - sum(others);
  return [
    `${NAMES[set]}, ${plural(pairs, "pair")}.`,
    left > 0 ? `The ${classes.length} most frequent of ${plural(of, "class", "es")}: ${part(sum(given), pairs)} pairs.` : "",
    missing ? `${plural(missing, "pair")} without a class: a similarity is not finite.` : "",
  ].filter(Boolean).join(" ");
}

function confusionTable(set) {
  const { confusion } = sets[set];
  const rows = confusion.classes.map((_, row) => confusionRow(confusion, row));
  const className = confusion.classes.length > 8 ? "confusion many" : "confusion";
  const table = make("table", { className },
    make("caption", {}, confusionCaption(set)), confusionHead(confusion), make("tbody", {}, ...rows));
  const region = make("div", { className: "card matrix", tabIndex: 0, role: "region" }, table);
  region.setAttribute("aria-label", `Confusion matrix of ${set}`);
  return region;
}

function showConfusions() {
  const found = HELD_OUT.filter((name) => sets[name].confusion);
  byId("confusions").hidden = !found.length;
  if (!found.length) return;
  byId("matrices").replaceChildren(...found.map(confusionTable));
  byId("matrices").classList.toggle("wide", sets[found[0]].confusion.classes.length > 3);
  byId("confusions-meaning").textContent = [
    "Rows: the class in the file. Columns: the class that was found. Counts on the diagonal are right.",
    "Recall: the share of a class's pairs that is found right.",
    "Macro F1: the mean of F1 over the classes, each with the same weight; F1 is the harmonic mean of precision and recall.",
    unchanged ? "" : "Before training the classes come from a classifier with random weights.",
  ].filter(Boolean).join(" ");
}

showConfusions();
