// Which answers and comparisons an address asks for: filters over the index.
"use strict";
const finder = (() => {
  const { block, known, many } = page;

  // --- the index, with what is looked up often

  let table = null;
  async function index() {
    if (table) return table;
    const found = await block("index");
    const { answers, prompts, pairs, names } = found;
    const places = new Map();
    (answers.prompt || []).forEach((prompt, number) => {
      const key = [
        names.subjects[answers.subject[number]],
        names.sets[prompts.set[prompt]],
        prompts.prompt[prompt],
        answers.sample[number],
      ];
      places.set(key.join("\n"), number);
    });
    table = {
      ...found,
      places,
      scoresOf: grouped(found.scores.answer, (answers.prompt || []).length),
      verdictsOf: grouped(found.verdicts.pair, (pairs.pair || []).length),
    };
    return table;
  }
  // For each of `size` owners the numbers of its rows; `owners` are sorted.
  function grouped(owners = [], size) {
    const groups = Array.from({ length: size }, () => []);
    owners.forEach((owner, number) => groups[owner].push(number));
    return groups;
  }

  // --- which rows of the index an address asks for

  const range = (column) => (column || []).map((_, number) => number);
  // Says whether a code stands for the wanted name; a name that nothing has matches nothing.
  function wanted(names, name) {
    if (name === undefined) return () => true;
    const code = names.indexOf(name);
    return (found) => found === code && code >= 0;
  }
  function promptFilter({ prompts, names }, filters) {
    const set = wanted(names.sets, filters.set);
    const category = wanted(names.categories, filters.category);
    const difficulty = wanted(names.difficulties, filters.difficulty);
    const role = (prompt) => !filters.role || known.roles[names.sets[prompts.set[prompt]]] === filters.role;
    return (prompt) =>
      set(prompts.set[prompt]) &&
      category(prompts.category[prompt]) &&
      difficulty(prompts.difficulty[prompt]) &&
      role(prompt);
  }
  function textFilter(text) {
    const terms = (text || "").toLowerCase().split(/\s+/).filter(Boolean);
    return (...texts) =>
      terms.every((term) => texts.some((each) => each !== null && String(each).toLowerCase().includes(term)));
  }

  // The test that an address names out of a table of [words, test]; undefined where it names none.
  const pick = (tests, name) => (Object.hasOwn(tests, name ?? "") ? tests[name][1] : undefined);

  // A check is [kind, passed]; passed is null where it could not be run.
  const CHECKS = {
    checked: ["with checks", ([, passed]) => passed !== null],
    failed: ["with a failed check", ([, passed]) => passed === false],
    unrun: ["with a check that could not run", ([, passed]) => passed === null],
  };
  const ONLY = {
    marked: ["with a marker", ({ raw }, n) => raw[n] > 0],
    truncated: ["truncated", ({ truncated }, n) => truncated[n] === 1],
    empty: ["empty", ({ words: lengths }, n) => lengths[n] === 0],
    broken: ["out of character", ({ broken }, n) => broken[n] === 1],
    watched: ["looked at for breaks", ({ broken }, n) => broken[n] !== null],
    unread: ["with no verdict on breaks", ({ broken }, n) => broken[n] === -1],
    ...Object.fromEntries(
      Object.entries(CHECKS).map(([name, [text, stays]]) => [name, [text, ({ checks }, n) => checks[n].some(stays)]]),
    ),
  };
  const STATUS = {
    judged: ["any", () => true],
    scored: ["scored", ({ scored }, n) => scored[n] === 1],
    unscored: ["unscored", ({ scored }, n) => scored[n] === 0],
    said: ["with an overall of the judge's own", ({ said }, n) => said[n] === 1],
    critical: ["scored, with a critical failure", ({ scored, critical }, n) => scored[n] === 1 && critical[n] === 1],
  };

  // What is counted beside answers where a filter asks for it: their rubric verdicts, or their checks.
  function counted(rows, found, noun) {
    return `${many(
      rows.reduce((sum, n) => sum + found(n).length, 0),
      noun,
    )} on ${many(rows.length, "answer")}`;
  }
  // Answers that stay, and how many these are in words.
  function findAnswers(data, filters) {
    const { answers, scores, names, scoresOf, prompts } = data;
    const subject = wanted(names.subjects, filters.subject);
    const prompt = promptFilter(data, filters);
    const judge = wanted(names.judges, filters.judge);
    const status = pick(STATUS, filters.status) || STATUS.judged[1];
    const judged = filters.status || filters.judge;
    const verdicts = (n) => scoresOf[n].filter((row) => judge(scores.judge[row]) && status(scores, row));
    const only = pick(ONLY, filters.only) || (() => true);
    const marker = filters.marker === undefined ? null : names.markers.indexOf(filters.marker);
    const pattern = filters.pattern === undefined ? null : names.patterns.indexOf(filters.pattern);
    const kind = wanted(names.kinds, filters.kind);
    const run = pick(CHECKS, filters.only) || CHECKS.checked[1];
    const asked = filters.kind !== undefined || pick(CHECKS, filters.only);
    const checks = (n) => answers.checks[n].filter((check) => kind(check[0]) && run(check));
    const said = textFilter(filters.find);
    const stays = (n) =>
      subject(answers.subject[n]) &&
      prompt(answers.prompt[n]) &&
      only(answers, n) &&
      (filters.raw === undefined || String(answers.raw[n]) === filters.raw) &&
      (pattern === null || answers.patterns[n].includes(pattern)) &&
      (marker === null || answers.markers[n].includes(marker)) &&
      (!asked || checks(n).length > 0) &&
      (!judged || verdicts(n).length > 0) &&
      said(prompts.id[answers.prompt[n]], prompts.start[answers.prompt[n]], answers.start[n]);
    const rows = range(answers.prompt).filter(stays);
    if (judged) return [rows, counted(rows, verdicts, "rubric verdict")];
    return [rows, asked ? counted(rows, checks, "check") : many(rows.length, "answer")];
  }

  const OUTCOMES = {
    given: ["given", ({ verdict }, n) => verdict[n] !== 0],
    counted: ["that count", ({ counts }, n) => counts[n] === 1],
    win: ["won", ({ counts, verdict }, n) => counts[n] === 1 && verdict[n] === 1],
    tie: ["tied", ({ counts, verdict }, n) => counts[n] === 1 && verdict[n] === 2],
    loss: ["lost", ({ counts, verdict }, n) => counts[n] === 1 && verdict[n] === 3],
    flips: ["that flip with the order", ({ flips }, n) => flips[n] === 1],
    unscored: ["unscored", ({ verdict }, n) => verdict[n] === 0],
    left_out: [
      "left out: no verdict in the other order",
      ({ counts, verdict }, n) => counts[n] === 0 && verdict[n] !== 0,
    ],
  };

  // [comparisons that stay, the verdicts of each that stay]
  function findPairs(data, filters) {
    const { answers, pairs, prompts, verdicts, names, verdictsOf } = data;
    const pair = wanted(names.pairs, filters.pair);
    const prompt = promptFilter(data, filters);
    const judge = wanted(names.judges, filters.judge);
    const outcome = pick(OUTCOMES, filters.verdict) || (() => true);
    const said = textFilter(filters.find);
    const kept = new Map();
    for (const n of range(pairs.pair)) {
      if (!pair(pairs.pair[n]) || !prompt(pairs.prompt[n])) continue;
      if (filters.control === "no" && answers.subject[pairs.first[n]] === answers.subject[pairs.second[n]]) continue;
      if (!said(prompts.id[pairs.prompt[n]], prompts.start[pairs.prompt[n]])) continue;
      const rows = verdictsOf[n].filter((row) => judge(verdicts.judge[row]) && outcome(verdicts, row));
      if (rows.length) kept.set(n, rows);
    }
    return kept;
  }

  return { index, findAnswers, findPairs, ONLY, STATUS, OUTCOMES };
})();
