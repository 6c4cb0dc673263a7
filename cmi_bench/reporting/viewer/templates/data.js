// The page's data, read once: columns become lines, one for each row and task.
const SIDES = new Map([[1, "A"], [0, "both"], [-1, "B"]]);
const NONE = "–";

const readData = () => {
  const source = JSON.parse(document.getElementById("data").textContent);
  const text = (number) => (number < 0 ? "" : source.texts[number]);
  const real = (value) => (value === null ? NaN : Number(value));
  const audio = (number) => {
    if (number < 0) return null;
    const [path, url, problem] = source.audio[number];
    return { number, path, url, problem };
  };
  const { rows: columns, lines: tasks } = source;
  const rows = columns.dataset.map((dataset, at) => ({
    dataset: source.datasets[dataset],
    datasetAt: dataset,
    number: columns.number[at],
    owner: columns.owner[at],
    prompt: text(columns.prompt[at]),
    lyrics: text(columns.lyrics[at]),
    systems: { a: text(columns.systemA[at]), b: text(columns.systemB[at]) },
    clips: { a: audio(columns.a[at]), b: audio(columns.b[at]), ref: audio(columns.ref[at]) },
    errors: source.runs.map((_, run) => text(columns.errors[at][run] ?? -1)),
    lines: [],
  }));
  const lines = tasks.row.map((rowAt, at) => {
    const row = rows[rowAt];
    const task = row.dataset.tasks[tasks.task[at]];
    const line = {
      row,
      task,
      taskAt: tasks.task[at],
      key: `${row.owner}.${row.number}.${task.name}`,
      label: real(tasks.label[at]),
      remark: text(tasks.remark[at]),
      answersApart: real(tasks.answersApart[at]),
      standpointsApart: real(tasks.standpointsApart[at]),
      groups: tasks.groups[at],
      runs: tasks.runs.map((run) => ({
        a: real(run.a[at]),
        b: real(run.b[at]),
        spreadA: real(run.spreadA?.[at] ?? null),
        spreadB: real(run.spreadB?.[at] ?? null),
        prediction: real(run.prediction[at]),
        mark: source.marks[run.mark[at]] ?? "",
        distance: real(run.distance[at]),
      })),
    };
    row.lines.push(line);
    return line;
  });
  // As in the file: rows of the first run by their number, what only others have after them.
  const order = (one) => [one.row.owner, one.row.number, one.taskAt];
  lines.sort((one, other) => {
    const [x, y] = [order(one), order(other)];
    return x[0] - y[0] || x[1] - y[1] || x[2] - y[2];
  });
  lines.forEach((line, at) => { line.at = at; });
  return { ...source, rows, lines };
};

const digits = (value, most = 4) => Number(value.toPrecision(most)).toString().replace("-", "−");
const percent = (share) => `${Math.round(100 * share)} %`.replace("-", "−");
const grouped = (count) => count.toLocaleString("en");

const labelText = (line) => {
  if (Number.isNaN(line.label)) return NONE;
  return line.task.isPair ? SIDES.get(line.label) : digits(line.label, 3);
};

// How far A is ahead of B by a run's scores; for single clips the score.
const value = (line, run) => {
  const { a, b, prediction } = line.runs[run];
  if (!line.task.isPair) return prediction;
  return Number.isNaN(a - b) ? prediction : a - b;
};

const answerText = (line, run) => {
  const { a, b, prediction, mark } = line.runs[run];
  if (mark === "") return NONE;
  if (Number.isNaN(prediction)) return mark;
  if (!line.task.isPair) return digits(prediction, 3);
  const margin = Math.abs(a - b);
  return SIDES.get(prediction) + (margin > 0 ? ` by ${digits(margin, margin < 1 ? 2 : 3)}` : "");
};

const apartText = (line) => {
  if (Number.isNaN(line.standpointsApart)) return NONE;
  const answers = new Set(line.runs.map((run) => SIDES.get(run.prediction)).filter(Boolean));
  const sides = line.task.isPair && line.answersApart > 0 ? `${[...answers].sort().join(" / ")} ` : "";
  return sides + percent(line.standpointsApart / 2);
};

const element = (tag, properties = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, held] of Object.entries(properties)) {
    if (held === undefined || held === null || held === false) continue;
    if (name in made && !name.startsWith("aria-")) made[name] = held;
    else made.setAttribute(name, held);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
};

// What strangers wrote may run from right to left; it keeps to itself.
const written = (text) => element("bdi", {}, text);
