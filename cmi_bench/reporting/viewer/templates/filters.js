// What is asked for: the form, its state in the page's address, and which lines answer.
const DEFAULTS = {
  q: "", dataset: "", task: "", label: "", from: "", to: "", run: "any", mark: "", apart: "", group: "",
  sort: "row", line: "", keys: "",
};
const OF_NO_CONTROL = ["line", "keys"];
// On a single clip runs differ, or are opposite, where their ranks are apart by so much of all ranks.
const APART = { some: 0.25, opposite: 0.5 };

// A browser takes a change of the address some times a second at most, and keys are faster.
const WRITE_AFTER = 250;
let writing = 0;

const readState = () => {
  clearTimeout(writing);
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, usual]) => [name, given.get(name) ?? usual]));
};

const writeState = (state) => {
  clearTimeout(writing);
  writing = setTimeout(() => {
    const told = Object.entries(state).filter(([name, held]) => held !== DEFAULTS[name]);
    const hash = new URLSearchParams(told).toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }, WRITE_AFTER);
};

const makeFilters = (form, data, changed) => {
  const unique = (values) => [...new Set(values)];
  const choices = (usual, options) => [element("option", { value: "" }, usual), ...options.map(
    ([value, name]) => element("option", { value }, name))];
  const field = (name, label, control, extra = "") => {
    control.id = `filter-${name}`;
    control.name = name;
    return element("div", { className: `field ${extra}` }, element("label", { htmlFor: control.id }, label), control);
  };
  const select = (name, label, options) => field(name, label, element("select", {}, ...options));
  const present = new Set(data.lines.flatMap((line) => line.runs.map((run) => run.mark)));
  const runs = data.runs.map((run, at) => [String(at), run.label]);
  const isRated = data.lines.some((line) => !line.task.isPair);
  const isPaired = data.lines.some((line) => line.task.isPair);
  const tasks = unique(data.datasets.flatMap((one) => one.tasks.map((task) => task.name)));
  const labels = [...(isPaired ? ["A", "B", "both"] : []), "none"];
  const keys = unique(data.groups.map((group) => group.key));
  const groupOptions = keys.map((key) => {
    const members = data.groups.map((group, at) => ({ ...group, at })).filter((group) => group.key === key);
    members.sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
    return element("optgroup", { label: members[0].keyName }, ...members.map(
      (group) => element("option", { value: `${group.key}:${group.value}` }, group.name)));
  });
  const rating = (name, label) => field(
    name, label, element("input", { type: "number", step: "any", inputMode: "decimal" }), "narrow");
  const sorts = [
    ["row", "order of the file"], ["task", "task"], ["prompt", "prompt"], ["label", "label"],
    ...runs.map(([at, name]) => [`run${at}`, `${name}: score or margin`]),
    ...runs.map(([at, name]) => [`off${at}`, `${name}: distance from people`]),
    ...(runs.length > 1 ? [["apart", "runs apart"]] : []),
  ];
  const sort = element("select", {}, ...sorts.flatMap(([value, name]) => [
    element("option", { value }, `${name} ↑`), element("option", { value: `-${value}` }, `${name} ↓`)]));
  const reset = element("button", { type: "button", id: "reset" }, "Reset");

  const search = field("q", "Search", element("input", {
    type: "search", autocomplete: "off", spellcheck: false, placeholder: "prompt, lyrics, system, file, error",
    "aria-keyshortcuts": "/",
  }), "wide");
  const more = element("details", { className: "more" }, element("summary", {}, "Filters and order"));
  more.append(element("div", { className: "fields" }, ...[
    data.datasets.length > 1 && select("dataset", "Dataset", choices(
      "all", data.datasets.map((one) => [one.slug, one.name]))),
    tasks.length > 1 && select("task", "Task", choices("all", tasks.map((name) => [name, name]))),
    select("label", "Label", choices("any", labels.map((name) => [name, name]))),
    isRated && rating("from", "Rated from"),
    isRated && rating("to", "to"),
    runs.length > 1 && select("run", "Run", [
      element("option", { value: "any" }, "any run"), element("option", { value: "all" }, "every run"),
      ...runs.map(([value, name]) => element("option", { value }, name))]),
    select("mark", "is", choices("anything", data.marks.filter((one) => present.has(one)).map(
      (one) => [one, one]))),
    runs.length > 1 && select("apart", "Runs", choices("differ or not", [
      ["some", "differ"], ["opposite", "are opposite"], ["none", "agree"]])),
    data.groups.length > 0 && select("group", "Group", [element("option", { value: "" }, "all"), ...groupOptions]),
    field("sort", "Sort by", sort),
    reset,
  ].filter(Boolean)));
  form.append(search, more);
  // Where there is room they are always there; a telephone has room for the rows or for them.
  const isWide = matchMedia("(min-width: 40rem)");
  const unfold = () => { more.open = isWide.matches; };
  isWide.addEventListener("change", unfold);
  unfold();

  const controls = [...form.elements].filter((control) => control.name);
  const read = () => Object.fromEntries(controls.map((control) => [control.name, control.value]));
  let waiting = 0;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    // A letter may be followed by another; a choice is made.
    waiting = setTimeout(() => changed(read()), event.target.tagName === "SELECT" ? 0 : 150);
  });
  reset.addEventListener("click", () => {
    const { line, keys: held, ...usual } = DEFAULTS;
    changed(usual);
  });
  return {
    show: (state) => {
      // What a sent address asks for and this page does not have: as if it had not been asked.
      for (const name of Object.keys(DEFAULTS).filter((one) => !OF_NO_CONTROL.includes(one))) {
        const control = form.elements[name];
        if (control) control.value = state[name];
        if (control?.value !== state[name]) state[name] = DEFAULTS[name];
        if (control) control.value = state[name];
      }
    },
    search: form.elements.q,
  };
};

