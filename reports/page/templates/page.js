"use strict";
// The page without this script is whole, but still: here are the filters, the cases behind a cell, and the moves.
// Texts from records only ever become text nodes.
(() => {
  const CASES_AT_FIRST = 20;
  const CASES_MORE = 100;
  const DIFFERENCES_AT_FIRST = 50;

  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);

  // --- reading the tables -------------------------------------------------------------------------------------------
  const decode = (coded) => {
    const out = [];
    let before = "";
    for (let i = 0; i < coded.length; i += 2) {
      before = before.slice(0, coded[i]) + coded[i + 1];
      out.push(before);
    }
    return out;
  };
  const lazily = (make) => {
    let value;
    return () => (value ??= make());
  };
  const texts = decode(data.texts);
  const messages = lazily(() => decode(data.messages));
  const goldens = lazily(() => decode(data.goldens));
  const names = data.blocks.map((block) => lazily(() => decode(block.names)));
  const [ID, LEVEL, SENTENCE, SOURCE, ADDRESS] = [0, 1, 2, 3, 4];
  const REQUIREMENT = new Map(data.requirements.map((r, i) => [r[ID], i]));
  const COLUMN = new Map(data.columns.map((c, i) => [c[0], i]));

  const outcomeOf = (index) => {
    const [verdict, behaviour, note, advice, reproduction, upstream, page, rerun] = data.outcomes[index].map((t) => texts[t]);
    return { verdict, behaviour, note, advice, reproduction, upstream, page, rerun };
  };
  const numbered = (template, numbers) => {
    const values = numbers ? numbers.split(" ") : [];
    let i = 0;
    return template.replace(/\x1f/g, () => values[i++]);
  };
  const paramsOf = (entry) => {
    const [, keys] = data.tests[entry[0]];
    return keys.map((key, i) => [texts[key], data.values[entry[3 + i]]]);
  };
  const caseOf = (req, col, row) => {
    const block = data.blocks[req];
    const [place, outcome, headroom, message, numbers, worst, error, bound, facts, streak] = row;
    const entry = block.cases[place];
    const name = names[req]()[place];
    const test = texts[data.tests[entry[0]][0]];
    const target = data.columns[col][1];
    const id = `${test}[${target}${name ? `-${name}` : ""}]`;
    const [dtype, shape, golden] = data.facts[facts ?? entry[2]];
    return {
      id, headroom, worst, error, bound, dtype, shape,
      outcome,
      layer: entry[1],
      params: paramsOf(entry),
      message: message == null ? "" : numbered(messages()[message], numbers),
      golden: goldens()[golden],
      streak: streak == null ? "" : lasting(data.streaks[streak]),
      rerun: outcomeOf(outcome).rerun.replaceAll("{id}", () => id), // a text would have its $& and $$ replaced
    };
  };
  const lasting = ([nights, since, atLeast]) => {
    if (nights === 1) return atLeast ? "first night of this history" : "new tonight";
    return `for ${atLeast ? "at least " : ""}${nights.toLocaleString("en")} nights, since ${since.slice(0, 10)}`;
  };

  // --- making elements ----------------------------------------------------------------------------------------------
  const el = (name, attributes = {}, ...children) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (value === true) node.setAttribute(key, "");
      else if (value !== false && value != null) node.setAttribute(key, value);
    }
    node.append(...children.flat().filter((c) => c != null && c !== ""));
    return node;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const icon = (name) => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "i");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS(SVG, "use");
    use.setAttribute("href", `#i-${name}`);
    svg.append(use);
    return svg;
  };
  const look = (verdict, text = verdict) => {
    const [tone, symbol] = data.looks[verdict] ?? data.looks[""];
    return el("span", { class: `v ${tone}` }, icon(symbol), text);
  };
  const link = (address, text = address) =>
    /^https?:\/\//.test(address) ? el("a", { href: address, rel: "noreferrer noopener" }, text) : text;
  const count = (n) => n.toLocaleString("en");
  const cases = (n) => `${count(n)} case${n === 1 ? "" : "s"}`;
  const fact = (list, term, ...content) => {
    if (content.some((c) => c != null && c !== "")) list.append(el("dt", {}, term), el("dd", {}, ...content));
  };
  const command = (text, what) =>
    el("div", { class: "command" }, el("code", {}, text), el("button", {
      type: "button",
      "aria-label": `Copy the ${what}`,
      onclick: (event) => copy(text, event.currentTarget),
    }, "Copy"));
  const copy = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = el("textarea", { "aria-hidden": "true" });
      area.value = text;
      button.parentElement.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };

  // --- what the address holds ---------------------------------------------------------------------------------------
  // "#moving" names a section, as any link does; with filters it becomes "#section=moving&q=…".
  const stateOf = (hash) => {
    if (hash.includes("=")) return new URLSearchParams(hash.slice(1));
    return new URLSearchParams(hash.length > 1 ? { section: hash.slice(1) } : {});
  };
  const hashOf = (state) => {
    const section = state.get("section") ?? "";
    const plain = state.size === (section ? 1 : 0) && !section.includes("=");
    const text = plain ? section : state.toString();
    return text ? `#${text}` : "";
  };
  const address = stateOf(location.hash);
  const remember = (changes) => {
    for (const [key, value] of Object.entries(changes)) {
      address.delete(key);
      for (const one of [value].flat()) if (one) address.append(key, one);
    }
    try {
      history.replaceState(null, "", location.pathname + location.search + hashOf(address));
    } catch { /* some browsers forbid it for files: links cannot be shared then */ }
  };
  const toSection = () => byId(address.get("section"))?.scrollIntoView();
  // A link to a section keeps the filters; an address with other filters is another view.
  const onHash = () => {
    const next = stateOf(location.hash);
    const section = next.get("section") ?? "";
    const isPlain = !location.hash.includes("=");
    next.delete("section");
    const now = new URLSearchParams(address);
    now.delete("section");
    for (const state of [next, now]) state.sort();
    if (!isPlain && next.toString() !== now.toString()) location.reload();
    else remember({ section });
    if (!isPlain) toSection();
  };

  // --- filters of the matrix ----------------------------------------------------------------------------------------
  const form = byId("filters");
  const table = byId("matrix-table");
  const field = { text: byId("f-text"), layer: byId("f-layer"), verdict: byId("f-verdict"), differs: byId("f-differs") };
  const boxes = [...form.querySelectorAll("[name=target]")];
  const rows = [...table.querySelectorAll("tr[data-req]")].map((row) => ({ row, req: Number(row.dataset.req) }));
  const LINES = data.lines;
  const parsed = new Map();
  const partsOf = (line) => {
    if (!parsed.has(line)) {
      parsed.set(line, line.dataset.n.split(" ").map((part) => {
        const [layer, n, headroom] = part.split(":");
        return { layer: Number(layer), n: Number(n), headroom: headroom === "" ? null : headroom === "inf" ? Infinity : Number(headroom) };
      }));
    }
    return parsed.get(line);
  };
  const groupNames = new Map(rows.map(({ row, req }) => [req, row.closest("tbody").querySelector(".group").textContent]));
  const wordsOfOutcome = (outcome) => data.outcomes[outcome].slice(0, 7).map((t) => texts[t]);
  const searchable = lazily(() => rows.map(({ row, req }) => {
    const block = data.blocks[req];
    const outcomes = new Set(block.rows.flatMap((column) => column.map((r) => r[1])));
    const tests = new Set(block.cases.map((c) => c[0]));
    const words = [
      row.textContent,
      groupNames.get(req),
      ...[...outcomes].flatMap(wordsOfOutcome),
      ...[...tests].map((t) => texts[data.tests[t][0]]),
      ...names[req](),
    ];
    return words.join("\n").toLowerCase();
  }));

  const wordsOf = () => field.text.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const filter = () => {
    const words = wordsOf();
    const layer = data.layers.indexOf(field.layer.value);
    const verdict = field.verdict.value;
    const shownColumns = new Set(boxes.filter((b) => b.checked).map((b) => Number(b.value)));
    const haystack = words.length ? searchable() : null;
    const wanted = (line) => verdict === "" || (verdict === "red" ? data.looks[line.dataset.v][0] === "red" : line.dataset.v === verdict);
    let requirements = 0;
    let total = 0;
    rows.forEach(({ row }, i) => {
      let matches = !field.differs.checked || "differs" in row.dataset;
      if (haystack && !words.every((word) => haystack[i].includes(word))) matches = false;
      let any = false;
      let inRow = 0;
      for (const cell of row.querySelectorAll("td[data-col]")) {
        const column = shownColumns.has(Number(cell.dataset.col));
        cell.hidden = !column;
        let lines = 0;
        for (const line of cell.querySelectorAll(".line")) {
          const parts = partsOf(line).filter((p) => layer < 0 || p.layer === layer);
          const n = parts.reduce((sum, p) => sum + p.n, 0);
          line.classList.toggle("out", n === 0);
          if (n === 0) continue;
          lines += 1;
          line.classList.toggle("extra", lines > LINES);
          line.querySelector("b").textContent = count(n);
          const worst = Math.max(...parts.map((p) => p.headroom ?? -1));
          const note = line.querySelector("i");
          if (note) note.textContent = worst > 0 ? `≤ ${worst === Infinity ? "inf" : Number(worst.toPrecision(3))}` : "";
          if (column && wanted(line)) {
            inRow += n;
            any = true;
          }
        }
        const more = cell.querySelector(".more");
        if (more) more.textContent = lines > LINES ? `and ${lines - LINES} more` : "";
      }
      const show = matches && any;
      row.hidden = !show;
      if (show) {
        requirements += 1;
        total += inRow;
      }
    });
    for (const head of table.querySelectorAll("thead th[data-col]")) head.hidden = !shownColumns.has(Number(head.dataset.col));
    for (const body of table.tBodies) body.hidden = !body.querySelector("tr[data-req]:not([hidden])") && rows.length > 0;
    byId("shown").textContent = `${count(requirements)} of ${count(rows.length)} requirements, ${cases(total)}`;
    remember({
      q: field.text.value.trim(),
      layer: field.layer.value,
      verdict,
      differs: field.differs.checked ? "1" : "",
      without: boxes.filter((b) => !b.checked).map((b) => data.columns[b.value][0]),
    });
  };
  const startFilters = () => {
    form.hidden = false;
    field.text.value = address.get("q") ?? "";
    for (const name of ["layer", "verdict"]) {
      const value = address.get(name) ?? "";
      field[name].value = [...field[name].options].some((o) => o.value === value) ? value : "";
    }
    field.differs.checked = address.has("differs");
    const without = address.getAll("without");
    for (const box of boxes) box.checked = !without.includes(data.columns[box.value][0]);
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(filter));
    filter();
  };

  // --- the cases behind a cell --------------------------------------------------------------------------------------
  const dialog = byId("cell");
  let opener = null;
  const size = (x) => (x == null ? -1 : x === "inf" || x === "nan" ? Infinity : Number(x));
  // The cases of a cell that the filters of layer and text leave; a word of the requirement's own is in all of them.
  const filtered = (req, col) => {
    const layer = data.layers.indexOf(field.layer.value);
    const block = data.blocks[req];
    const own = [...data.requirements[req].slice(ID, SOURCE), groupNames.get(req)].join("\n").toLowerCase();
    const words = wordsOf().filter((word) => !own.includes(word));
    const outcomes = new Map();
    const told = (outcome) => {
      if (!outcomes.has(outcome)) outcomes.set(outcome, wordsOfOutcome(outcome).join("\n").toLowerCase());
      return outcomes.get(outcome);
    };
    const has = ([place, outcome], word) => told(outcome).includes(word)
      || names[req]()[place].toLowerCase().includes(word)
      || texts[data.tests[block.cases[place][0]][0]].toLowerCase().includes(word);
    return block.rows[col].filter((row) =>
      (layer < 0 || block.cases[row[0]][1] === layer) && words.every((word) => has(row, word)));
  };
  const groupsOf = (found) => {
    const groups = new Map();
    for (const row of found) {
      if (!groups.has(row[1])) groups.set(row[1], []);
      groups.get(row[1]).push(row);
    }
    const rank = (outcome) => data.rank.indexOf(texts[data.outcomes[outcome][0]]);
    return [...groups].sort((a, b) => rank(a[0]) - rank(b[0]) || b[1].length - a[1].length);
  };
  const oneCase = (c, open) => {
    const params = c.params.length ? c.params.flatMap(([key, value], i) =>
      [i ? " · " : "", el("span", {}, `${key.replaceAll("_", " ")} `), String(value)]) : [c.id];
    const summary = el("summary", {}, el("bdi", { class: "params" }, ...params),
      c.headroom == null ? "" : el("span", {}, c.headroom === 0 ? "exact" : `${c.headroom} of bound`),
      c.message ? el("bdi", { class: "message" }, c.message) : "");
    const list = el("dl", { class: "facts" });
    fact(list, "worst element", c.worst ? `[${c.worst.join(", ")}]` : "");
    fact(list, "error", c.error == null ? "" : String(c.error));
    fact(list, "bound", c.bound == null ? "" : String(c.bound));
    fact(list, "result", [c.dtype, c.shape && `shape ${c.shape}`].filter(Boolean).join(", "));
    fact(list, "seen", c.streak);
    fact(list, "golden", c.golden ? el("code", {}, c.golden) : "");
    fact(list, "rerun", command(c.rerun, "command that reruns this case"));
    return el("details", { class: "case", open }, summary, list);
  };
  const oneOutcome = (req, col, outcome, found, first) => {
    const o = outcomeOf(outcome);
    const section = el("section", { class: "outcome" },
      el("h3", {}, look(o.verdict, o.behaviour), ` · ${cases(found.length)}`, o.verdict === o.behaviour ? "" : el("small", {}, ` ${o.verdict}`)));
    const list = el("dl", { class: "facts" });
    fact(list, o.verdict === "known deviation" ? "cause" : "why", o.note);
    fact(list, "what to do", o.advice);
    fact(list, "reproduction", o.reproduction ? command(o.reproduction, "reproduction") : "");
    fact(list, "upstream", o.upstream ? link(o.upstream) : "");
    fact(list, "permitted by", o.page ? link(o.page) : "");
    if (list.children.length) section.append(list);
    found.sort((a, b) => size(b[2]) - size(a[2]));
    let shown = 0;
    const more = el("button", { type: "button" });
    const add = (n) => {
      const next = found.slice(shown, shown + n);
      const made = next.map((row, i) => oneCase(caseOf(req, col, row), first && shown === 0 && i === 0));
      more.before(...made);
      shown += next.length;
      more.hidden = shown >= found.length;
      more.textContent = `Show ${count(Math.min(CASES_MORE, found.length - shown))} more of ${count(found.length - shown)}`;
      return made[0];
    };
    more.addEventListener("click", () => add(CASES_MORE)?.querySelector("summary").focus());
    section.append(more);
    add(CASES_AT_FIRST);
    return section;
  };
  const fill = (req, col) => {
    const requirement = data.requirements[req];
    const block = data.blocks[req];
    const all = block.rows[col];
    const left = filtered(req, col);
    const groups = groupsOf(left.length ? left : all);
    const filters = [field.layer.value, field.text.value.trim()].filter(Boolean).map((f) => `“${f}”`).join(" and ");
    const others = data.columns.map(([label], other) => block.rows[other].length === 0 ? "" : el("button", {
      type: "button",
      "aria-current": other === col ? "true" : null,
      onclick: () => { fill(req, other); dialog.querySelector(".others [aria-current]").focus(); },
    }, label));
    dialog.replaceChildren(
      el("div", { class: "panel-head" },
        el("h2", { id: "cell-title" }, `${requirement[ID]} on ${data.columns[col][0]}`),
        el("button", { type: "button", class: "close", onclick: () => dialog.close() }, "Close"),
        el("p", {}, requirement[SENTENCE], " ", el("small", {}, `${requirement[LEVEL]}; source: `, link(requirement[ADDRESS], requirement[SOURCE]))),
        el("div", { class: "others", role: "group", "aria-label": "The same requirement on" }, ...others)),
      el("div", { class: "panel-body" },
        left.length === all.length ? "" : el("p", { class: "sub" },
          `${count(left.length)} of ${cases(all.length)} shown by the filter ${filters}${left.length ? "" : ": here are all"}.`),
        groups.length ? "" : el("p", {}, "No case has a record here."),
        ...groups.map(([outcome, found], i) => oneOutcome(req, col, outcome, found, i === 0))));
    dialog.scrollTop = 0;
    remember({ cell: `${requirement[ID]}~${data.columns[col][0]}` });
  };
  const open = (req, col, from) => {
    opener = from;
    fill(req, col);
    if (!dialog.open) dialog.showModal();
    dialog.querySelector(".close").focus();
  };
  dialog.addEventListener("close", () => {
    remember({ cell: "" });
    opener?.focus();
    opener = null;
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[data-req]");
    if (button) open(Number(button.dataset.req), Number(button.dataset.col), button);
  });

  // --- moving from one target to another ----------------------------------------------------------------------------
  const from = byId("f-from");
  const to = byId("f-to");
  const side = (col, verdict, behaviour) => [el("dt", {}, data.columns[col][0]), el("dd", {}, look(verdict, behaviour))];
  const exampleOf = (req, place, col) => {
    const row = data.blocks[req].rows[col].find((r) => r[0] === place);
    return row ? caseOf(req, col, row) : null;
  };
  const oneDifference = ([, req, n, before, after, was, is, advice, where, place]) => {
    const [a, b] = [Number(from.value), Number(to.value)];
    const example = el("details", {}, el("summary", {}, "Example"));
    example.addEventListener("toggle", () => {
      if (example.children.length > 1) return;
      const inside = el("div");
      for (const col of [a, b]) {
        const c = exampleOf(req, place, col);
        if (!c) continue;
        if (!inside.children.length) inside.append(el("p", {}, el("bdi", {}, c.params.map(([k, v]) => `${k.replaceAll("_", " ")} ${v}`).join(" · "))));
        const list = el("dl", { class: "facts" });
        fact(list, data.columns[col][0], el("bdi", {}, c.message || outcomeOf(c.outcome).behaviour));
        fact(list, "rerun", command(c.rerun, "command that reruns this case"));
        inside.append(list);
      }
      example.append(inside);
    });
    return el("article", { class: "difference" },
      el("div", {},
        el("button", { type: "button", class: "open", "data-req": req, "data-col": b, "aria-haspopup": "dialog" }, data.requirements[req][ID]),
        ` ${cases(n)}`,
        el("bdi", { class: "where" }, texts[where] || "in every case")),
      el("dl", { class: "sides" }, side(a, texts[before], texts[was]), side(b, texts[after], texts[is])),
      el("p", {}, texts[advice]),
      example);
  };
  const compare = () => {
    const place = byId("differences");
    const pair = data.pairs[`${from.value}>${to.value}`];
    const labels = [data.columns[from.value]?.[0], data.columns[to.value]?.[0]];
    if (!pair) {
      byId("pair-said").textContent = from.value === to.value ? "Choose two targets." : `${labels.join(" and ")} share no case.`;
      place.replaceChildren();
      return;
    }
    const [compared, ...found] = pair;
    const worse = found.filter((d) => data.severities[d[0]][0] !== "better");
    byId("pair-said").textContent = `${cases(compared)} compared: ${count(worse.length)} difference${worse.length === 1 ? "" : "s"} in ${cases(worse.reduce((sum, d) => sum + d[2], 0))}`;
    place.replaceChildren(...data.severities.flatMap(([key, title, meaning], severity) => {
      const members = found.filter((d) => d[0] === severity);
      if (!members.length) return [];
      const section = el("section", { class: `severity ${key}` },
        el("h3", {}, `${title} `, el("small", {}, `${meaning} · ${count(members.length)} in ${cases(members.reduce((sum, d) => sum + d[2], 0))}`)));
      let shown = 0;
      const more = el("button", { type: "button" });
      const add = () => {
        more.before(...members.slice(shown, shown + DIFFERENCES_AT_FIRST).map(oneDifference));
        shown = Math.min(shown + DIFFERENCES_AT_FIRST, members.length);
        more.hidden = shown >= members.length;
        more.textContent = `Show more of ${count(members.length - shown)}`;
      };
      more.addEventListener("click", add);
      section.append(more);
      add();
      return [section];
    }));
    if (!found.length) place.append(el("p", {}, "No behaviour differs."));
  };
  const startMoves = () => {
    if (!from) return;
    byId("pair").hidden = false;
    from.value = COLUMN.get(address.get("from")) ?? data.first[0];
    to.value = COLUMN.get(address.get("to")) ?? data.first[1];
    const change = () => {
      compare();
      remember({ from: data.columns[from.value][0], to: data.columns[to.value][0] });
    };
    from.addEventListener("change", change);
    to.addEventListener("change", change);
    byId("pair").addEventListener("submit", (event) => event.preventDefault());
    byId("f-swap").addEventListener("click", () => {
      [from.value, to.value] = [to.value, from.value];
      change();
    });
    compare();
  };

  // --- start --------------------------------------------------------------------------------------------------------
  const wanted = address.get("cell");
  startFilters();
  startMoves();
  if (wanted) {
    const cut = wanted.indexOf("~");
    const [req, col] = [REQUIREMENT.get(wanted.slice(0, cut)), COLUMN.get(wanted.slice(cut + 1))];
    const cell = table.querySelector(`button[data-req="${req}"][data-col="${col}"]`);
    if (cell) {
      cell.scrollIntoView({ block: "center" });
      open(req, col, cell);
    }
  } else toSection();
  addEventListener("hashchange", onHash);
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("main details:not([open])")];
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of closed) details.open = false; });
})();
