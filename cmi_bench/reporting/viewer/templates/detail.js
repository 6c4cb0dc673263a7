// The chosen row: what was asked for, its clips, and what people and runs say of it.
const NAMES = { a: "Clip A", b: "Clip B", ref: "Reference" };
const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const NO_PLAYER = {
  none: "This page was made without audio.",
  gone: "This file cannot be played from here; was the page moved away from its runs, or the audio from its place?",
};

const makeDetail = (panel, data, { back, say }) => {
  let players = {};
  let side = "a";
  let shown = null;
  let clips = null;

  const source = (clip) => {
    if (clip.url) return clip.url;
    const held = document.getElementById(`audio-${clip.number}`);
    return held && `data:${held.dataset.type};base64,${held.textContent}`;
  };
  const card = (name, clip, system, isOnly) => {
    const title = isOnly && name === "a" ? "Clip" : NAMES[name];
    const button = element("button", { type: "button", className: "clip-name", "aria-pressed": "false" }, title);
    const src = source(clip);
    const audio = src ? element("audio", { controls: true, preload: "none", src, "aria-label": title }) : null;
    const problem = data.audioMode === "none" ? NO_PLAYER.none : `No player: ${clip.problem}.`;
    const box = element("div", { className: "clip" },
      element("h3", {}, button, system && element("span", { className: "muted" }, " by ", written(system))),
      audio ?? element("p", { className: "warn" }, problem),
      element("p", { className: "path" }, written(clip.path)));
    audio?.addEventListener("play", () => {
      // An event may come late, when another row is shown.
      if (players[name]?.audio !== audio) return;
      for (const other of Object.values(players)) if (other.audio && other.audio !== audio) other.audio.pause();
      pick(name);
    });
    audio?.addEventListener("error", () => {
      audio.after(element("p", { className: "warn" }, NO_PLAYER.gone));
      say(NO_PLAYER.gone);
    }, { once: true });
    button.addEventListener("click", () => choose(name));
    players[name] = { audio, button, box, title };
    return box;
  };
  const pick = (name) => {
    side = name;
    for (const [own, { button, box }] of Object.entries(players)) {
      button.setAttribute("aria-pressed", own === name);
      box.classList.toggle("chosen", own === name);
    }
  };
  const start = () => {
    const player = players[side];
    if (!player) return;
    if (!player.audio) {
      say(`${player.title} has no player.`);
      return;
    }
    // The page says so itself where a file cannot be played.
    player.audio.play().then(() => say(`Playing ${player.title}`), () => {});
  };
  const choose = (name) => {
    if (!players[name]) {
      say(`This row has no ${NAMES[name].toLowerCase()}.`);
      return;
    }
    const wasPlaying = Object.values(players).some(({ audio }) => audio && !audio.paused);
    for (const { audio } of Object.values(players)) audio?.pause();
    pick(name);
    if (wasPlaying) start();
    else say(`${players[name].title} chosen`);
  };
  const toggle = () => {
    const audio = players[side]?.audio;
    if (audio && !audio.paused) {
      audio.pause();
      say("Paused");
    } else start();
  };

  const opinions = (line) => {
    const { isPair } = line.task;
    const heads = ["", ...(isPair ? ["answer", "A", "B"] : ["score"]), "distance"];
    const apart = (spread) => (Number.isNaN(spread) ? "" : ` ±${digits(spread, 2)}`);
    const number = (held, spread) => element("td", { className: "number" },
      Number.isNaN(held) ? NONE : digits(held, 3) + apart(spread));
    const people = element("tr", {}, element("th", { scope: "row" }, "people"),
      element("td", { className: isPair ? "" : "number" }, labelText(line)),
      element("td", { className: "remark", colSpan: isPair ? 3 : 1 }, written(line.remark)));
    const runs = data.runs.map((run, at) => {
      const { a, b, spreadA, spreadB, prediction, mark, distance } = line.runs[at];
      const said = isPair ? SIDES.get(prediction) ?? NONE : "";
      const text = mark === "" ? "does not have this row" : `${said} ${mark === "rated" ? "" : mark}`.trim();
      return element("tr", {}, element("th", { scope: "row" }, written(run.label)),
        isPair ? element("td", { className: `mark-${mark.replace(" ", "-")}` }, text)
          : element("td", { className: "number" }, Number.isNaN(prediction) ? text : digits(prediction) + apart(spreadA)),
        ...(isPair ? [number(a, spreadA), number(b, spreadB)] : []),
        element("td", { className: "number" }, Number.isNaN(distance) ? NONE : percent(distance)));
    });
    return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": line.task.name },
      element("table", {},
        element("caption", {}, `${line.task.name}, ${apartCaption(line)}`),
        element("thead", {}, element("tr", {}, ...heads.map((name, at) => element(
          at ? "th" : "td", { scope: at ? "col" : null, className: at > (isPair ? 1 : 0) ? "number" : "" }, name)))),
        element("tbody", {}, people, ...runs)));
  };
  const apartCaption = (line) => {
    if (data.runs.length < 2) return line.task.isPair ? "which clip is better" : "mean opinion score";
    return Number.isNaN(line.standpointsApart) ? "runs not compared" : `runs apart: ${apartText(line)}`;
  };

  // Another row has other clips; another task of the same row goes on playing.
  const turnTo = (row) => {
    for (const { audio } of Object.values(players)) audio?.pause();
    players = {};
    shown = row;
    if (!row) return;
    clips = element("div", { className: "clips" }, ["a", "b", "ref"].filter((name) => row.clips[name]).map(
      (name) => card(name, row.clips[name], row.systems[name] ?? "", !row.clips.b)));
    pick("a");
  };

  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") back();
  });

  return {
    show: (line) => {
      if (line?.row !== shown) turnTo(line?.row ?? null);
      if (!line) {
        panel.replaceChildren(element("p", { className: "muted" }, "No row is chosen."));
        return;
      }
      const { row } = line;
      const failures = row.errors.map((error, at) => [data.runs[at].label, error]).filter(([, error]) => error);
      const names = line.groups.map((at) => `${data.groups[at].keyName}: ${data.groups[at].name}`);
      const backButton = element("button", { type: "button", className: "back" }, "Back to the rows");
      backButton.addEventListener("click", back);
      const parts = [
        element("div", { className: "detail-head" },
          element("h2", { id: "detail-title", tabIndex: -1 }, `${row.dataset.name}, row ${rowName(data, row)}`),
          backButton),
        row.prompt ? element("blockquote", { dir: "auto" }, row.prompt)
          : element("p", { className: "muted" }, "No prompt."),
        row.lyrics && element("details", {},
          element("summary", {}, "Lyrics"), element("p", { className: "lyrics", dir: "auto" }, row.lyrics)),
        clips,
        ...failures.map(([name, error]) => element("p", { className: "warn" }, written(name), " failed: ", written(error))),
        ...[line, ...row.lines.filter((other) => other !== line)].map(opinions),
        names.length > 0 && element("p", { className: "muted groups" }, names.join("; ")),
      ].filter(Boolean);
      // The clips stay where they are: what is taken out of a page and put back stops playing.
      for (const child of [...panel.children]) if (child !== clips) child.remove();
      if (!panel.contains(clips)) panel.append(clips);
      clips.before(...parts.slice(0, parts.indexOf(clips)));
      clips.after(...parts.slice(parts.indexOf(clips) + 1));
      panel.scrollTop = 0;
    },
    choose,
    toggle,
    reveal: () => panel.scrollIntoView({ behavior: CALM.matches ? "auto" : "smooth" }),
    focus: () => document.getElementById("detail-title")?.focus(),
  };
};
