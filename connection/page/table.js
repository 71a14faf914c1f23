// The pairs most wrong and most improved, in a table to sort and filter with pointer or keyboard.

const KINDS = { wrong: "Largest error", improved: "Improved most" };
const TIMES = { before: "Before", after: "After" };
const COLUMNS = [
  { title: "Score", value: (row) => row.gold, text: (row) => String(+row.gold.toFixed(3)) },
  ...WHEN.map((when) => ({
    title: unchanged ? "Similarity" : TIMES[when], value: (row) => row[when], text: (row) => fixed(row[when], 3),
  })),
  { title: "Error", value: (row) => Math.abs(row.error), text: (row) => signed(row.error, 3) },
  { title: "Sentence 1", value: (row) => row.sentence1, text: (row) => row.sentence1, sentence: true },
  { title: "Sentence 2", value: (row) => row.sentence2, text: (row) => row.sentence2, sentence: true },
];
const state = { kind: "wrong", set: sets.test ? "test" : "dev", filter: "", column: null, descending: true };

/** Radio buttons that look like one switch. */
function choice(name, options, legend) {
  const fields = Object.entries(options).map(([value, label]) => {
    const input = make("input", { type: "radio", name, value, checked: state[name] === value });
    input.addEventListener("change", () => { state[name] = value; state.column = null; showTable(); });
    return make("label", {}, input, make("span", {}, label));
  });
  const set = make("fieldset", {}, ...fields);
  set.setAttribute("aria-label", legend);
  return set;
}

function rowsShown() {
  const columns = sets[state.set][state.kind];
  const rowAt = (i) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[i]]));
  const rows = columns.gold.map((_, i) => rowAt(i));
  for (const row of rows) row.error = row.after - row.score;
  const wanted = state.filter.toLowerCase();
  const found = rows.filter((row) => !wanted || `${row.sentence1}\n${row.sentence2}`.toLowerCase().includes(wanted));
  if (state.column !== null) {
    const { value } = COLUMNS[state.column];
    const order = (a, b) => (typeof value(a) === "string" ? value(a).localeCompare(value(b)) : value(a) - value(b));
    found.sort((a, b) => (state.descending ? order(b, a) : order(a, b)));
  }
  return found;
}

/** What the table lists: which pairs of which set, how many the words find, what the error is. */
function captionOf(found) {
  const { pairs, [state.kind]: { gold } } = sets[state.set];
  const listed = plural(gold.length, `${state.set} pair`) + (gold.length < pairs ? ` (of ${grouped(pairs)})` : "");
  const what = { wrong: `${listed} with the largest error.`, improved: `${listed} with a smaller error after training.` };
  if (gold.length === pairs) what.wrong = `${listed}${state.column === null && pairs > 1 ? ", the largest error first" : ""}.`;
  const filter = state.filter ? ` ${grouped(found)} ${found === 1 ? "contains" : "contain"} “${state.filter}”.` : "";
  return `${what[state.kind]}${filter} ${errorInWords()}: above 0 is too similar, below 0 not similar enough.`;
}

function showTable() {
  const rows = rowsShown();
  byId("table").caption.textContent = captionOf(rows.length);
  byId("table").tBodies[0].replaceChildren(...rows.map((row) => make("tr", {}, ...COLUMNS.map((column) => {
    const cell = make("td", { className: column.sentence ? "sentence" : "number" }, column.text(row));
    cell.dataset.label = column.title;
    return cell;
  }))));
  for (const [i, header] of [...byId("table").tHead.rows[0].cells].entries()) {
    if (state.column === i) header.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    else header.removeAttribute("aria-sort");
  }
}

function makeTable() {
  const headers = COLUMNS.map(({ title, sentence }, i) => {
    const button = make("button", { type: "button" }, title);
    button.addEventListener("click", () => {
      state.descending = state.column === i ? !state.descending : !sentence;
      state.column = i;
      showTable();
    });
    return make("th", { scope: "col" }, button);
  });
  byId("table").tHead.append(make("tr", {}, ...headers));
  byId("table").caption.setAttribute("aria-live", "polite");
  const filter = make("input", { type: "search", placeholder: "Filter by words" });
  filter.setAttribute("aria-label", "Filter by words");
  filter.addEventListener("input", () => { state.filter = filter.value.trim(); showTable(); });
  const names = Object.fromEntries(["test", "dev"].filter((name) => sets[name]).map((name) => [name, NAMES[name]]));
  if (!unchanged) byId("choices").append(choice("kind", KINDS, "Which pairs"));
  if (Object.keys(names).length > 1) byId("choices").append(choice("set", names, "Which set"));
  byId("choices").append(filter);
  byId("choices").addEventListener("submit", (event) => event.preventDefault());
  showTable();
}

byId("pairs").hidden = !Object.keys(sets).length;
if (Object.keys(sets).length) makeTable();
