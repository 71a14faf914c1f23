// Pairs to look at, in a table to sort and filter with pointer or keyboard. What it lists is said in lists.js.

const { kinds: KINDS, columns: COLUMNS } = LIST;
const state = { kind: Object.keys(KINDS)[0], set: sets.test ? "test" : "dev", filter: "", column: null, descending: true };

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

/** Sort rows by a column, those without a value last. */
function sortRows(rows, { value }, descending) {
  const order = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  rows.sort((left, right) => {
    const [a, b] = [value(left), value(right)];
    if (!isKnown(a) || !isKnown(b)) return isKnown(b) - isKnown(a);
    return descending ? order(b, a) : order(a, b);
  });
}

function rowsShown() {
  const columns = sets[state.set][state.kind];
  const rowAt = (i) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[i]]));
  const rows = columns.sentence1.map((_, i) => rowAt(i));
  const wanted = state.filter.toLowerCase();
  const textOf = (row) => LIST.searched.map((name) => row[name] ?? "").join("\n").toLowerCase();
  const found = rows.filter((row) => !wanted || textOf(row).includes(wanted));
  if (state.column !== null) sortRows(found, COLUMNS[state.column], state.descending);
  return found;
}

/** What the table lists: which pairs of which set, how many the words find, what its columns mean. */
function captionOf(found) {
  const { set, kind } = state;
  const [listed, total] = [sets[set][kind].sentence1.length, LIST.total(set, kind)];
  const words = plural(listed, `${set} pair`) + (listed < total ? ` (of ${grouped(total)})` : "");
  const what = LIST.caption[kind](words, listed === total, (order) => (listed > 1 ? order : ""));
  const filter = state.filter ? ` ${grouped(found)} ${found === 1 ? "contains" : "contain"} “${state.filter}”.` : "";
  return `${what}${filter} ${LIST.note(sets[set])}`;
}

function showTable() {
  const rows = rowsShown();
  byId("table").caption.textContent = captionOf(rows.length);
  byId("table").tBodies[0].replaceChildren(...rows.map((row) => make("tr", {}, ...COLUMNS.map((column) => {
    const cell = make("td", { className: column.className }, column.text(row));
    cell.dataset.label = column.title;
    return cell;
  }))));
  for (const [i, header] of [...byId("table").tHead.rows[0].cells].entries()) {
    if (state.column === i) header.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    else header.removeAttribute("aria-sort");
  }
}

function makeTable() {
  const headers = COLUMNS.map(({ title, className }, i) => {
    const button = make("button", { type: "button" }, title);
    button.addEventListener("click", () => {
      state.descending = state.column === i ? !state.descending : className === "number";
      state.column = i;
      showTable();
    });
    return make("th", { scope: "col" }, button);
  });
  byId("table").classList.toggle("labelled", LIST !== SCORED);
  byId("table").tHead.append(make("tr", {}, ...headers));
  byId("table").caption.setAttribute("aria-live", "polite");
  const filter = make("input", { type: "search", placeholder: "Filter by words" });
  filter.setAttribute("aria-label", "Filter by words");
  filter.addEventListener("input", () => { state.filter = filter.value.trim(); showTable(); });
  const names = Object.fromEntries(["test", "dev"].filter((name) => sets[name]).map((name) => [name, NAMES[name]]));
  if (!unchanged && Object.keys(KINDS).length > 1) byId("choices").append(choice("kind", KINDS, "Which pairs"));
  if (Object.keys(names).length > 1) byId("choices").append(choice("set", names, "Which set"));
  byId("choices").append(filter);
  byId("choices").addEventListener("submit", (event) => event.preventDefault());
  showTable();
}

byId("pairs").hidden = !HELD_OUT.length;
if (HELD_OUT.length) makeTable();
