// The page: filters, table and detail put together, and the keyboard.
const BESIDE = matchMedia("(min-width: 70rem)");
const KEYS = [
  ["j or ↓, k or ↑", "next row, previous row"],
  ["Home, End, Page up, Page down", "within the rows"],
  ["Space", "play or pause the chosen clip"],
  ["a, b, r", "choose clip A, clip B, the reference"],
  ["Enter, Escape", "into the row's detail, and back"],
  ["/", "search"],
  ["?", "this help"],
];

const start = () => {
  const byId = (id) => document.getElementById(id);
  const data = readData();
  let state = readState();

  const say = (text) => { byId("said").textContent = text; };
  const keep = (more) => {
    state = { ...state, ...more };
    writeState(state);
  };
  const detail = makeDetail(byId("detail"), data, { back: () => table.focus(), say });
  const table = makeTable(byId("grid"), data, {
    select: (line, byHand) => {
      detail.show(line);
      // The address names a line that somebody chose, not the one that is chosen by itself.
      keep({ line: byHand ? line.key : "" });
    },
    // Where the detail is below the rows, a finger on a row asks for it.
    pointed: () => { if (!BESIDE.matches) detail.reveal(); },
    sort: (name) => {
      const numbersDown = !["row", "task", "prompt"].includes(name);
      const [usual, other] = numbersDown ? [`-${name}`, name] : [name, `-${name}`];
      ask({ sort: state.sort === usual ? other : usual });
    },
  });
  const count = (lines) => {
    const rows = new Set(lines.map((line) => line.row)).size;
    const told = data.runs.map((run, at) => {
      const counts = new Map();
      for (const line of lines) {
        const { mark } = line.runs[at];
        if (mark && mark !== "rated") counts.set(mark, (counts.get(mark) ?? 0) + 1);
      }
      const named = data.marks.filter((one) => counts.has(one)).map((one) => `${grouped(counts.get(one))} ${one}`);
      return named.length ? `${run.label}: ${named.join(", ")}` : "";
    });
    const all = lines.length === data.lines.length;
    const shown = all ? `${grouped(lines.length)} lines` : `${grouped(lines.length)} of ${grouped(data.lines.length)} lines`;
    byId("counts").replaceChildren(
      element("strong", {}, `${shown}, ${grouped(rows)} rows.`),
      ...told.filter(Boolean).map((text) => element("span", {}, ` ${text}.`)));
  };
  const show = () => {
    filters.show(state);
    byId("keys-on").checked = state.keys !== "off";
    const lines = chosenLines(data, state);
    count(lines);
    table.show(lines, state.sort, state.line);
  };
  const ask = (more) => {
    keep(more);
    show();
  };
  const filters = makeFilters(byId("filters"), data, ask);
  // `replaceState` tells nobody: this is an address that somebody typed or followed.
  window.addEventListener("hashchange", () => {
    state = readState();
    show();
  });

  const help = byId("help");
  byId("help-keys").append(...KEYS.map(([keys, does]) => element(
    "div", {}, element("dt", {}, keys), element("dd", {}, does))));
  byId("help-button").addEventListener("click", () => help.showModal());
  byId("keys-on").addEventListener("change", (event) => keep({ keys: event.target.checked ? "" : "off" }));
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    table.focus();
  });

  const inRows = {
    ArrowDown: () => table.move(1), ArrowUp: () => table.move(-1), Home: () => table.end(0), End: () => table.end(-1),
    PageDown: () => table.page(1), PageUp: () => table.page(-1), Enter: () => detail.focus(),
  };
  const letters = {
    j: () => table.move(1), k: () => table.move(-1), a: () => detail.choose("a"), b: () => detail.choose("b"),
    r: () => detail.choose("ref"), "/": () => filters.search.select(), "?": () => help.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (target === filters.search) {
      if (key !== "Escape" && key !== "Enter" && key !== "ArrowDown") return;
      event.preventDefault();
      table.focus();
      return;
    }
    if (target.matches("input, select, textarea")) return;
    const isInRows = target.closest(".body") || target.id === "grid";
    const isOperated = target.matches("button, a, summary, audio");
    let act = null;
    if (key === " ") act = isOperated ? null : detail.toggle;
    else if (key in inRows) act = isInRows ? inRows[key] : null;
    else if (state.keys !== "off") act = letters[key] ?? null;
    if (!act) return;
    event.preventDefault();
    act();
  });

  show();
  performance.mark("rows-shown");
};

start();
