// What a search found, in cards to browse and filter: the nearest sentences of each query, or groups of like sentences.
//
// data.cards: a title, a note, and lines of [number, similarity or null, sentence]; data.unit: what a card is, singular and
// plural; data.total: how many there are, if the page has not all of them.

const data = JSON.parse(document.getElementById("data").textContent);
const AT_ONCE = 50; // cards that are drawn, until more are asked for
const byId = (id) => document.getElementById(id);
const grouped = (number) => number.toLocaleString("en-US");
let shown = AT_ONCE;
let words = "";

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const plural = (count) => `${grouped(count)} ${data.unit[count === 1 ? 0 : 1]}`;

function card({ title, note, lines }) {
  const rows = lines.map(([number, similarity, sentence]) => make("tr", {},
    make("td", { className: "number" }, number),
    make("td", { className: "number" }, similarity === null ? "" : similarity.toFixed(4)),
    make("td", { className: "sentence" }, sentence)));
  const heading = make("h2", {}, title, note ? make("span", { className: "about" }, ` ${note}`) : "");
  return make("section", { className: "card" }, heading, make("table", {}, make("tbody", {}, ...rows)));
}

const textOf = ({ title, lines }) => [title, ...lines.map((line) => line[2])].join("\n").toLowerCase();

function show() {
  const found = words ? data.cards.filter((each) => textOf(each).includes(words.toLowerCase())) : data.cards;
  byId("found").replaceChildren(...found.slice(0, shown).map(card));
  byId("more").hidden = found.length <= shown;
  const all = data.total > data.cards.length ? ` of ${grouped(data.total)}` : "";
  byId("count").textContent = words
    ? `${plural(found.length)} of ${grouped(data.cards.length)} with “${words}”.`
    : `${plural(data.cards.length)}${all}. ${data.meaning}`;
}

byId("title").textContent = data.title;
document.title = data.title;
byId("subtitle").textContent = data.subtitle;
const filter = make("input", { type: "search", placeholder: "Filter by words" });
filter.setAttribute("aria-label", "Filter by words");
filter.addEventListener("input", () => { words = filter.value.trim(); shown = AT_ONCE; show(); });
byId("choices").append(filter);
byId("choices").addEventListener("submit", (event) => event.preventDefault());
byId("more").addEventListener("click", () => { shown += AT_ONCE; show(); });
show();
