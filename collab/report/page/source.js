// The source of the data: blocks in this file, shards next to it, or `collab view`.

async function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64.trim()), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** A report in one file: episodes stand in blocks of `size`, some perhaps in shards beside it. */
class FileSource {
  constructor() {
    this.blocks = new Map();
    this.live = false;
  }

  async runs() {
    this.data = await unpack(find("data").textContent);
    return { runs: [{ id: this.data.run.name, title: this.data.run.title }] };
  }

  async run() {
    return this.data.run;
  }

  async results() {
    return this.data.results;
  }

  async episode(_run, number) {
    const block = await this.block(Math.floor(number / this.data.size));
    return block[number % this.data.size];
  }

  async find(_run, text, seat) {
    const hits = new Set();
    const wanted = text.toLowerCase();
    for (let k = 0; k < this.data.blocks; k++) {
      (await this.block(k)).forEach((episode, n) => {
        if (holds(episode, wanted, seat)) hits.add(k * this.data.size + n);
      });
    }
    return hits;
  }

  block(k) {
    if (!this.blocks.has(k)) this.blocks.set(k, this.read(k));
    return this.blocks.get(k);
  }

  async read(k) {
    const here = find(`block-${k}`);
    return unpack(here ? here.textContent : await this.shard(k));
  }

  shard(k) {
    return new Promise((done, failed) => {
      window[`collab_block_${k}`] = done;
      const name = `report-${k}.js`;
      document.head.append(el("script", {
        src: name,
        onerror: () => failed(new Error(`${name} is missing: put it next to this file`)),
      }));
    });
  }
}

function holds(episode, text, seat) {
  const blocks = every(episode.blocks);
  const said = (block) => [block.text, block.question, block.reply, block.why];
  return (
    (!seat || blocks.some((block) => block.author === seat)) &&
    (!text || blocks.some((block) => said(block).some((one) => one?.toLowerCase().includes(text))))
  );
}

/** Return all blocks of an episode, those of its branches too. */
function every(blocks) {
  return blocks.flatMap((block) => [
    block,
    ...(block.branches ?? []).flatMap((branch) => every(branch.blocks)),
  ]);
}

/** A run that `collab view` serves, perhaps one that is still going on. */
class ServedSource {
  constructor() {
    this.live = true;
    this.seen = new Map();
  }

  runs() {
    return this.json("data");
  }

  run(run) {
    return this.json(`data/run?${new URLSearchParams({ run })}`);
  }

  results(run) {
    return this.json(`data/results?${new URLSearchParams({ run })}`);
  }

  tables() {
    return this.json("data/sweep");
  }

  async episode(run, number, name) {
    const key = `${run}\0${name}`;
    if (!this.seen.has(key)) {
      this.seen.set(key, this.json(`data/episode?${new URLSearchParams({ run, episode: name })}`));
    }
    return this.seen.get(key);
  }

  async find(run, text, seat) {
    return new Set(await this.json(`data/find?${new URLSearchParams({ run, text, seat })}`));
  }

  growing(run) {
    return this.json(`data/growing?${new URLSearchParams({ run })}`);
  }

  diff(one, other) {
    return this.json(`data/diff?${new URLSearchParams({ one, other })}`);
  }

  async json(where) {
    const reply = await fetch(where);
    if (!reply.ok) throw new Error((await reply.text()) || `${where}: ${reply.status}`);
    return reply.json();
  }
}