const searchText = (line) => {
  const { row } = line;
  row.searched ??= [
    row.prompt, row.lyrics, row.systems.a, row.systems.b, ...Object.values(row.clips).map((clip) => clip?.path ?? ""),
    ...row.errors,
  ].join("\n").toLowerCase();
  return row.searched;
};

const differ = (line, wanted) => {
  if (Number.isNaN(line.standpointsApart)) return false;
  const apart = line.task.isPair
    ? { some: line.answersApart > 0, opposite: line.answersApart === 2 }
    : { some: line.standpointsApart / 2 >= APART.some, opposite: line.standpointsApart / 2 >= APART.opposite };
  return wanted === "none" ? !apart.some : apart[wanted];
};

const chosenLines = (data, state) => {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const group = state.group && data.groups.findIndex((one) => `${one.key}:${one.value}` === state.group);
  const isMarked = (line) => {
    const wanted = (run) => run.mark === state.mark;
    if (state.run === "any") return line.runs.some(wanted);
    return state.run === "all" ? line.runs.every(wanted) : wanted(line.runs[Number(state.run)]);
  };
  const tests = [
    state.dataset && ((line) => line.row.dataset.slug === state.dataset),
    state.task && ((line) => line.task.name === state.task),
    state.label === "none" && ((line) => Number.isNaN(line.label)),
    state.label && state.label !== "none" && ((line) => line.task.isPair && labelText(line) === state.label),
    state.from !== "" && ((line) => !line.task.isPair && line.label >= Number(state.from)),
    state.to !== "" && ((line) => !line.task.isPair && line.label <= Number(state.to)),
    state.mark && isMarked,
    state.apart && ((line) => differ(line, state.apart)),
    state.group && ((line) => line.groups.includes(group)),
    words.length > 0 && ((line) => words.every((word) => searchText(line).includes(word))),
  ].filter(Boolean);
  return sorted(data.lines.filter((line) => tests.every((test) => test(line))), state.sort);
};

const sortKey = (name) => {
  const run = Number(name.slice(3));
  if (name === "task") return (line) => line.row.datasetAt * 100 + line.taskAt;
  if (name === "prompt") return (line) => line.row.prompt;
  if (name === "label") return (line) => line.label;
  if (name === "apart") return (line) => 2 * line.answersApart + line.standpointsApart;
  if (name.startsWith("run")) return (line) => value(line, run);
  if (name.startsWith("off")) return (line) => line.runs[run].distance;
  return (line) => line.at;
};

// What has no value comes last, in either direction; among equals the file's order is kept.
const sorted = (lines, sort) => {
  const down = sort.startsWith("-");
  const key = sortKey(down ? sort.slice(1) : sort);
  const collator = new Intl.Collator("en", { numeric: true });
  const keyed = lines.map((line) => [key(line), line]);
  const isMissing = (held) => held === "" || Number.isNaN(held);
  const sign = down ? -1 : 1;
  keyed.sort(([one], [other]) => {
    if (isMissing(one) || isMissing(other)) return isMissing(one) - isMissing(other);
    return sign * (typeof one === "string" ? collator.compare(one, other) : one - other || 0);
  });
  return keyed.map(([, line]) => line);
};
