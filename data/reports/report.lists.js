// The lists behind the numbers: answers, and comparisons, a page of rows at a time.
"use strict";
const lists = (() => {
  const { el, count, many, words, fixed, address, here, compare, views } = page;
  const { index, findAnswers, findPairs, ONLY, STATUS, OUTCOMES } = finder;
  const ROWS = 50;
  const VERDICTS = ["unscored", "win", "tie", "loss"];
  let shown = null; // the list that was seen last: an answer leads back to it, and on to its neighbours

  // --- the form above a list

  function choose(label, name, options, filters, all = "all") {
    const known = filters[name] === undefined || options.some(([value]) => value === filters[name]);
    const shown = known ? options : [...options, [filters[name], filters[name]]];
    const rows = [["", all], ...shown].map(([value, text]) =>
      el("option", { value, selected: (filters[name] || "") === value }, text),
    );
    // visible() changes odd names: the value itself is set past it
    rows.forEach((row, number) => {
      row.value = number ? shown[number - 1][0] : "";
    });
    if (options.length < 2 && filters[name] === undefined) return null;
    return el(
      "label",
      null,
      label,
      el("select", { name, change: (event) => refilter(name, event.target.value) }, rows),
    );
  }
  const own = (list) => list.map((name) => [name, words(name)]);
  const exact = (list) => list.map((name) => [name, name]);
  const keyed = (table) => Object.entries(table).map(([name, [text]]) => [name, text]);

  // A changed filter is the same visit: Back leads out of the list.
  function refilter(name, value) {
    const { view, filters } = here();
    const { page: _, ...kept } = filters;
    history.replaceState(null, "", address(view, { ...kept, [name]: value }));
    redraw();
  }
  function searchField(filters) {
    const field = el("input", {
      type: "search",
      autocomplete: "off",
      spellcheck: "false",
      input: (event) => refilter("find", event.target.value),
    });
    field.value = filters.find || "";
    return el(
      "label",
      { class: "find" },
      el("span", null, "Find ", el("small", null, "id, start of prompt or answer; press /")),
      field,
    );
  }
  const LEFT = { raw: "markers", role: "role", pattern: "pattern", control: "A/A control:" };
  function more(filters) {
    return Object.entries(LEFT)
      .filter(([name]) => filters[name] !== undefined)
      .map(([name, label]) =>
        el("button", { type: "button", class: "chip", click: () => refilter(name, "") }, `${label} ${filters[name]} ×`),
      );
  }

  // --- rows

  function head(columns, filters) {
    return el(
      "tr",
      null,
      columns.map(({ name, key, n }) => {
        const sorted = filters.sort === name;
        const down = filters.down === "1";
        const turned = sorted ? (down ? "" : "1") : n ? "1" : "";
        const button = el(
          "button",
          {
            type: "button",
            class: "sort",
            click: () => {
              refilter("down", turned);
              refilter("sort", name);
            },
          },
          name,
        );
        return el(
          "th",
          { scope: "col", class: n ? "n" : null, "aria-sort": sorted ? (down ? "descending" : "ascending") : null },
          key ? button : name,
        );
      }),
    );
  }
  function ordered(rows, columns, filters) {
    const column = columns.find(({ name }) => name === filters.sort);
    if (!column?.key) return rows;
    const keys = new Map(rows.map((n) => [n, column.key(n) ?? null]));
    return [...rows].sort((one, other) => compare(keys.get(one), keys.get(other), filters.down === "1") || one - other);
  }
  function pager(rows, number, filters, view) {
    const last = Math.max(Math.ceil(rows.length / ROWS) - 1, 0);
    if (!last) return null;
    const to = (target, text, kind) =>
      target < 0 || target > last
        ? el("span", { class: "soft" }, text)
        : el("a", { href: address(view, { ...filters, page: target || "" }), class: kind }, text);
    return el(
      "p",
      { class: "pager" },
      to(number - 1, "← earlier", "previous"),
      el(
        "span",
        null,
        `${count(number * ROWS + 1)} to ${count(Math.min((number + 1) * ROWS, rows.length))} of ${count(rows.length)}`,
      ),
      to(number + 1, "later →", "next"),
    );
  }
  function listed(rows, columns, filters, view, label) {
    const number = Math.min(
      Math.max(Math.floor(Number(filters.page)) || 0, 0),
      Math.max(Math.ceil(rows.length / ROWS) - 1, 0),
    );
    const cell = (n, { name, n: numeric, cell: fill, row }) =>
      row
        ? el("th", { scope: "row" }, fill(n))
        : el("td", { class: numeric ? "n" : null, "data-label": name }, fill(n));
    const lines = rows.slice(number * ROWS, (number + 1) * ROWS).map((n) =>
      el(
        "tr",
        null,
        columns.map((column) => cell(n, column)),
      ),
    );
    if (!lines.length) return el("p", { class: "soft" }, "Nothing matches.");
    return [
      el(
        "div",
        { class: "scroll", role: "region", tabindex: "0", "aria-label": label },
        el("table", { class: "list" }, el("thead", null, head(columns, filters)), el("tbody", null, lines)),
      ),
      pager(rows, number, filters, view),
    ];
  }
  const start = (text, none) =>
    el("span", { class: "start", dir: "auto" }, text === null ? el("i", null, none) : text || el("i", null, "(empty)"));

  function answerAddress(data, n, beside) {
    const { answers, prompts, names } = data;
    const prompt = answers.prompt[n];
    return address("answer", {
      subject: names.subjects[answers.subject[n]],
      set: names.sets[prompts.set[prompt]],
      prompt: prompts.prompt[prompt],
      sample: answers.sample[n],
      beside,
    });
  }
  function about({ prompts, names }, prompt) {
    const parts = [
      names.sets[prompts.set[prompt]],
      names.categories[prompts.category[prompt]],
      names.difficulties[prompts.difficulty[prompt]],
    ];
    return el("small", { class: "block" }, parts.filter(Boolean).map(words).join(" · "));
  }

  function answerColumns(data, filters) {
    const { answers, prompts, names } = data;
    const any = (column) => (column || []).some((value) => value !== null);
    const mark = (n) =>
      ({ 1: el("span", { class: "no" }, "break"), 0: "none", [-1]: "unscored" })[answers.broken[n]] || "–";
    const passed = (n) => `${answers.checks[n].filter(([, done]) => done).length} of ${answers.checks[n].length}`;
    return [
      {
        name: "Prompt",
        row: true,
        key: (n) => prompts.id[answers.prompt[n]],
        cell: (n) => [
          el(
            "a",
            { href: answerAddress(data, n, filters.beside) },
            prompts.id[answers.prompt[n]] || prompts.prompt[answers.prompt[n]],
          ),
          about(data, answers.prompt[n]),
        ],
      },
      {
        name: "Subject",
        key: (n) => names.subjects[answers.subject[n]],
        cell: (n) => el("bdi", null, names.subjects[answers.subject[n]]),
      },
      { name: "Answer", cell: (n) => start(answers.start[n], "not in the files") },
      any(answers.raw) && { name: "Markers", n: true, key: (n) => answers.raw[n], cell: (n) => answers.raw[n] ?? "–" },
      any(answers.score) && {
        name: "Rubric",
        n: true,
        key: (n) => answers.score[n],
        cell: (n) => fixed(answers.score[n]),
      },
      any(answers.broken) && {
        name: "Break",
        key: (n) => (answers.broken[n] === null ? null : -answers.broken[n]),
        cell: mark,
      },
      answers.checks?.some((checks) => checks.length) && {
        name: "Checks",
        n: true,
        key: (n) => answers.checks[n].filter(([, done]) => done).length,
        cell: (n) => (answers.checks[n].length ? passed(n) : "–"),
      },
      { name: "Words", n: true, key: (n) => answers.words[n], cell: (n) => answers.words[n] ?? "–" },
    ].filter(Boolean);
  }
  // One judge's verdicts on a comparison as signs: won, tied, lost, none.
  function signs(data, rows) {
    const { verdicts, names } = data;
    const byJudge = new Map();
    rows.forEach((row) => byJudge.set(verdicts.judge[row], [...(byJudge.get(verdicts.judge[row]) || []), row]));
    const sign = (row) =>
      el(
        "span",
        {
          class: `sign ${VERDICTS[verdicts.verdict[row]]}${verdicts.counts[row] ? "" : " left"}`,
          title: VERDICTS[verdicts.verdict[row]] + (verdicts.counts[row] || !verdicts.verdict[row] ? "" : ", left out"),
        },
        "?WTL"[verdicts.verdict[row]],
      );
    return [...byJudge].map(([judge, found]) =>
      el("span", { class: "signs" }, el("bdi", null, names.judges[judge]), " ", found.map(sign)),
    );
  }
  function pairColumns(data, kept) {
    const { answers, pairs, prompts, verdicts, names } = data;
    const wins = (n) => kept.get(n).reduce((sum, row) => sum + [0, 1, 0, -1][verdicts.verdict[row]], 0);
    const beside = (n) => names.subjects[answers.subject[pairs.second[n]]];
    return [
      {
        name: "Prompt",
        row: true,
        key: (n) => prompts.id[pairs.prompt[n]],
        cell: (n) => [
          el(
            "a",
            { href: answerAddress(data, pairs.first[n], beside(n)) },
            prompts.id[pairs.prompt[n]] || prompts.prompt[pairs.prompt[n]],
          ),
          about(data, pairs.prompt[n]),
        ],
      },
      {
        name: "Pair",
        key: (n) => names.pairs[pairs.pair[n]],
        cell: (n) => [
          el("bdi", null, names.subjects[answers.subject[pairs.first[n]]]),
          el("small", { class: "block" }, `against ${beside(n)}`),
        ],
      },
      { name: "Start of the prompt", cell: (n) => start(prompts.start[pairs.prompt[n]], "not in the files") },
      { name: "Wins less losses", n: true, key: wins, cell: (n) => wins(n).toString().replace("-", "−") },
      { name: "Verdicts", cell: (n) => signs(data, kept.get(n)) },
    ];
  }

  // --- the two views

  const top = (heading) => [
    el("p", { class: "over" }, el("a", { class: "back", href: "#" }, "← Report"), el("small", null, " Escape")),
    el("h2", { tabindex: "-1" }, heading),
  ];

  function answersView(data, filters) {
    const { names } = data;
    const [found, told] = findAnswers(data, filters);
    const columns = answerColumns(data, filters);
    const rows = ordered(found, columns, filters);
    shown = { view: "answers", filters, entries: () => rows.map((n) => [n, filters.beside]) };
    return {
      form: [
        choose("Subject", "subject", exact(names.subjects), filters),
        choose("Set", "set", exact(names.sets), filters),
        choose("Category", "category", own(names.categories), filters),
        choose("Difficulty", "difficulty", own(names.difficulties), filters),
        choose("Judge", "judge", exact(names.judges), filters, "any or none"),
        choose("Rubric verdicts", "status", keyed(STATUS), filters, "any or none"),
        choose("Marker", "marker", exact(names.markers), filters),
        choose("Check", "kind", own(names.kinds), filters),
        choose("Only", "only", keyed(ONLY), filters),
        more(filters),
      ],
      told,
      list: listed(rows, columns, filters, "answers", "Answers"),
    };
  }
  function pairsView(data, filters) {
    const { names } = data;
    const kept = findPairs(data, filters);
    const columns = pairColumns(data, kept);
    const rows = ordered([...kept.keys()], columns, filters);
    const beside = (n) => names.subjects[data.answers.subject[data.pairs.second[n]]];
    shown = { view: "pairs", filters, entries: () => rows.map((n) => [data.pairs.first[n], beside(n)]) };
    const verdicts = [...kept.values()].reduce((sum, each) => sum + each.length, 0);
    return {
      form: [
        choose("Pair", "pair", own(names.pairs), filters),
        choose("Judge", "judge", exact(names.judges), filters),
        choose("Verdicts", "verdict", keyed(OUTCOMES), filters),
        choose("Category", "category", own(names.categories), filters),
        choose("Set", "set", exact(names.sets), filters),
        more(filters),
      ],
      told: `${many(verdicts, "verdict")} on ${many(rows.length, "comparison")}`,
      list: listed(rows, columns, filters, "pairs", "Comparisons"),
    };
  }
  const VIEWS = { answers: answersView, pairs: pairsView };
  const parts = { form: null, told: null, list: null };

  // What stands in the list anew; the form keeps its focus.
  async function redraw() {
    const { view, filters } = here();
    const drawn = VIEWS[view](await index(), filters);
    parts.told.textContent = drawn.told;
    parts.list.replaceChildren(...[drawn.list].flat(Infinity).filter(Boolean));
    const focus = parts.form.contains(document.activeElement) ? document.activeElement.name : null;
    if (document.activeElement?.type === "search") return;
    parts.form.replaceChildren(...[drawn.form, searchField(filters)].flat(Infinity).filter(Boolean));
    if (focus) parts.form.querySelector(`[name="${CSS.escape(focus)}"]`)?.focus();
  }
  const view = (name, heading) => async (filters) => {
    const drawn = VIEWS[name](await index(), filters);
    parts.form = el(
      "form",
      { class: "filters", submit: (event) => event.preventDefault() },
      drawn.form,
      searchField(filters),
    );
    parts.told = el("p", { class: "told", role: "status", "aria-live": "polite" }, drawn.told);
    parts.list = el("div", null, drawn.list);
    return [top(heading), parts.form, parts.told, parts.list];
  };
  views.answers = view("answers", "Answers");
  views.pairs = view("pairs", "Comparisons");

  return { answerAddress, top, last: () => shown };
})();
