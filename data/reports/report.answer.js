// One answer with all that is known of it, and another subject's answer to the same prompt beside it.
"use strict";
(() => {
  const { el, visible, count, many, words, fixed, item, address, views, known } = page;
  const { index } = finder;
  const { answerAddress, last } = lists;
  const CUT = 4000;
  const MARKS = 500; // more of them in one text would make the page slow and tell nothing

  // --- texts of models

  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\\/-]/g, "\\$&");
  // A regex for all texts that markers hit, the longest first; null where there are none.
  function hitPattern(hits) {
    const texts = [...new Set(Object.values(hits || {}).flat())].sort((one, other) => other.length - one.length);
    return texts.length ? new RegExp(texts.map(escaped).join("|"), "gi") : null;
  }
  function marked(text, pattern) {
    if (!pattern) return [text];
    const parts = [];
    let done = 0;
    for (const hit of text.matchAll(pattern)) {
      parts.push(text.slice(done, hit.index), el("mark", null, hit[0]));
      done = hit.index + hit[0].length;
      if (parts.length >= 2 * MARKS) break;
    }
    return [...parts, text.slice(done)];
  }
  // A text as it is; a long one is cut until it is asked for.
  function said(text, label, hits = null) {
    if (!text.trim()) return el("p", { class: "soft" }, text ? "(white space only)" : "(empty)");
    const pattern = hitPattern(hits);
    const box = el("div", { class: "said", dir: "auto", tabindex: "0", role: "group", "aria-label": label });
    const fill = (part) =>
      box.replaceChildren(...marked(part, pattern).map((each) => (each instanceof Node ? each : visible(each))));
    if (text.length <= CUT + 200) {
      fill(text);
      return box;
    }
    fill(text.slice(0, CUT).replace(/[\ud800-\udbff]$/, ""));
    const button = el(
      "button",
      {
        type: "button",
        class: "show",
        click: () => {
          fill(text);
          button.remove();
          box.focus();
        },
      },
      `Show all ${count(text.length)} characters`,
    );
    return [box, button];
  }
  const soft = (...parts) => el("p", { class: "soft" }, parts);
  const fold = (title, ...content) => el("details", null, el("summary", null, title), content);
  const part = (title, ...content) => el("section", null, el("h4", null, title), content);

  // --- what was measured

  function markers(answer) {
    if (answer.markers === null) return null;
    const found = Object.keys(answer.markers);
    return part(
      `Markers: ${found.length}`,
      found.length
        ? el(
            "ul",
            { class: "chips" },
            found.map((name) => el("li", null, el("code", null, name))),
          )
        : soft("None of the markers."),
    );
  }
  // good, bad or unknown (null), in words and in the colour of each
  function outcome(good, [yes, no, unknown]) {
    if (good === null) return el("span", { class: "soft" }, unknown);
    return el("span", { class: good ? "yes" : "no" }, good ? yes : no);
  }
  function checks(answer) {
    if (!answer.checks.length) return null;
    const sign = (passed) => outcome(passed, ["✓ pass", "✗ fail", "could not run"]);
    return part(
      "Checks",
      el(
        "ul",
        { class: "plain" },
        answer.checks.map(({ kind, passed, detail }) =>
          el("li", null, sign(passed), " ", words(kind), detail ? el("small", null, ` ${detail}`) : null),
        ),
      ),
    );
  }
  function breaks(answer) {
    if (!answer.breaks.length) return null;
    const kept = (broken) => outcome(broken === null ? null : !broken, ["no break", "break", "unscored"]);
    return part(
      "Character",
      answer.breaks.map((found) =>
        el(
          "div",
          { class: "judged" },
          el(
            "p",
            null,
            el("strong", null, el("bdi", null, found.judge || "patterns")),
            " ",
            kept(found.broken),
            found.reason ? ` ${found.reason}` : "",
            (found.matched || []).map((name) => [" ", el("code", null, name)]),
          ),
          reply(found),
        ),
      ),
    );
  }
  const reply = ({ raw, calls }) =>
    raw ? fold("the judge's reply as it came", said(raw, "reply of the judge"), digests(calls)) : digests(calls);

  function components(found) {
    const names = [
      ...known.components.filter((name) => Object.hasOwn(found, name)),
      ...Object.keys(found).filter((name) => !known.components.includes(name)),
    ];
    const score = (value) => (value !== null && typeof value === "object" ? value : { score: value });
    return el(
      "dl",
      { class: "components" },
      names.map((name) => {
        const { score: given, justification } = score(found[name]);
        return [
          el("dt", null, words(name)),
          el(
            "dd",
            null,
            el("b", null, given ?? "–"),
            justification ? el("span", { dir: "auto" }, ` ${justification}`) : null,
          ),
        ];
      }),
    );
  }
  function rubric(answer) {
    if (!answer.rubric.length) return null;
    return part(
      "Rubric",
      answer.rubric.map((found) =>
        el(
          "div",
          { class: "judged" },
          el(
            "p",
            null,
            el("strong", null, el("bdi", null, found.judge)),
            found.repeat ? ` repeat ${found.repeat}` : "",
            found.source === "recorded" ? " recorded" : "",
            " ",
            found.status === "scored"
              ? el("b", null, fixed(found.overall))
              : el("span", { class: "no" }, `unscored: ${found.reason}`),
            el(
              "small",
              null,
              found.judge_overall === null ? "" : ` own overall ${fixed(found.judge_overall)}`,
              found.recorded_overall === null ? "" : `, as published ${fixed(found.recorded_overall)}`,
            ),
          ),
          Object.keys(found.components).length ? components(found.components) : null,
          (found.critical_failures || []).length
            ? el("p", { class: "no" }, `Critical: ${found.critical_failures.join("; ")}`)
            : null,
          reply(found),
        ),
      ),
    );
  }

  // --- comparisons

  const OWN = { first: ["win", "prefers"], second: ["loss", "prefers"], tie: ["tie", "calls it a tie"] };
  function verdict(row, first, second) {
    const outcome =
      row.verdict === null
        ? el("span", { class: "no" }, `unscored: ${row.reason}`)
        : [
            OWN[row.verdict][1],
            " ",
            row.verdict === "tie"
              ? null
              : el("strong", null, el("bdi", null, row.verdict === "first" ? first : second)),
          ];
    const shown = row.order === "first_second" ? first : second;
    const axes = Object.entries(row.axes).map(
      ([axis, choice]) => `${words(axis)}: ${choice === "tie" ? "tie" : choice === "first" ? first : second}`,
    );
    return el(
      "div",
      { class: "judged" },
      el(
        "p",
        null,
        el("strong", null, el("bdi", null, row.judge)),
        row.repeat ? ` repeat ${row.repeat}` : "",
        " ",
        outcome,
        el(
          "small",
          null,
          ` ${shown} stood first`,
          row.verdict !== null && !row.counts ? "; left out, as the other order has no verdict" : "",
          row.source === "recorded" ? "; recorded" : "",
        ),
      ),
      axes.length ? el("p", { class: "soft" }, axes.join(" · ")) : null,
      row.explanation ? said(row.explanation, `explanation of ${row.judge}`) : null,
      reply(row),
    );
  }
  async function compared(data, here, other) {
    const { pairs, answers, names } = data;
    const name = (n) => names.subjects[answers.subject[n]];
    const mine = (pairs.pair || []).map((_, n) => n).filter((n) => [pairs.first[n], pairs.second[n]].includes(here));
    const shown = other === null ? mine : mine.filter((n) => [pairs.first[n], pairs.second[n]].includes(other));
    const blocks = await Promise.all(
      shown.map(async (n) => {
        const [first, second] = [name(pairs.first[n]), name(pairs.second[n])];
        const rows = await item("pairs", n);
        const beside = pairs.first[n] === here ? second : first;
        const open = other !== null ? null : el("a", { href: answerAddress(data, here, beside) }, "side by side");
        const wins = (kind) => rows.filter((row) => row.verdict === kind).length;
        const unscored = wins(null) ? `, ${wins(null)} unscored` : "";
        const told = ` ${wins("first")} won, ${wins("tie")} tied, ${wins("second")} lost${unscored}`;
        const list = rows.map((row) => verdict(row, first, second));
        return el(
          "div",
          { class: "contest" },
          el(
            "p",
            null,
            el("strong", null, el("bdi", null, first)),
            " against ",
            el("strong", null, el("bdi", null, second)),
            el("small", null, told),
            " ",
            open,
          ),
          list,
        );
      }),
    );
    return blocks.length ? part("Comparisons", blocks) : null;
  }

  // --- where it comes from

  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const command = (text) => el("pre", { tabindex: "0" }, el("code", null, text));
  function digests(calls) {
    return calls?.length
      ? el(
          "p",
          { class: "calls" },
          `${many(calls.length, "call")}: `,
          calls.map((digest, n) => [n ? ", " : "", el("code", null, digest)]),
        )
      : null;
  }
  function lineage(subject, prompt, answer) {
    if (answer.answer === null) return null;
    const file = `results/evaluations/${known.evaluation}/responses/${subject}.parquet`;
    const target = file.split("/").map(encodeURIComponent).join("/");
    return part(
      "Where it comes from",
      digests(answer.calls),
      answer.calls?.length
        ? command(`python scripts/trace.py --call ${answer.calls.at(-1)}`)
        : soft("No calls: the answer was recorded."),
      command(`python scripts/trace.py --row ${prompt} --in ${quoted(file)}`),
      el("p", null, el("a", { href: `../../provenance/lineage.html#${target}` }, "The file in the study's lineage")),
    );
  }

  // --- the view

  function meta(data, n, answer) {
    const { answers } = data;
    const parts = [
      answers.words[n] === null ? null : many(answers.words[n], "word"),
      answer.completion_tokens ? many(answer.completion_tokens, "token") : null,
      answer.finish_reason === "length"
        ? "cut off at the token limit"
        : answer.finish_reason === "recorded"
          ? "recorded"
          : null,
      answer.system ? "system prompt" : null,
      answers.sample[n] ? `sample ${answers.sample[n]}` : null,
    ];
    return el("p", { class: "meta" }, parts.filter(Boolean).join(" · "));
  }
  async function column(data, n, prompt) {
    const answer = await item("answers", n);
    const subject = data.names.subjects[data.answers.subject[n]];
    const text =
      answer.answer === null
        ? soft("The answer is not in this evaluation's files, only what was said of it.")
        : said(answer.answer, `answer of ${subject}`, answer.markers);
    return el(
      "article",
      { class: "answer" },
      el("h3", null, el("bdi", null, subject), el("small", null, ` ${known.conditions[subject] || ""}`)),
      meta(data, n, answer),
      text,
      markers(answer),
      checks(answer),
      breaks(answer),
      rubric(answer),
      lineage(subject, prompt, answer),
    );
  }
  function besides(data, n, beside) {
    const { answers, names } = data;
    const same = answers.prompt
      .map((prompt, other) => [prompt, other])
      .filter(([prompt, other]) => prompt === answers.prompt[n] && answers.subject[other] !== answers.subject[n]);
    const subjects = [...new Set(same.map(([, other]) => names.subjects[answers.subject[other]]))];
    if (!subjects.length) return null;
    const rows = ["", ...subjects].map((name) => el("option", { selected: name === (beside || "") }, name || "nobody"));
    rows.forEach((row, number) => {
      row.value = ["", ...subjects][number];
    });
    return el(
      "label",
      { class: "besides" },
      "Beside it ",
      el(
        "select",
        {
          change: (event) => {
            location.hash = answerAddress(data, n, event.target.value);
          },
        },
        rows,
      ),
    );
  }
  // Back to the list and on to its neighbours, where the answer was opened from one.
  function trail(data, n, beside) {
    const list = last();
    const steps = list ? list.entries() : [];
    const exact = steps.findIndex(([other, next]) => other === n && next === beside);
    const at = exact < 0 ? steps.findIndex(([other]) => other === n) : exact;
    const to = (target, text, kind) =>
      at >= 0 && steps[target] ? el("a", { href: answerAddress(data, ...steps[target]), class: kind }, text) : null;
    const back = list ? address(list.view, list.filters) : "#";
    return el(
      "p",
      { class: "over trail" },
      el("a", { class: "back", href: back }, list ? "← List" : "← Report"),
      el("small", null, " Escape"),
      to(at - 1, "previous (k)", "previous"),
      to(at + 1, "next (j)", "next"),
      at >= 0 ? el("small", null, `${count(at + 1)} of ${count(steps.length)}`) : null,
    );
  }
  views.answer = async (filters) => {
    const data = await index();
    const { answers, prompts, names } = data;
    const find = (subject) => data.places.get([subject, filters.set, filters.prompt, filters.sample || "0"].join("\n"));
    const n = find(filters.subject);
    if (n === undefined)
      return [
        lists.top("No such answer"),
        soft("This evaluation holds no answer of that subject, set, prompt and sample."),
      ];
    const other = filters.beside && filters.beside !== filters.subject ? (find(filters.beside) ?? null) : null;
    const prompt = answers.prompt[n];
    const about = [
      names.sets[prompts.set[prompt]],
      names.categories[prompts.category[prompt]],
      names.difficulties[prompts.difficulty[prompt]],
    ].filter(Boolean);
    const text = await item("prompts", prompt);
    const shown = await Promise.all(
      [n, ...(other === null ? [] : [other])].map((each) => column(data, each, filters.prompt)),
    );
    return [
      trail(data, n, filters.beside),
      el("h2", { tabindex: "-1" }, el("bdi", null, prompts.id[prompt] || filters.prompt)),
      el("p", { class: "meta" }, about.map(words).join(" · ")),
      besides(data, n, filters.beside),
      el(
        "section",
        { class: "prompt" },
        el("h3", null, "Prompt"),
        text === null ? soft("The prompt is not in this evaluation's files.") : said(text, "prompt"),
      ),
      el("div", { class: "sides" }, shown),
      await compared(data, n, other),
    ];
  };
  page.start();
})();
