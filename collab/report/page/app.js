// The state of the page: the address names the run and the episode; filters and open parts are here.

const source = find("data") ? new FileSource() : new ServedSource();
const page = { runs: [], run: null, rows: [], lost: new Set(), hits: null, list: null, asked: "" };

/** The address holds the whole state: a link opens the same view anywhere. */
function state() {
  const words = new URLSearchParams(location.hash.slice(1));
  const by = {};
  for (const [key, value] of words) if (key.startsWith("by.")) by[key.slice(3)] = value;
  const word = (key) => words.get(key) ?? "";
  return {
    run: word("run"), episode: word("episode"), beside: word("beside"), verdict: word("verdict"),
    text: word("text"), seat: word("seat"), only: word("only"), diff: word("diff"), by,
  };
}

function address(changes) {
  const { by, ...now } = { ...state(), ...changes };
  const words = Object.entries(now).filter(([, value]) => value);
  const labels = Object.entries(by).filter(([, value]) => value).map(([key, value]) => [`by.${key}`, value]);
  return `#${new URLSearchParams([...words, ...labels])}`;
}

function go(changes) {
  location.hash = address(changes);
}

async function update() {
  const now = state();
  const id = now.run || page.runs[0].id;
  if (page.run?.id !== id) await enter(id);
  await search(now);
  choices(now);
  page.rows = chosen(page.run, now, page.lost, page.hits);
  const total = page.run.episodes.case.length;
  find("count").textContent = `${page.rows.length.toLocaleString("en")} of ${total.toLocaleString("en")} episodes`;
  const open = page.run.episodes.case.indexOf(now.episode);
  page.list.set(page.run, page.rows, open);
  if (open >= 0) page.list.reveal(open);
  find("reader").classList.toggle("reading", open >= 0);
  await Promise.all([reading(now, open), differing(now)]);
}

async function enter(id) {
  page.run = { id, ...(await source.run(id)) };
  page.hits = null;
  page.asked = "";
  page.lost = astray(page.run);
  page.look = lookOf(page.run);
  introduced(page.run);
  source.results(id).then((found) => page.run.id === id && resulted(found)).catch(failed);
}

async function search({ text, seat }) {
  const asked = `${text}\0${seat}`;
  if (asked === page.asked) return;
  find("count").textContent = "searching …";
  const hits = text || seat ? await source.find(page.run.id, text, seat) : null;
  [page.hits, page.asked] = [hits, asked];
}

function introduced(run) {
  document.title = `${run.title} · collab`;
  find("title").textContent = run.title;
  find("about").textContent = run.about;
  find("legend").replaceChildren(...Object.entries(run.seats).map(([seat, name]) =>
    el("li", {}, badge(seat, page.look), " ", plain(name))));
  find("settings").replaceChildren(el("summary", {}, "all settings"),
    grid({ columns: ["setting", "value"], rows: Object.entries(run.settings).map(([k, v]) => [k, typeof v === "object" ? JSON.stringify(v) : show(v)]) }));
}

function resulted(found) {
  find("headline").replaceChildren(...Object.entries(found.headline).map(([name, cell]) => {
    const [number, interval] = cell.split(" [");
    return el("div", { class: "card" }, el("span", { class: "number" }, number),
      interval && el("span", { class: "interval" }, `[${interval}`), el("span", { class: "name" }, name));
  }));
  const failures = Object.entries(found.failures);
  find("results").replaceChildren(
    ...found.figures.map(drawn),
    ...found.tables.map(grid),
    el("ul", { class: "notes" }, found.notes.map((note) => el("li", {}, plain(note))),
      failures.map(([name, why]) => el("li", { class: "failed" }, plain(`failed: ${name}: ${why}`)))));
}

