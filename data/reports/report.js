// What the report's scripts share: text, elements, packed blocks, tables to sort and filter, and the address.
// Text out of the report goes into the page as text nodes only.
"use strict";
const page = (() => {
  const known = JSON.parse(document.getElementById("data").textContent);
  const report = document.getElementById("report");
  const browser = document.getElementById("browser");
  const title = document.title;
  document.getElementById("unscripted").remove();

  // --- text and elements

  // Signs that a reader would not see, or that turn the direction of what follows (view.py has the same set).
  const HIDDEN = new RegExp(
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff" +
      "\\ufff9-\\ufffb\\ud800-\\udfff\\u{e0000}-\\u{e007f}]",
    "gu",
  );
  function symbol(sign) {
    const code = sign.codePointAt(0);
    if (code < 32) return String.fromCodePoint(0x2400 + code);
    if (code === 127) return "␡";
    if (code < 160 || (code >= 0xd800 && code <= 0xdfff)) return "\ufffd";
    return `\\u${code.toString(16).padStart(4, "0")}`;
  }
  const visible = (text) => String(text).replace(HIDDEN, symbol);

  function el(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value !== null && value !== undefined && value !== false)
        element.setAttribute(name, value === true ? "" : visible(value));
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined && child !== false)
        element.append(child instanceof Node ? child : visible(child));
    }
    return element;
  }
  const count = (number) => Number(number).toLocaleString("en");
  const many = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
  const words = (name) => String(name).replaceAll("_", " ");
  const fixed = (number, digits = 2) =>
    number === null || number === undefined ? "–" : number.toFixed(digits).replace("-", "−");

  // --- blocks: gzip in base64, unpacked when something out of them is shown

  const KEPT = 24;
  const unpacked = new Map();
  const parsed = new Promise((resolve) => {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", resolve, { once: true });
    else resolve();
  });
  async function unpack(name) {
    await parsed; // blocks stand behind the scripts
    const holder = document.getElementById(`block-${name}`);
    const bytes = Uint8Array.from(atob(holder.textContent), (sign) => sign.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    holder.dataset.unpacked = "";
    return JSON.parse(await new Response(stream).text());
  }
  function block(name) {
    const found = unpacked.get(name) || unpack(name);
    unpacked.delete(name);
    unpacked.set(name, found);
    // the oldest goes, but never the index
    if (unpacked.size > KEPT) unpacked.delete([...unpacked.keys()].find((key) => key !== "index"));
    return found;
  }
  // Item `number` of a kind of block: "prompts", "answers" or "pairs".
  async function item(kind, number) {
    const starts = known.starts[kind];
    let [low, high] = [0, starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= number) low = middle;
      else high = middle - 1;
    }
    return (await block(`${kind}-${low}`))[number - starts[low]];
  }

  // --- addresses

  const encoded = (value) => encodeURIComponent(String(value).replace(/[\ud800-\udfff]/gu, "?"));
  function address(view, filters) {
    const given = Object.entries(filters).filter(([, value]) => value !== null && value !== undefined && value !== "");
    return `#${view}?${given.map(([name, value]) => `${name}=${encoded(value)}`).join("&")}`;
  }
  function here() {
    const [view, query = ""] = location.hash.slice(1).split(/\?(.*)/s);
    return { view, filters: Object.fromEntries(new URLSearchParams(query)) };
  }

  // --- tables of the report

  function keyOf(row, column) {
    const cell = row.cells[column];
    return cell.dataset.v !== undefined
      ? Number(cell.dataset.v)
      : cell.classList.contains("n")
        ? null
        : cell.textContent;
  }
  // Cells without a number stay last in both directions.
  function compare(one, other, down) {
    if (one === null || other === null) return (one === null) - (other === null);
    const order = typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true });
    return down ? -order : order;
  }
  function sortTable(head, column) {
    const body = head.closest("table").tBodies[0];
    const numeric = head.classList.contains("n");
    const now = head.getAttribute("aria-sort");
    const down = now ? now === "ascending" : numeric;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
    rows.sort(([one], [other]) => compare(one, other, down));
    body.append(...rows.map(([, row]) => row));
  }
  function makeSortable(table) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = el("button", { type: "button", class: "sort", click: () => sortTable(head, column) });
      button.append(...head.childNodes);
      head.append(button);
    });
  }
  const tables = [...report.querySelectorAll("table.sorts")];
  const sift = document.getElementById("rows");

  // A row stays when it, or the table around it, holds all words.
  function siftRows() {
    const terms = sift.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let [shown, all] = [0, 0];
    for (const table of tables) {
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !terms.every((term) => text.includes(term));
        shown += !row.hidden;
        all += 1;
      }
    }
    document.getElementById("sifted").textContent = terms.length ? `${count(shown)} of ${many(all, "row")}` : "";
  }

  tables.forEach(makeSortable);
  document.getElementById("sift").hidden = false;
  sift.addEventListener("input", siftRows);
  sift.form.addEventListener("submit", (event) => event.preventDefault());

  // --- which of the views is shown

  const views = {};
  let [scrolled, left, turn] = [0, null, 0];

  function showReport(view) {
    const back = report.hidden;
    report.hidden = false;
    browser.hidden = true;
    browser.replaceChildren();
    document.title = title;
    if (!back) return;
    const section = view && document.getElementById(view);
    if (section) section.scrollIntoView();
    else window.scrollTo({ top: scrolled, behavior: "instant" });
    if (left) left.focus({ preventScroll: true });
    left = null;
  }
  async function show() {
    const { view, filters } = here();
    const mine = (turn += 1);
    if (!Object.hasOwn(views, view)) return showReport(view);
    if (!report.hidden) [scrolled, left] = [window.scrollY, document.activeElement];
    let content;
    try {
      content = await views[view](filters);
    } catch (error) {
      content = [
        el("p", { class: "invalid" }, `This page cannot show it: ${error.message}`),
        el("p", null, el("a", { href: "#" }, "Back to the report")),
      ];
    }
    if (mine !== turn || content === null) return null; // another address was asked for meanwhile
    report.hidden = true;
    browser.hidden = false;
    browser.dataset.at = location.hash;
    browser.replaceChildren(...content.flat(Infinity).filter(Boolean));
    const heading = browser.querySelector("h2");
    if (heading) document.title = `${heading.textContent} · ${title}`;
    if (heading) heading.focus({ preventScroll: true });
    window.scrollTo({ top: 0, behavior: "instant" });
    return null;
  }

  // "/" goes to the filter, Escape empties it, then leads back.
  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select, textarea");
    const field = browser.hidden ? sift : browser.querySelector("input[type=search]");
    if (event.key === "/" && !typing && field) {
      event.preventDefault();
      field.select();
      field.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Escape" && event.target === field && field.value) {
      event.preventDefault(); // the field would empty itself without telling
      field.value = "";
      field.dispatchEvent(new Event("input"));
    } else if (event.key === "Escape" && !browser.hidden) {
      browser.querySelector("a.back")?.click();
    } else if (["j", "k"].includes(event.key) && !typing && !browser.hidden) {
      browser.querySelector(event.key === "j" ? "a.next" : "a.previous")?.click();
    }
  }

  function start() {
    document.addEventListener("keydown", press);
    window.addEventListener("hashchange", show);
    window.addEventListener("beforeprint", () =>
      report.querySelectorAll("details").forEach((each) => {
        each.open = true;
      }),
    );
    show();
  }
  return { known, views, el, visible, count, many, words, fixed, block, item, address, here, compare, start };
})();
