// The lineage page: shows what the address names, and finds artefacts. Text goes into the page as text nodes only.
"use strict";
(() => {
  const { files, jobs, code } = JSON.parse(document.getElementById("data").textContent);
  const detail = document.getElementById("detail");
  const search = document.getElementById("search");
  const list = document.getElementById("list");
  const narrow = window.matchMedia("(max-width: 860px)");
  const byPath = new Map(files.map((file, number) => [file.path, number]));
  const readers = files.map(() => []);
  jobs.forEach((job, number) => job.inputs.forEach(([, file]) => {
    if (readers[file].at(-1) !== number) readers[file].push(number);
  }));
  const made = (number) => files[number].job !== undefined;
  document.getElementById("unscripted").remove();

  // --- text and elements

  // Signs that a reader would not see, or that turn the direction of what follows, are shown as their code.
  const HIDDEN =
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]/gu;
  const escaped = (sign) => `\\u${sign.codePointAt(0).toString(16).padStart(4, "0")}`;
  const visible = (text) => String(text).replace(HIDDEN, escaped);

  function el(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== null) element.setAttribute(name, value);
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined) element.append(child instanceof Node ? child : visible(child));
    }
    return element;
  }
  function current(element, on) {
    if (on) element.setAttribute("aria-current", "true");
    else element.removeAttribute("aria-current");
  }
  const soft = (...words) => el("p", { class: "soft" }, words);
  const code12 = (digest) => el("code", { title: visible(digest) }, `${digest.slice(0, 12)}…`);
  const count = (number) => Number(number).toLocaleString("en");
  const many = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
  const empty = (value) => !value || !Object.keys(value).length;

  function size(bytes) {
    if (bytes < 1000) return many(bytes, "byte");
    const units = ["kB", "MB", "GB", "TB"];
    let [value, unit] = [bytes / 1000, 0];
    while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
    return `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]} (${many(bytes, "byte")})`;
  }
  function duration(seconds) {
    if (seconds < 120) return `${seconds < 10 ? Number(seconds.toFixed(1)) : Math.round(seconds)} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }
  const time = (text) => text.replace("T", " ").replace("+00:00", " UTC");

  // --- addresses of artefacts and files

  const encoded = (part) => encodeURIComponent(part.replace(/[\ud800-\udfff]/gu, "\ufffd"));
  const address = (path) => path.split("/").map(encoded).join("/");
  const pathLink = (path) => el("a", { href: `#${address(path)}` }, path);
  const link = (number) => pathLink(files[number].path);

  function decoded(hash) {
    try { return decodeURIComponent(hash.slice(1)); } catch { return hash.slice(1); }
  }
  // The page lies in results/provenance/.
  function beside(path, words) {
    const known = path.startsWith("results/") && !path.split("/").includes("..");
    return known ? el("a", { href: `../${address(path.slice("results/".length))}` }, words) : el("span", null, words);
  }

  // --- what lies before and after

  function walk(start, step) {
    const seen = new Set(start);
    for (const number of seen) step(number).forEach((next) => seen.add(next));
    return seen;
  }
  const parents = (number) => jobs[number].inputs.map(([, file]) => file).filter(made).map((file) => files[file].job);
  const children = (number) => jobs[number].outputs.flatMap((file) => readers[file]);
  const makers = (numbers) => new Set(numbers.filter(made).map((number) => files[number].job));
  const below = (folder) => files.flatMap((file, number) => (made(number) && file.path.startsWith(folder) ? number : []));

  function usage(numbers) {
    const sum = { jobs: 0, calls: 0, tokens: 0, usd: 0, unpriced: 0, seconds: 0 };
    for (const number of numbers) {
      const { usage: used, run, origin } = jobs[number];
      sum.jobs += 1;
      sum.seconds += (origin || run).seconds;
      if (!used) continue;
      sum.calls += used.calls_made + used.calls_replayed;
      sum.tokens += used.prompt_tokens + used.completion_tokens;
      sum.usd += used.usd || 0;
      sum.unpriced += used.calls_without_price || 0;
    }
    return sum;
  }
  function cost(sum) {
    if (!sum.calls) return "–";
    if (sum.unpriced === sum.calls) return "no price";
    const usd = `${sum.usd.toFixed(sum.usd && sum.usd < 0.01 ? 4 : 2)} USD`;
    return sum.unpriced ? `${usd}, ${count(sum.unpriced)} without price` : usd;
  }

  // --- parts of the detail

  const part = (title, ...content) => el("section", null, el("h3", null, title), content);
  const pill = (text, kind = "") => el("span", { class: `pill ${kind}` }, text);
  const json = (value) => el("pre", { tabindex: "0" }, el("code", null, JSON.stringify(value, null, 2)));

  function facts(...rows) {
    const known = rows.filter(([, value]) => value !== null && value !== undefined);
    return el("dl", { class: "facts" }, known.map(([term, ...value]) => [el("dt", null, term), el("dd", null, value)]));
  }
  function fold(title, note, ...content) {
    return el("details", null, el("summary", null, title, " ", el("small", null, note)), content);
  }
  function links(items, most = 12) {
    const rows = items.map((item) => el("li", null, item));
    if (rows.length <= most + 2) return el("ul", { class: "links" }, rows);
    const rest = fold(`${count(rows.length - most)} more`, "", el("ul", { class: "links" }, rows.slice(most)));
    return [el("ul", { class: "links" }, rows.slice(0, most)), rest];
  }
  // The first column names the row; `numbers` says whether the others hold numbers.
  function table(caption, heads, rows, numbers) {
    const kind = { class: numbers ? "n" : null };
    const head = heads.map((name, column) => el("th", { scope: "col", ...(column ? kind : {}) }, name));
    const line = ([name, ...cells]) =>
      el("tr", null, el("th", { scope: "row" }, name), cells.map((cell) => el("td", kind, cell)));
    return el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption },
      el("table", null, el("caption", { class: "hidden" }, caption), el("thead", null, el("tr", null, head)),
        el("tbody", null, rows.map(line))));
  }
  function costs(first, rows) {
    const line = ([name, numbers]) => {
      const sum = usage(numbers);
      const asked = (number) => (sum.calls ? count(number) : "–");
      return [name, count(sum.jobs), asked(sum.calls), asked(sum.tokens), cost(sum), duration(sum.seconds)];
    };
    const heads = [first, "Jobs", "Calls", "Tokens", "Cost", "Time"];
    return table("Calls, tokens, cost and time", heads, rows.map(line), true);
  }

  function madeFrom(job) {
    if (!job.inputs.length) return soft("It reads no file: what it needs comes with its software.");
    return links(job.inputs.map(([name, file, digest]) => [
      link(file), el("small", null, ` ${name}`),
      digest ? el("span", { class: "stale" }, " another version was read: ", code12(digest)) : null,
    ]));
  }
  function usedFor(number) {
    if (!readers[number].length) return soft("No job of this study reads it.");
    return links(readers[number].map((reader) => {
      const { rule, outputs } = jobs[reader];
      const more = outputs.length > 1 ? ` and ${many(outputs.length - 1, "more file")}` : "";
      return [link(outputs[0]), el("small", null, `${more} by ${rule}`)];
    }));
  }
  function calls(number) {
    const { usage: used } = jobs[number];
    return [
      used && facts(["calls made", count(used.calls_made)], ["replayed", `${count(used.calls_replayed)} out of the ledger`],
        ["prompt tokens", count(used.prompt_tokens)], ["answer tokens", count(used.completion_tokens)]),
      costs("", [["this job", [number]], ["with all before it", walk([number], parents)]]),
    ];
  }
  function run({ run: now, origin }) {
    const done = origin || now;
    const state = done.workflow;
    return [
      origin ? soft(`The files were taken from the store on ${time(now.finished)}. This is the run that made them:`) : null,
      facts(["started", time(done.started)], ["finished", time(done.finished)], ["took", duration(done.seconds)],
        ["machine", done.host], ["threads", done.threads], ["Python", done.python], ["Slurm job", done.slurm_job],
        ["workflow", state && [code12(state.commit), state.dirty ? " with uncommitted changes" : ""]]),
    ];
  }
  function settings(job) {
    const sources = Object.entries(code[job.code]);
    const digests = sources.map(([name, digest]) => [name, el("code", null, digest)]);
    const counted = (values, noun) => many(Object.keys(values).length, noun);
    return [
      fold("Settings", "the recipe: what decides the result", json(job.recipe)),
      empty(job.seeds) ? null : fold("Seeds", counted(job.seeds, "seed"), json(job.seeds)),
      empty(job.models) ? null : fold("Models", counted(job.models, "model"), json(job.models)),
      fold("Code", `${many(sources.length, "file")}, digest ${job.code.slice(0, 12)}…`,
        table("Code files and their digests", ["File", "Digest"], digests)),
      empty(job.software) ? null : fold("Software", counted(job.software, "package"), facts(...Object.entries(job.software))),
      empty(job.facts) ? null : fold("What the job counted", "", json(job.facts)),
      empty(job.accepted) ? null : fold("Accepted", "kept after a change of code", json(job.accepted)),
    ];
  }

  // --- views: what stands in the detail

  function heading(path, ...pills) {
    const cut = path.replace(/\/$/, "").lastIndexOf("/") + 1;
    const folder = path.slice(0, cut);
    const shown = folder.startsWith("results/") && folder !== "results/" ? pathLink(folder) : folder;
    return el("div", { class: "head" }, el("p", { class: "over path" }, shown),
      el("h2", { tabindex: "-1", id: "title" }, path.slice(cut)), el("p", { class: "pills" }, pills));
  }
  const bytes = (file) => [["sha256", el("code", null, file.sha256)], ["size", size(file.size)]];

  function artefact(number) {
    const file = files[number];
    const job = jobs[file.job];
    const together = job.outputs.filter((other) => other !== number);
    const wildcards = Object.entries(job.wildcards).map(([name, value]) => `, ${name} ${value}`);
    return [
      heading(file.path, pill(job.rule), job.reused ? pill("reused from the store", "good") : null,
        empty(job.accepted) ? null : pill("accepted after a change of code", "note")),
      part("File",
        facts(...bytes(file), ["made by", job.rule, wildcards], ["build key", el("code", null, job.key)],
          ["open", beside(file.path, "the file"), " · ", beside(job.record, "its record")]),
        together.length ? fold("Made together with it", many(together.length, "file"), links(together.map(link), 40)) : null),
      part("Made from", madeFrom(job)),
      part("Used for", usedFor(number)),
      part("Calls and cost", calls(file.job)),
      part("Run", run(job)),
      part("How it was made", settings(job)),
      soft("The same in a terminal, down to single calls:"),
      el("pre", { tabindex: "0" }, el("code", null, `python scripts/trace.py '${file.path.replaceAll("'", "'\\''")}'`)),
    ];
  }
  function source(number) {
    const file = files[number];
    return [heading(file.path, pill("source file")), part("File", facts(...bytes(file))), part("Used for", usedFor(number))];
  }
  function folder(path, inside) {
    const own = makers(inside);
    const read = new Set([...own].flatMap((job) => jobs[job].inputs.map(([, file]) => file)));
    const from = [...read].filter((file) => !own.has(files[file].job));
    return [
      heading(path, pill(many(inside.length, "artefact")), pill(many(own.size, "job"))),
      part("Artefacts", links(inside.map(link), 40)),
      part("Made from", from.length ? links(from.map(link), 20) : soft("No file from outside this folder.")),
      part("Calls and cost", costs("", [["this folder", own], ["with all before it", walk(own, parents)]])),
    ];
  }
  function overview() {
    const rules = new Map();
    jobs.forEach(({ rule }, number) => rules.set(rule, [...(rules.get(rule) || []), number]));
    return [
      el("div", { class: "head" }, el("h2", { tabindex: "-1", id: "title" }, "The whole study")),
      soft("Choose a box of the map or an artefact of the list. The page then shows what it was made from, what it is used ",
        "for, and how it was made. Press / to search."),
      part("Jobs by rule", costs("Rule", [...rules, ["all", jobs.keys()]])),
    ];
  }
  function unknown(path) {
    return [heading(path, pill("not in this study", "fail")),
      soft("No artefact and no source file of this study has this path. The search finds parts of a path, rules and digests.")];
  }
  function view(path, number, inside) {
    if (!path) return overview();
    if (number !== undefined) return made(number) ? artefact(number) : source(number);
    return inside.length ? folder(path, inside) : unknown(path);
  }

  // --- the map

  const boxes = [...document.querySelectorAll("[data-box]")];
  const lines = [...document.querySelectorAll(".line")];

  function mark(here) {
    const boxesOf = (found) => new Set([...found].flatMap((job) => jobs[job].outputs).map((number) => files[number].box));
    const own = new Set(here.map((number) => files[number].box));
    const before = boxesOf(walk(makers(here), parents));
    const after = boxesOf(walk(here.flatMap((number) => readers[number]), children));
    const kindOf = (box) => (own.has(box) ? "here" : before.has(box) ? "before" : after.has(box) ? "after" : "");
    const kinds = boxes.map((_, box) => kindOf(box));
    document.querySelector(".map svg").classList.toggle("chosen", here.length > 0);
    boxes.forEach((box, number) => {
      box.setAttribute("class", `box ${kinds[number]}`);
      current(box, kinds[number] === "here");
    });
    for (const line of lines) {
      const [start, end] = [kinds[line.dataset.start], kinds[line.dataset.end]];
      const back = start === "before" && ["before", "here"].includes(end) ? "before" : "";
      const on = ["here", "after"].includes(start) && end === "after" ? "after" : "";
      line.setAttribute("class", `line ${back || on}`);
      // lines share lanes: the marked ones are drawn over the others
      if (back || on) boxes[0].before(line);
    }
  }

  // --- what the address names

  const entries = [...list.querySelectorAll("li")].map((item) => {
    const path = decoded(item.firstElementChild.getAttribute("href"));
    const { sha256, job: number } = files[byPath.get(path)];
    const { rule, key } = number === undefined ? { rule: "source file", key: "" } : jobs[number];
    return { item, path, link: item.firstElementChild, text: `${path}\n${rule}`.toLowerCase(), digests: [sha256, key] };
  });
  const study = document.title;

  function show(moved) {
    const path = decoded(location.hash);
    const number = byPath.get(path);
    const inside = number === undefined && path.endsWith("/") ? below(path) : [];
    detail.replaceChildren(...view(path, number, inside).flat(Infinity).filter(Boolean));
    mark(number === undefined ? inside : [number]);
    for (const entry of entries) current(entry.link, entry.path === path);
    document.title = path ? `${visible(path)} · ${study}` : study;
    if (path || moved) reveal(path, moved);
  }
  function reveal(path, moved) {
    const title = document.getElementById("title");
    title.focus({ preventScroll: true });
    const { top, bottom } = title.getBoundingClientRect();
    const unseen = !moved || narrow.matches || top < 0 || bottom > window.innerHeight;
    if (path && unseen) detail.scrollIntoView({ block: "start" });
    const chosen = list.querySelector("a[aria-current]");
    if (!chosen) return;
    chosen.closest("details").open = true;
    const [inner, outer] = [chosen.getBoundingClientRect(), list.getBoundingClientRect()];
    const visibleThere = inner.top >= outer.top && inner.bottom <= outer.bottom;
    if (!narrow.matches && !visibleThere) list.scrollTop += inner.top - outer.top - outer.height / 3;
  }

  // --- search

  const DIGEST = /^[0-9a-f]{6,64}$/;
  const groups = [...document.querySelectorAll("[data-group]")].map((group) => ({ group, open: group.open }));

  function filter() {
    const terms = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const starts = (term, digests) => DIGEST.test(term) && digests.some((digest) => digest.startsWith(term));
    for (const { item, text, digests } of entries) {
      item.hidden = !terms.every((term) => text.includes(term) || starts(term, digests));
    }
    for (const { group, open } of groups) {
      group.hidden = !group.querySelector("li:not([hidden])");
      group.open = terms.length ? !group.hidden : open;
    }
    const matches = entries.filter(({ item }) => !item.hidden).length;
    const told = terms.length ? `${many(matches, "file")} of ${count(entries.length)}` : "";
    document.getElementById("found").textContent = told;
    document.getElementById("none").hidden = matches > 0;
  }
  const shown = () => entries.map((entry) => entry.link).filter((each) => each.offsetParent !== null);

  function step(event) {
    const reachable = shown();
    const next = reachable.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    event.preventDefault();
    (next < 0 ? search : reachable[Math.min(next, reachable.length - 1)] || search).focus();
  }
  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const searching = document.activeElement === search;
    if (event.key === "/" && !searching) {
      event.preventDefault();
      search.select();
    } else if (event.key === "Escape" && searching) {
      search.value = "";
      filter();
    } else if (["ArrowDown", "ArrowUp"].includes(event.key) && (searching || document.activeElement.matches(".list li a"))) {
      step(event);
    }
  }

  search.addEventListener("input", filter);
  search.form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (search.value.trim()) shown()[0]?.click();
  });
  document.addEventListener("keydown", press);
  window.addEventListener("hashchange", () => show(true));
  window.addEventListener("beforeprint", () => detail.querySelectorAll("details").forEach((each) => { each.open = true; }));
  show(false);
})();