function choices(now) {
  const { run } = page;
  const pick = (id, label, values, value, change) => el("label", {}, el("span", {}, label),
    el("select", { id, onchange: (event) => change(event.target.value) },
      el("option", { value: "" }, "any"),
      values.map((one) => el("option", { value: show(one), selected: show(one) === value }, show(one)))));
  const verdicts = [...new Set(run.episodes.verdict)].sort();
  const busy = document.activeElement?.id;
  find("choices").replaceChildren(
    pick("pick-verdict", "verdict", verdicts, now.verdict, (verdict) => go({ verdict })),
    pick("pick-seat", "seat", Object.keys(run.seats), now.seat, (seat) => go({ seat })),
    ...Object.entries(run.choices).map(([key, values]) =>
      pick(`pick-${key}`, key.replaceAll("_", " "), values, now.by[key] ?? "",
        (value) => go({ by: { ...state().by, [key]: value } }))));
  if (busy?.startsWith("pick-")) find(busy)?.focus();
  const lost = find("astray");
  lost.hidden = page.lost.size === 0;
  lost.textContent = `led astray (${page.lost.size})`;
  lost.setAttribute("aria-pressed", String(now.only === "astray"));
  const text = find("text");
  if (document.activeElement !== text) text.value = now.text;
}

async function reading(now, n) {
  const node = find("episode");
  if (n < 0) {
    node.replaceChildren(el("p", { class: "hint" }, now.episode ? "There is no such episode in this run." :
      "Choose an episode from the list. Keys: j and k go through it, n and p from one hand-off to the next, c shows its control next to it, / searches, t changes the theme."));
    page.open = null;
    return;
  }
  const other = page.run.episodes.case.indexOf(now.beside);
  const key = `${page.run.id}\0${n}\0${other}`;
  if (page.open === key) return;
  page.open = key;
  const columns = await Promise.all([n, other].filter((one) => one >= 0).map((one) => column(one, one !== n)));
  if (page.open !== key) return;
  node.replaceChildren(
    el("p", { class: "back" }, el("a", { href: address({ episode: "", beside: "" }) }, "← all episodes")),
    el("div", { class: columns.length > 1 ? "columns two" : "columns" }, columns));
  node.scrollTop = 0;
}

async function column(n, second) {
  const { run } = page;
  const name = run.episodes.case[n];
  const episode = await source.episode(run.id, n, name);
  return el("article", { "aria-label": `episode ${name}` },
    head(run, n, second ? null : beside(n)),
    episodeView(run, n, episode, page.look),
    el("p", { class: "aside id" }, plain(name)));
}

/** Offer the other conditions of the same case, or else of the same question. */
function beside(n) {
  const of = page.run.episodes;
  const key = of.labels.pair ? of.labels.pair : of.question;
  const others = of.case.map((_, m) => m).filter((m) => m !== n && key[m] === key[n]).slice(0, 12);
  if (!others.length) return null;
  const now = state().beside;
  return el("p", { class: "beside" }, "beside it: ", others.map((m) => {
    const here = of.case[m] === now;
    return el("a", { href: address({ beside: here ? "" : of.case[m] }), class: "chip", "aria-current": here ? "true" : null },
      `${show(of.labels.arm?.[m] ?? of.case[m])} `, verdict(of.verdict[m]));
  }));
}

async function differing({ diff }) {
  const node = find("diff");
  node.hidden = !page.runs[1];
  if (!page.runs[1] || page.diffed === `${page.run.id}\0${diff}`) return;
  page.diffed = `${page.run.id}\0${diff}`;
  const others = page.runs.filter((one) => one.id !== page.run.id);
  const label = el("label", {}, el("span", {}, "which cases flipped against "),
    el("select", { id: "pick-diff", onchange: (event) => go({ diff: event.target.value }) }, el("option", { value: "" }, "–"),
      others.map((one) => el("option", { value: one.id, selected: one.id === diff }, one.title, ` (${one.id})`))));
  const told = diff && diff !== page.run.id ? flips(await source.diff(page.run.id, diff)) : [];
  node.replaceChildren(label, ...told);
}

function flips(found) {
  const lines = found.flipped.map((one) => el("li", {},
    el("a", { href: address({ episode: one.case }) }, verdict(one.verdict), " here, ", verdict(one.other), " there"),
    el("span", { class: "dim" }, plain(` ${one.case}`))));
  return [el("p", {}, found.said), el("details", { open: lines.length < 20 }, el("summary", {}, `${lines.length} flipped`), el("ul", { class: "flips" }, lines))];
}

function step(by) {
  const at = page.rows.indexOf(page.run.episodes.case.indexOf(state().episode));
  const next = page.rows[Math.min(Math.max(at + by, 0), page.rows.length - 1)];
  if (next !== undefined) go({ episode: page.run.episodes.case[next], beside: "" });
}

