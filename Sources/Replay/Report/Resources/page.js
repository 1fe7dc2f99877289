// The page: what is chosen, and what follows from it.
const data = JSON.parse(document.getElementById("data").textContent);
const app = document.getElementById("app");
const chosen = { trace: Number(remembered.get("trace")) || 0, attempt: Number(remembered.get("attempt")) || 0 };

function themeSwitch() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = (choice) => {
    const dark = choice === "dark" || (choice !== "light" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    for (const button of box.children) button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
  };
  const box = h("div", { class: "switch", role: "group", "aria-label": "Colours" }, [["system", "Auto"], ["light", "Light"], ["dark", "Dark"]].map(([choice, text]) =>
    h("button", { type: "button", "data-choice": choice, onclick: () => { remember("theme", choice); apply(choice); } }, text)));
  const current = () => (["light", "dark"].includes(remembered.get("theme")) ? remembered.get("theme") : "system");
  apply(current());
  system.addEventListener("change", () => apply(current()));
  return box;
}

let redraw = () => {};
const content = h("main", { id: "main" });

function show() {
  const trace = data.traces[chosen.trace] ?? data.traces[0];
  if (!trace) return content.replaceChildren(h("p", { class: "empty" }, "No recording."));
  const explained = trace.explanation.attempts[chosen.attempt] ?? trace.explanation.attempts[0];
  const messages = new Messages(trace, data.kinds);
  showRecord = (record) => messages.show(record);
  const tail = part("Messages", `${trace.rows.length} records` + (trace.omittedRows ? `, ${trace.omittedRows} more are left out` : ""), messages.element);
  if (!explained) {
    messages.start = 0;
    content.replaceChildren(h("p", { class: "empty" }, "No attempt: nobody asked for a migration, and none was seen."), tail);
    redraw = () => messages.layout();
    return redraw();
  }
  const lanes = trace.lanes[chosen.attempt] ?? trace.lanes[0];
  messages.start = lanes.start;
  const view = { from: 0, to: 1, set(from, to) { view.from = from; view.to = to; draw(); } };
  const timeline = new Timeline(lanes, explained, view, "Time line"), curves = new Curves(lanes, explained, view);
  const presets = timeline.presets();
  // Of a long migration the switchover is drawn a second time, closer.
  const around = presets.find(([name]) => name === "Switchover")?.[1], whole = presets.find(([name]) => name === "Migration")?.[1];
  let close = null;
  if (around && whole && around[1] - around[0] < (whole[1] - whole[0]) * 0.34) {
    const near = { from: around[0], to: around[1], set(from, to) { near.from = from; near.to = to; close.draw(); } };
    close = new Timeline(lanes, explained, near, "The switchover, closer");
  }
  const draw = () => { timeline.draw(); curves.draw(); };
  const tools = h("div", { class: "tools", role: "group", "aria-label": "What is shown of the time" },
    presets.map(([name, [from, to]]) => h("button", { type: "button", onclick: () => timeline.zoom(from, to) }, name)),
    h("button", { type: "button", "aria-label": "closer", onclick: () => timeline.scale(0.5) }, "+"),
    h("button", { type: "button", "aria-label": "further away", onclick: () => timeline.scale(2) }, "−"));
  const drawn = part("Time line", "drag to look closer, or use the arrow keys", timeline.box,
    h("details", { class: "as-text" }, h("summary", {}, "The drawing as a list"), h("ul", {}, timeline.items.slice(0, 400).map((item) =>
      h("li", {}, `${offset(item.t, lanes.start)} ${item.text}`, refs([item.record]))))));
  drawn.querySelector("header").append(tools);
  if (close) drawn.querySelector("details").before(h("h3", { style: "margin:16px 0 6px" }, "The switchover, closer"), close.box);
  const compared = data.traces.length > 1 ? comparison(data, (index, number) => choose(index, number, true)) : null;
  content.replaceChildren(...[compared?.element, traceTabs(), hero(explained), drawn, pausePart(explained), timePart(explained, curves), claimsPart(explained), tail].filter(Boolean));
  redraw = () => { draw(); close?.draw(); compared?.draw(); messages.layout(); };
  const preset = presets.find(([name]) => name.toLowerCase() === remembered.get("view")) ?? presets[1] ?? presets[0];
  [view.from, view.to] = preset[1];
  redraw();
  const record = Number(remembered.get("record"));
  if (record && !show.wasShown) { show.wasShown = true; messages.show(record); }
}

function choose(trace, attempt, moves) {
  Object.assign(chosen, { trace, attempt });
  remembered.delete("record");
  remember("trace", trace);
  remember("attempt", attempt);
  show();
  const target = document.getElementById("chosen");
  if (moves) target?.scrollIntoView();
  target?.querySelector('[aria-selected="true"]')?.focus({ preventScroll: true });
}

// One tab for each attempt of each recording; arrow keys move between them.
function traceTabs() {
  const list = data.traces.flatMap((trace, i) => trace.explanation.attempts.map((attempt, j) => [trace, i, attempt, j]));
  if (list.length < 2) return null;
  const at = list.findIndex(([, i, , j]) => i === chosen.trace && j === chosen.attempt);
  return h("div", { class: "tabs", role: "tablist", id: "chosen", "aria-label": "Attempts", onkeydown: (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = list[at + (by ?? 0)];
    if (by && next) { event.preventDefault(); choose(next[1], next[3]); }
  } }, list.map(([trace, i, attempt, j], place) => h("button", { type: "button", role: "tab", "aria-selected": String(place === at), tabindex: place === at ? 0 : -1, onclick: () => choose(i, j) },
    (data.traces.length > 1 ? traceName(data, trace) + " " : "") +
    (trace.explanation.attempts.length > 1 ? `attempt ${j + 1}: ` : data.traces.length > 1 ? "· " : "") + attempt.outcome)));
}

const head = data.traces.length === 1 ? data.traces[0].explanation : null;
app.append(h("div", { class: "wrap" },
  h("div", { class: "top", role: "banner" }, h("div", { class: "name" }, h("h1", {}, head ? head.title ?? head.trace : document.title),
    h("div", { class: "by" }, head ? `${head.trace}${head.recorder ? ", recorded by " + head.recorder : ""}, ${head.records} records` : data.traces.map((t) => t.explanation.trace).join(", "))), themeSwitch()),
  (head?.warnings ?? []).map((text) => h("p", { class: "tone-warn" }, text)),
  content, h("footer", {}, "Made by godwit report. Times count from migrate, as the recorder saw things; this page needs nothing but itself."), live));
show();
let width = 0;
new ResizeObserver(() => { if (content.clientWidth !== width) { width = content.clientWidth; redraw(); } }).observe(content);
