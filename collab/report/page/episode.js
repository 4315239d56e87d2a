// One episode: its units in order, each in its author's colour and with its mark.

const SIGNS = ["●", "■", "▲", "◆", "▼", "✚"];
const KINDS = { generated: "wrote", recorded: "recording", inserted: "inserted", signal: "signal", edited: "changed" };

/** Seats keep their colour in a whole run: by their place in the team, then as they come. */
function lookOf(run) {
  const order = Object.keys(run.seats);
  return (seat) => {
    if (!order.includes(seat)) order.push(seat);
    const n = order.indexOf(seat) % SIGNS.length;
    return { sign: SIGNS[n], colour: `a${n}` };
  };
}

function badge(seat, look) {
  const { sign, colour } = look(seat);
  return el("span", { class: `badge ${colour}` }, el("span", { "aria-hidden": "true" }, `${sign} `), seat);
}

/** `sent` holds, for each seat, how to get what it was last sent: prompts are told as what is new. */
function story(blocks, look, sent = new Map()) {
  const nodes = [];
  let before = "";
  for (const block of blocks) {
    if (block.is !== "unit") {
      before = "";
      nodes.push(aside(block, look, sent));
      continue;
    }
    const turn = [block.author, block.phase, block.kind, block.why].join("\0");
    nodes.push(unit(block, look, turn !== before, prompt(block, sent)));
    before = turn;
  }
  return nodes;
}

function prompt(block, sent) {
  if (!block.prompt) return null;
  const [shared, rest] = block.prompt;
  const last = sent.get(block.author);
  const read = () => (last ? last().slice(0, shared) : "") + rest;
  sent.set(block.author, read);
  return read;
}

/** The exact prompt, laid out when it is asked for. */
function prompted(block, read) {
  if (block.unsure) return el("span", { class: "fate" }, " ", plain(block.unsure));
  if (!read) return null;
  const node = el("details", { class: "prompt" }, el("summary", {}, "the exact prompt"));
  node.addEventListener("toggle", () => node.children.length > 1 || node.append(stretch(read(), "pre", "text")));
  return node;
}

function unit(block, look, fresh, read) {
  const { colour } = look(block.author);
  const classes = ["unit", colour, block.kind, block.phase, block.struck != null && "struck", fresh && "handoff"];
  const tag = block.struck != null ? "del" : "div";
  const costs = [`${block.tokens.toLocaleString("en")} tokens`,
    block.money != null && `≤ $${block.money.toPrecision(2)}`,
    block.entropy != null && `entropy ${block.entropy}`].filter(Boolean).join(" · ");
  return el("div", { class: classes.filter(Boolean).join(" "), tabindex: fresh ? "-1" : null },
    fresh && el("div", { class: "who" }, badge(block.author, look),
      el("span", { class: "kind" }, block.phase === "answer" ? "answers" : KINDS[block.kind] ?? block.kind),
      block.why && el("span", { class: "why" }, plain(block.why))),
    stretch(block.text.replace(/^\n+|\n+$/g, ""), tag),
    el("div", { class: "cost" }, costs,
      block.read && ` · read ${block.read[0].toLocaleString("en")}`,
      block.read?.[1] ? `, ${block.read[1].toLocaleString("en")} encoded anew` : null,
      block.struck != null && el("span", { class: "fate" }, " struck: ", plain(block.struck))),
    prompted(block, read));
}

function aside(block, look, sent) {
  if (block.is === "fork") return fork(block, look, sent);
  if (block.is === "asked") return asked(block, look);
  return el("p", { class: `aside ${block.is}` }, plain(block.text),
    block.why && el("span", { class: "why" }, plain(` – ${block.why}`)));
}

function asked(block, look) {
  const chances = Object.entries(block.chances ?? {}).map(([name, p]) => `${name} ${(100 * p).toFixed(0)} %`);
  return el("div", { class: `asked ${look(block.author).colour}` },
    el("div", { class: "who" }, badge(block.author, look), el("span", { class: "kind" }, "was asked on the side")),
    stretch(block.question, "div", "question"), stretch(block.reply),
    chances.length > 0 && el("p", { class: "cost" }, plain(chances.join(" · "))));
}

function fork(block, look, sent) {
  return el("div", { class: "fork" },
    el("p", { class: "aside" }, `${block.branches.length} branches from here`,
      block.why && el("span", { class: "why" }, plain(` – ${block.why}`))),
    el("div", { class: "branches" }, block.branches.map((branch, n) =>
      el("details", { open: block.branches.length < 4 },
        el("summary", {}, `branch ${n + 1} · ${branch.finish}${branch.empty ? " · from the bare question" : ""}`),
        story(branch.blocks, look, new Map(sent))))));
}

/** The head of an episode: what was asked, what came of it, and what it was played with. */
function head(run, n, extra) {
  const of = run.episodes;
  const question = run.questions[of.question[n]];
  const labels = Object.entries(of.labels).filter(([, values]) => values[n] != null);
  return [
    el("h3", {}, verdict(of.verdict[n]), el("span", { class: "said" }, "answered ", el("b", {}, plain(show(of.given[n]))),
      ", gold answer ", el("b", {}, plain(show(question?.answer))))),
    question && question.messages.map(([role, text]) =>
      el("div", { class: "message" }, el("span", { class: "role" }, role), stretch(text))),
    el("dl", { class: "labels" }, labels.map(([key, values]) =>
      el("div", {}, el("dt", {}, key.replaceAll("_", " ")), el("dd", {}, plain(show(values[n])))))),
    extra,
  ];
}

const GLYPHS = { correct: "✓", wrong: "✗" };

function verdict(name) {
  const kind = name in GLYPHS ? name : "other";
  return el("span", { class: `verdict ${kind}` },
    el("span", { "aria-hidden": "true" }, `${GLYPHS[name] ?? "–"} `), name);
}

function episodeView(run, n, episode, look) {
  const tokens = run.episodes.tokens[n].toLocaleString("en");
  return [
    el("div", { class: "story" }, story(episode.blocks, look)),
    el("p", { class: "aside" }, `finish: ${episode.finish} · ${tokens} tokens sampled · `,
      `${episode.sampled} generations sampled, ${episode.stored} from the store`),
  ];
}
