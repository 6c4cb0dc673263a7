// A grid of any length: only the rows in sight are in the page, and the chosen one, which keeps the focus.
const BEYOND = 8;
const SYMBOLS = { right: "✓", "half right": "½", wrong: "✗", failed: "!" };

const makeTable = (grid, data, { select, pointed, sort }) => {
  const columns = [
    { sort: "row", name: "Row", kind: "row-number", fill: (line) => [String(line.row.number)] },
    { sort: "task", name: "Task", kind: "task", fill: (line) => [`${line.row.dataset.name} ${line.task.name}`] },
    { sort: "prompt", name: "Prompt", kind: "prompt", fill: (line) => [written(line.row.prompt || "no prompt")] },
    { sort: "label", name: "Label", kind: "label", fill: (line) => [labelText(line)] },
    ...data.runs.map((run, at) => ({
      sort: `run${at}`, name: run.label, kind: "run", fill: (line) => runCell(line, at) })),
    ...(data.runs.length > 1 ? [{ sort: "apart", name: "Apart", kind: "apart", fill: (line) => [apartText(line)] }]
      : []),
  ];
  const buttons = columns.map((column) => element("button", { type: "button", title: column.name }, column.name));
  const headers = columns.map((column, at) => element(
    "div", { className: `cell ${column.kind}`, role: "columnheader", "aria-colindex": at + 1 }, buttons[at]));
  const head = element("div", { className: "head", role: "rowgroup" },
    element("div", { className: "line", role: "row", "aria-rowindex": 1 }, ...headers));
  const body = element("div", { className: "body", role: "rowgroup" });
  const empty = element("p", { className: "empty muted", hidden: true }, "No line answers to this. Reset shows all.");
  grid.append(head, body, empty);
  grid.setAttribute("aria-colcount", columns.length);
  grid.style.setProperty("--runs", data.runs.length);
  buttons.forEach((button, at) => button.addEventListener("click", () => sort(columns[at].sort)));

  let lines = [];
  let chosen = -1;
  let height = 36;
  const shown = new Map();

  const make = (at) => {
    const line = lines[at];
    const cells = columns.map((column, place) => element(
      "div",
      { className: `cell ${column.kind}`, role: place ? "gridcell" : "rowheader", "aria-colindex": place + 1 },
      column.fill(line),
    ));
    return element("div", { className: "line", role: "row", "aria-rowindex": at + 2, tabIndex: -1 }, ...cells);
  };
  const draw = () => {
    const room = grid.clientHeight;
    const first = Math.max(0, Math.floor(grid.scrollTop / height) - BEYOND);
    const last = Math.min(lines.length, Math.ceil((grid.scrollTop + room) / height) + BEYOND);
    const wanted = new Set();
    for (let at = first; at < last; at += 1) wanted.add(at);
    if (chosen >= 0) wanted.add(chosen);
    for (const [at, row] of shown) {
      if (!wanted.has(at)) {
        row.remove();
        shown.delete(at);
      }
    }
    let next = body.firstChild;
    for (const at of [...wanted].sort((one, other) => one - other)) {
      if (!shown.has(at)) shown.set(at, make(at));
      const row = shown.get(at);
      row.style.transform = `translateY(${at * height}px)`;
      row.setAttribute("aria-selected", at === chosen);
      row.tabIndex = at === chosen ? 0 : -1;
      if (row === next) next = next.nextSibling;
      else body.insertBefore(row, next);
    }
  };
  const measure = () => {
    const probe = element("div", { className: "line" });
    body.append(probe);
    height = probe.getBoundingClientRect().height || height;
    probe.remove();
    body.style.height = `${lines.length * height}px`;
  };
  const intoView = () => {
    const [top, bottom] = [chosen * height, (chosen + 1) * height];
    const room = grid.clientHeight - head.offsetHeight;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (bottom > grid.scrollTop + room) grid.scrollTop = bottom - room;
  };
  const choose = (at, { focus = false, byHand = true } = {}) => {
    if (!lines.length) return;
    chosen = Math.max(0, Math.min(lines.length - 1, at));
    intoView();
    draw();
    if (focus) shown.get(chosen).focus({ preventScroll: true });
    select(lines[chosen], byHand);
  };
  body.addEventListener("click", (event) => {
    const row = event.target.closest("[role=row]");
    if (!row) return;
    choose(Number(row.getAttribute("aria-rowindex")) - 2, { focus: true });
    pointed();
  });
  grid.addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(() => { measure(); draw(); }).observe(grid);

  return {
    show: (found, sortedBy, key) => {
      lines = found;
      const hadFocus = body.contains(document.activeElement);
      body.replaceChildren();
      shown.clear();
      grid.setAttribute("aria-rowcount", lines.length + 1);
      empty.hidden = lines.length > 0;
      headers.forEach((header, at) => {
        const way = { [columns[at].sort]: "ascending", [`-${columns[at].sort}`]: "descending" }[sortedBy];
        if (way) header.setAttribute("aria-sort", way);
        else header.removeAttribute("aria-sort");
      });
      measure();
      const asked = lines.findIndex((line) => line.key === key);
      if (lines.length) choose(Math.max(0, asked), { focus: hadFocus, byHand: asked >= 0 });
      else {
        chosen = -1;
        select(null, false);
      }
    },
    move: (by) => choose(chosen + by, { focus: true }),
    end: (at) => choose(at < 0 ? lines.length - 1 : 0, { focus: true }),
    page: (by) => choose(chosen + by * Math.max(1, Math.floor((grid.clientHeight - head.offsetHeight) / height) - 1),
      { focus: true }),
    focus: () => {
      grid.scrollIntoView({ block: "nearest" });
      if (chosen >= 0) shown.get(chosen).focus({ preventScroll: true });
      else grid.focus();
    },
  };
};

const rowName = (data, row) => (row.owner ? `${row.number} (${data.runs[row.owner].label})` : String(row.number));

const runCell = (line, at) => {
  const { mark, distance } = line.runs[at];
  const answer = answerText(line, at);
  if (mark === "rated" && !Number.isNaN(distance)) {
    const far = percent(distance);
    return [answer, " ", element("span", { className: "far muted", "aria-hidden": "true" }, `Δ${far}`),
      element("span", { className: "unseen" }, `, distance ${far}`)];
  }
  if (!(mark in SYMBOLS)) return [answer];
  return [
    element("span", { className: `mark-${mark.replace(" ", "-")}`, "aria-hidden": "true" }, SYMBOLS[mark]), " ",
    mark === "failed" ? "" : element("span", { className: "unseen" }, `${mark}, `),
    answer,
  ];
};
