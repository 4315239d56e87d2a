// The episodes of a run: the filter, and a list that draws only the visible rows.

const ROW = 58;

/** Return the pairs of a twin test that the steer turned from solved to not solved. */
function astray(run) {
  const { verdict, labels } = run.episodes;
  const control = new Map();
  const lost = new Set();
  if (!labels.pair || !labels.arm) return lost;
  verdict.forEach((said, n) => labels.arm[n] === "none" && control.set(labels.pair[n], said));
  verdict.forEach((said, n) => {
    if (labels.arm[n] === "steer" && said !== "correct" && control.get(labels.pair[n]) === "correct") lost.add(n);
  });
  return lost;
}

/** Return the numbers of the episodes that all choices leave. */
function chosen(run, state, lost, hits) {
  const { case: cases, verdict, labels } = run.episodes;
  const by = Object.entries(state.by);
  const left = [];
  for (let n = 0; n < cases.length; n++) {
    if (state.verdict && verdict[n] !== state.verdict) continue;
    if (state.only === "astray" && !lost.has(n)) continue;
    if (hits && !hits.has(n)) continue;
    if (by.every(([key, value]) => show(labels[key]?.[n]) === value)) left.push(n);
  }
  return left;
}

class List {
  constructor(node, open) {
    this.node = node;
    this.open = open;
    this.inner = el("ol", { class: "rows" });
    node.replaceChildren(this.inner);
    node.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(node);
    this.rows = [];
  }

  set(run, rows, current) {
    this.run = run;
    this.rows = rows;
    this.current = current;
    this.inner.style.height = `${rows.length * ROW}px`;
    this.drawn = null;
    this.draw();
  }

  /** Bring a row into sight. */
  reveal(n) {
    const at = this.rows.indexOf(n) * ROW;
    if (at < 0) return;
    const { scrollTop, clientHeight } = this.node;
    if (at < scrollTop || at + ROW > scrollTop + clientHeight) this.node.scrollTop = at - clientHeight / 3;
  }

  draw() {
    const first = Math.max(0, Math.floor(this.node.scrollTop / ROW) - 4);
    const last = Math.min(this.rows.length, first + Math.ceil(this.node.clientHeight / ROW) + 8);
    const key = `${first}-${last}`;
    if (this.drawn === key) return;
    this.drawn = key;
    const focused = document.activeElement?.dataset?.n;
    const nodes = [];
    for (let k = first; k < last; k++) nodes.push(this.row(this.rows[k], k));
    this.inner.replaceChildren(...nodes);
    if (focused) this.inner.querySelector(`a[data-n="${focused}"]`)?.focus({ preventScroll: true });
  }

  row(n, k) {
    const { run } = this;
    const of = run.episodes;
    const asked = run.questions[of.question[n]]?.messages.at(-1)?.[1] ?? of.case[n];
    const labels = ["arm", run.by, "level"].filter((key, at, all) => all.indexOf(key) === at).map((key) => of.labels[key]?.[n] != null && `${short(key)}${show(of.labels[key][n])}`);
    const item = el("li", { "aria-setsize": this.rows.length, "aria-posinset": k + 1 },
      el("a", { href: this.open(n), "data-n": n, "aria-current": n === this.current ? "true" : null },
        el("span", { class: "line" }, verdict(of.verdict[n]), el("span", { class: "given" }, plain(show(of.given[n]).slice(0, 40)))),
        el("span", { class: "line dim" }, plain(labels.filter(Boolean).join(" · "))),
        el("span", { class: "line dim" }, plain(asked.slice(0, 160)))));
    item.style.top = `${k * ROW}px`;
    return item;
  }
}

const short = (key) => (key === "arm" || key === "level" ? "" : `${key.replaceAll("_", " ")} `);
