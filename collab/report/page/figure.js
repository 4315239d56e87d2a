// Figures as SVG: a colour, a mark and a dash for each series, and the numbers as a table below.

const MARKS = [
  (x, y) => svg("circle", { cx: x, cy: y, r: 4.5 }),
  (x, y) => svg("rect", { x: x - 4, y: y - 4, width: 8, height: 8 }),
  (x, y) => svg("path", { d: `M${x} ${y - 5.5}l5 9h-10z` }),
  (x, y) => svg("path", { d: `M${x} ${y - 6}l6 6l-6 6l-6 -6z` }),
  (x, y) => svg("path", { d: `M${x} ${y + 5.5}l5 -9h-10z` }),
  (x, y) => svg("path", { d: `M${x - 5} ${y}h10M${x} ${y - 5}v10`, class: "cross" }),
];
const mark = (n, x, y) => MARKS[(n + Math.floor(n / MARKS.length)) % MARKS.length](x, y);
const BOX = { width: 560, height: 300, left: 46, right: 14, top: 12, bottom: 44 };

function drawn(figure) {
  const place = placed(figure);
  const picture = svg("svg", {
    viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img", "aria-label": figure.alt,
  }, axes(figure, place), figure.series.map((series, n) => curve(series, n, place)));
  const legend = el("ul", { class: "legend" }, figure.series.map((series, n) => el("li", {},
    svg("svg", { viewBox: "0 0 16 16", class: `series s${n % 6}`, "aria-hidden": "true" },
      series.marked ? mark(n, 8, 8) : svg("path", { d: "M0 8h16", class: "frontier" })),
    series.name)));
  return el("figure", {}, el("figcaption", {}, figure.title), picture, legend, numbers(figure));
}

function placed(figure) {
  const points = figure.series.flatMap((series) => series.points);
  const names = points.some((point) => typeof point.x === "string")
    ? [...new Set(points.map((point) => point.x))] : null;
  const xs = names ? [-0.5, names.length - 0.5] : points.map((point) => point.x);
  let [low, high] = [Math.min(...xs), Math.max(...xs)];
  if (!names) {
    const air = (high - low || Math.abs(high) || 1) * 0.06;
    [low, high] = [low - air, high + air];
  }
  const at = (x) => (names ? names.indexOf(x) : x);
  return {
    names, low, high,
    ticks: names ?? ticks(points.map((point) => point.x)),
    x: (x) => BOX.left + ((at(x) - low) / (high - low)) * (BOX.width - BOX.left - BOX.right),
    y: (y) => BOX.top + (1 - y / 100) * (BOX.height - BOX.top - BOX.bottom),
  };
}

function ticks(xs) {
  const own = [...new Set(xs)].sort((a, b) => a - b);
  const [low, high] = [own[0], own.at(-1)];
  const apart = own.every((x, n) => !n || x - own[n - 1] > (high - low) / 12);
  if (apart && own.length <= 7 && own.every((x) => Math.abs(x * 100 - Math.round(x * 100)) < 1e-9)) return own;
  const rough = (high - low) / 4 || Math.abs(high) || 1;
  const scale = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * scale).find((one) => one >= rough);
  const round = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) round.push(Number((k * step).toPrecision(6)));
  return round.length ? round : own;
}

function axes(figure, place) {
  const lines = [0, 25, 50, 75, 100].flatMap((y) => [
    svg("line", { x1: BOX.left, x2: BOX.width - BOX.right, y1: place.y(y), y2: place.y(y), class: "grid" }),
    svg("text", { x: BOX.left - 8, y: place.y(y) + 4, class: "tick end" }, String(y)),
  ]);
  const names = place.ticks.map((x) =>
    svg("text", { x: place.x(x), y: BOX.height - BOX.bottom + 18, class: "tick middle" }, show(x)));
  const middle = (BOX.left + BOX.width - BOX.right) / 2;
  return [...lines, ...names,
    svg("text", { x: middle, y: BOX.height - 6, class: "axis middle" }, figure.x),
    svg("text", { x: 12, y: BOX.top + 6, class: "axis", transform: `rotate(-90 12 ${BOX.height / 2 - 20}) translate(-26 ${BOX.height / 2 - 36})` }, figure.y)];
}

function curve(series, n, place) {
  if (!series.marked) return svg("path", { d: through(series, place), class: "frontier" });
  const shift = (n - 1) * 3;
  const spots = series.points.map((point) => [place.x(point.x) + (series.joined ? shift : 0), point]);
  const path = spots.map(([x, point], k) => `${k ? "L" : "M"}${x} ${place.y(point.y)}`).join("");
  return svg("g", { class: `series s${n % 6}` },
    series.joined && svg("path", { d: path, class: "line" }),
    spots.map(([x, point]) => [
      svg("line", { x1: x, x2: x, y1: place.y(point.low), y2: place.y(point.high), class: "whisker" }),
      mark(n, x, place.y(point.y)),
      point.name && series.joined && label(point.name, x, place.y(point.y) - 6),
    ]).flat());
}

/** A point's name, on the side of it where there is room. */
function label(name, x, y) {
  const end = x > BOX.width / 2;
  return svg("text", { x: end ? x - 8 : x + 8, y, class: end ? "tick end" : "tick" }, name);
}

/** A line through a series' points, without marks. */
function through(series, place) {
  return series.points.map((point, k) => `${k ? "L" : "M"}${place.x(point.x)} ${place.y(point.y)}`).join("");
}

function numbers(figure) {
  const rows = figure.series.filter((series) => series.marked).flatMap((series) => series.points.map((point) => [
    series.name, typeof point.x === "number" ? String(Number(point.x.toPrecision(4))) : point.x,
    `${point.y.toFixed(0)} [${point.low.toFixed(0)},${point.high.toFixed(0)}]`, String(point.n)]));
  return el("details", {}, el("summary", {}, "its numbers"),
    grid({ columns: ["series", figure.x, `${figure.y} [95 % interval]`, "n"], rows }));
}

/** A table that scrolls sideways by itself where the window is narrow. */
function grid(table) {
  const label = table.title || "table";
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": label },
    el("table", {}, table.title && el("caption", {}, table.title),
      el("thead", {}, el("tr", {}, table.columns.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, table.rows.map((row) => el("tr", { class: row[0] === "all" ? "all" : null },
        row.map((cell, n) => el(n ? "td" : "th", n ? {} : { scope: "row" }, plain(String(cell)))))))));
}
