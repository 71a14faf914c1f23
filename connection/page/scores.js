// The training data: how many pairs have each score or class.

const MOST_BARS = 20; // of the training classes

/** How many training pairs have each score or, of pairs with a class, each class: the most frequent ones of many. */
function drawScores() {
  const scores = trainingScores();
  if (!scores.length) return;
  const isClasses = report.shape === "pairs with a class";
  const shown = scores.length > MOST_BARS ? [...scores].sort((a, b) => b[1] - a[1]).slice(0, MOST_BARS) : scores;
  const pairs = scores.reduce((sum, [, count]) => sum + count, 0);
  const [title, noun] = isClasses ? ["Training classes", "Class"] : ["Training scores", "Score"];
  const left = shown.length < scores.length ? `, the ${MOST_BARS} most frequent of ${scores.length} classes` : "";
  const shape = isClasses && shown.length > 8 ? "tall" : "";
  const counts = axis("pairs", { beginAtZero: true, ticks: { precision: 0 } });
  const short = (text) => (text.length > 24 ? `${text.slice(0, 23)}…` : text);
  const names = axis(isClasses ? "" : "score", {
    grid: { display: false },
    ticks: isClasses ? { autoSkip: false, callback: (_, i) => short(shown[i][0]) } : {},
  });
  const data = shown.map(([, count]) => count);
  draw(figure("scores", title, `${plural(pairs, "pair")}${left}`, shape, `Histogram of the ${title.toLowerCase()}.`), "bar",
    [{ label: "pairs", data, backgroundColor: css("after"), maxBarThickness: 60, barPercentage: 0.95, categoryPercentage: 0.95 }],
    isClasses ? { x: counts, y: names } : { x: names, y: counts },
    {
      indexAxis: isClasses ? "y" : "x", labels: shown.map(([label]) => label),
      tooltip: {
        callbacks: {
          title: (items) => `${noun} ${items[0].label}`, label: (item) => ` ${plural(data[item.dataIndex], "pair")}`,
        },
      },
    });
}