function handoff(by) {
  const all = [...find("episode").querySelectorAll("article:first-child .handoff")];
  const at = all.indexOf(document.activeElement);
  const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "center" });
}

function control() {
  const link = find("episode").querySelector(".beside a");
  if (link) location.hash = link.getAttribute("href");
}

const KEYS = {
  j: () => step(1), k: () => step(-1), n: () => handoff(1), p: () => handoff(-1), c: control,
  t: () => find("theme").click(), "/": () => find("text").focus(),
  Escape: () => go({ episode: "", beside: "" }),
};

function keys(event) {
  const typing = event.target.closest?.("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing) {
    if (event.key === "Escape") event.target.blur();
  } else if (KEYS[event.key]) {
    event.preventDefault();
    KEYS[event.key]();
  }
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("collab-theme", root.dataset.theme); } catch { /* a file may have none */ }
}

function remembered() {
  try { return localStorage.getItem("collab-theme"); } catch { return null; }
}

/** Look again while a run goes on; what is open stays as it is. */
async function follow() {
  for (;;) {
    await new Promise((done) => setTimeout(done, 3000));
    try {
      const { runs } = await source.runs();
      const changed = runs.filter((one) => page.runs.find((old) => old.id === one.id)?.stamp !== one.stamp);
      page.runs = runs;
      if (changed.some((one) => one.id === page.run.id)) { await enter(page.run.id); await update(); }
      if (changed.length) sweep();
      find("gone").hidden = true;
    } catch { find("gone").hidden = false; }
  }
}

/** Show an episode of a run that goes on, for as long as somebody has opened it. */
async function grow() {
  const node = find("growing");
  let seen = "";
  for (;;) {
    await new Promise((done) => setTimeout(done, 700));
    node.hidden = page.runs.find((one) => one.id === page.run.id)?.state !== "running";
    if (node.hidden || !node.open) continue;
    const now = await source.growing(page.run.id).catch(() => ({}));
    const key = `${now.case}\0${now.blocks?.length}\0${now.ended}`;
    if (!now.case || key === seen) continue;
    seen = key;
    const place = find("grown");
    const below = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
    place.replaceChildren(
      el("p", { class: "aside id" }, plain(now.case)),
      ...now.messages.map(([role, text]) => el("div", { class: "message" }, el("span", { class: "role" }, role), stretch(text))),
      ...story(now.blocks, page.look),
      ...(now.ended ? [el("p", { class: "aside" }, plain(now.ended))] : []));
    if (below) place.scrollTop = place.scrollHeight;
  }
}

function sweep() {
  const several = page.runs.length > 1;
  find("sweep").hidden = !several;
  if (!several) return;
  find("how-many").textContent = `${page.runs.length} runs`;
  find("runs").replaceChildren(...page.runs.map((one) =>
    el("li", {}, el("a", { href: `#${new URLSearchParams({ run: one.id })}` }, plain(one.title)),
      el("span", { class: "dim" }, plain(` ${one.id} ${one.state ?? ""}`)))));
  source.tables().then((tables) => find("tables").replaceChildren(...tables.map(grid))).catch(failed);
}

async function start() {
  const saved = remembered();
  if (saved) document.documentElement.dataset.theme = saved;
  find("theme").addEventListener("click", theme);
  find("astray").addEventListener("click", () => go({ only: state().only ? "" : "astray" }));
  let waiting = 0;
  find("text").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => go({ text: event.target.value }), 150);
  });
  find("clear").addEventListener("click", () => { location.hash = address({ verdict: "", text: "", seat: "", only: "", by: {} }); find("text").value = ""; });
  document.addEventListener("keydown", keys);
  page.list = new List(find("list"), (n) => address({ episode: page.run.episodes.case[n], beside: "" }));
  page.runs = (await source.runs()).runs;
  await update();
  sweep();
  addEventListener("hashchange", () => update().catch(failed));
  document.documentElement.dataset.ready = "yes";
  if (source.live) { follow(); grow(); }
}

function failed(error) {
  find("about").replaceChildren(el("span", { class: "failed" }, plain(String(error.message ?? error))));
  console.error(error);
}

start().catch(failed);
