// The time line of one attempt: both QEMUs, what was asked of them, and where the guest ran.
class Timeline {
  static gutter = 146;
  static count = 0;
  static right = 14;

  constructor(lanes, explained, view, name) {
    this.id = `timeline-${Timeline.count++}`;
    Object.assign(this, { lanes, explained, view, name });
    this.full = [Math.min(lanes.begin, explained.happened[0]?.t * 1e6 || lanes.begin), Math.max(lanes.end, lanes.begin + 1)];
    this.items = this.collect();
    this.cursor = -1;
    this.hint = h("div", { class: "hint", hidden: true });
    this.svg = g("svg", { role: "img", "aria-labelledby": `${this.id}-title ${this.id}-text` });
    this.box = h("div", {
      class: "card drawing", tabindex: 0, role: "group", "aria-roledescription": "time line",
      "aria-label": name + ". Left and right move through what happened, enter shows the record, plus and minus zoom, 0 shows the migration, escape the whole recording.",
      onkeydown: (event) => this.key(event),
    }, this.svg, this.legend(), this.hint);
    this.listen();
  }

  legend() {
    const entry = (style, text) => h("span", {}, h("span", { class: "swatch", style }), text);
    return h("div", { class: "legend", "aria-hidden": "true" },
      entry("background:var(--run);height:6px;width:16px", "the guest runs"), entry("background:var(--pause);border:1px solid var(--pause-edge)", "it runs nowhere"),
      entry("background:var(--pause-edge);border-radius:50%", "STOP, or an end"), entry("background:var(--run);border-radius:50%", "RESUME"),
      entry("border:2px solid var(--bad);border-radius:50%", "error or anomaly"), entry("background:var(--faint);width:2px;border-radius:0", "a pass over memory begins"));
  }

  // What can be stepped through, by time.
  collect() {
    const list = [];
    for (const side of ["source", "destination"]) {
      const lane = this.lanes[side];
      for (const [word, from, , record, byQuery] of lane.words)
        list.push({ t: from, record, side, text: `${side}: ${word}${byQuery ? " (told by a query)" : ""}` });
      for (const [t, record, name, kind] of lane.moments)
        if (kind !== "pass") list.push({ t, record, side, text: `${side}: ${name}` });
    }
    for (const [t, record, side, name, argument] of this.lanes.triggers)
      list.push({ t, record, side, text: `${name}${argument ? " " + argument : ""} → ${side}` });
    for (const [word, from, , record] of this.lanes.published) list.push({ t: from, record, side: "", text: `status: ${word}` });
    return list.sort((a, b) => a.t - b.t || a.record - b.record);
  }

  get pauses() { return this.explained.pauses.map((p) => ({ ...p, a: p.from.t * 1e6, b: p.to ? p.to.t * 1e6 : this.full[1] })); }

  // The stretches that one click shows.
  presets() {
    const list = [["Recording", this.full]];
    const spans = this.explained.spans;
    const end = spans.length ? Math.max(spans.at(-1).to.t * 1e6, ...this.pauses.map((p) => p.b)) : this.full[1];
    const start = this.lanes.start;
    if (end > start) {
      const wide = end - start;
      list.push(["Migration", [start - wide * 0.02, end + wide * 0.11]]);
    }
    const pause = this.pauses.at(-1);
    if (pause) {
      const wide = Math.max(pause.b - pause.a, 500);
      list.push(["Switchover", [pause.a - wide * 0.14, pause.b + wide * 0.2]]);
    }
    return list;
  }

  x(t) { return Timeline.gutter + ((t - this.view.from) / (this.view.to - this.view.from)) * this.width; }
  t(x) { return this.view.from + ((x - Timeline.gutter) / this.width) * (this.view.to - this.view.from); }

  draw() {
    const total = this.box.clientWidth - 24;
    if (total <= 0) return;
    this.width = Math.max(120, total - Timeline.gutter - Timeline.right);
    const height = 366;
    this.svg.setAttribute("viewBox", `0 0 ${total} ${height}`);
    this.svg.setAttribute("height", height);
    const parts = [
      g("title", { id: `${this.id}-title` }, this.name),
      g("desc", { id: `${this.id}-text` }, this.description()),
      g("defs", {}, g("clipPath", { id: `${this.id}-plot` }, g("rect", { x: Timeline.gutter, y: 0, width: this.width, height }))),
    ];
    const plot = g("g", { "clip-path": `url(#${this.id}-plot)` });
    parts.push(...this.axis(height), this.names(), plot);
    plot.append(...this.pauseShades(48, height - 22));
    plot.append(...this.bands(this.lanes.published, 30, 20, "status"));
    this.side(plot, "source", { guest: 74, words: 90, phases: 117, events: 146 });
    this.side(plot, "destination", { guest: 336, words: 306, phases: 285, events: 266 });
    plot.append(g("line", { class: "wire", x1: Timeline.gutter, x2: Timeline.gutter + this.width, y1: 206, y2: 206 }));
    plot.append(...this.arrows(206, 158, 254));
    if (this.cursor >= 0) {
      const x = this.x(this.items[this.cursor].t);
      plot.append(g("line", { class: "cursor", x1: x, x2: x, y1: 24, y2: height - 4 }));
    }
    this.svg.replaceChildren(...parts);
  }

  // The drawing in words, for whoever cannot see it.
  description() {
    const pauses = this.pauses.filter((p) => p.to).map((p) => `The guest stood still for ${span(p.microseconds)}.`);
    const words = (side) => this.lanes[side].words.map((w) => `${w[0]} at ${offset(w[1], this.lanes.start)}`).join(", ") || "nothing";
    return `The source said: ${words("source")}. The destination said: ${words("destination")}. ${pauses.join(" ")} ` +
      "The list of what happened, below, has the same with the numbers of the records.";
  }

  axis(height) {
    const { from, to } = this.view, start = this.lanes.start;
    const marks = ticks(from - start, to - start, Math.max(3, Math.floor(this.width / 110)));
    const step = marks.length > 1 ? marks[1] - marks[0] : to - from;
    return marks.flatMap((mark) => {
      const x = this.x(mark + start);
      return [
        g("line", { class: "tick", x1: x, x2: x, y1: 22, y2: height - 4 }),
        g("text", { class: "axis", x, y: 14, "text-anchor": "middle" }, tickText(mark, step)),
      ];
    });
  }

  names() {
    const name = (y, text, kind) => g("text", { x: 2, y, class: kind ?? "lane-name" }, text);
    const version = (side) => (this.lanes[side].seen ? this.lanes[side].version ?? "" : "not recorded");
    const release = (y, side) => g("text", { x: Timeline.gutter - 12, y, class: "lane-name", "text-anchor": "end" }, version(side).slice(0, 12));
    return g("g", { "aria-hidden": "true" },
      name(44, "published"),
      name(73, "source", "side-name"), release(73, "source"),
      name(106, "status"), name(130, "phase"), name(150, "events"), name(210, "asked"),
      name(270, "events"), name(298, "phase"), name(322, "status"),
      name(347, "destination", "side-name"), release(347, "destination"));
  }

  pauseShades(top, bottom) {
    return this.pauses.flatMap((pause) => {
      const a = this.x(pause.a), b = this.x(pause.b);
      if (b < Timeline.gutter || a > Timeline.gutter + this.width) return [];
      const text = pause.to ? `stands still ${span(pause.microseconds)}` : "stands still to the end";
      const left = Math.max(a, Timeline.gutter), right = Math.min(b, Timeline.gutter + this.width);
      const middle = (left + right) / 2, wide = textWidth(text, "620 11.5px system-ui, sans-serif") + 8;
      const list = [
        g("rect", { class: "pause", x: a, y: top + 8, width: Math.max(b - a, 1.5), height: bottom - top - 8 }),
        g("line", { class: "pause-edge", x1: a, x2: a, y1: top + 8, y2: bottom }),
        pause.to && g("line", { class: "pause-edge", x1: b, x2: b, y1: top + 8, y2: bottom }),
      ];
      const x = right - left > wide ? middle : Math.min(Math.max(middle, Timeline.gutter + wide / 2), Timeline.gutter + this.width - wide / 2);
      list.push(g("text", { class: "pause-name", x, y: bottom + 16, "text-anchor": "middle" }, text));
      return list.filter(Boolean);
    });
  }

  // Stretches under one word. Neighbours too narrow to be told apart are drawn all the same, without their names.
  bands(spans, y, height, what) {
    const list = [];
    for (const [word, from, seen, record, byQuery] of spans) {
      // The last word stays, whether the recording goes on or not.
      const isLast = seen >= this.lanes.end && word in OUTCOMES;
      const to = isLast ? Math.max(seen, this.view.to) : seen;
      const a = this.x(from), b = this.x(to);
      if (b < Timeline.gutter - 1 || a > Timeline.gutter + this.width + 1) continue;
      const left = Math.max(a, Timeline.gutter), right = Math.min(b, Timeline.gutter + this.width);
      const group = g("g", { class: "band hit", onclick: () => showRecord(record) });
      const isPhase = what.endsWith("phase");
      group.append(g("title", {}, `${what}: ${word}, from ${offset(from, this.lanes.start)}, ${isLast ? "to the end" : span(seen - from)}${byQuery ? ", told by a query" : ""} (record ${record})`));
      group.append(g("rect", {
        x: a, y, width: Math.max(b - a - 1, 1.5), height, rx: 3,
        style: `fill:${isPhase ? "var(--c-phase)" : colour(word)}${byQuery ? ";opacity:.72" : ""}`,
      }));
      if (right - left > textWidth(word) + 12)
        group.append(g("text", {
          x: left + 6, y: y + height / 2 + 4,
          style: `fill:${isPhase ? "var(--on-light)" : "var(--on-dark)"}${isPhase ? ";font-size:10.5px" : ""}`,
        }, word));
      list.push(group);
    }
    return list;
  }

  side(plot, side, y) {
    const lane = this.lanes[side];
    if (!lane.seen) {
      plot.append(g("text", { x: Timeline.gutter + 8, y: (y.words + y.phases) / 2 + 14, class: "lane-name" }, `the ${side} was not recorded`));
      return;
    }
    plot.append(g("line", { class: "still", x1: Timeline.gutter, x2: Timeline.gutter + this.width, y1: y.guest + 4, y2: y.guest + 4 }));
    for (const [from, to, , record] of lane.running) {
      const a = Math.max(this.x(from), Timeline.gutter - 4), b = Math.min(this.x(to >= this.lanes.end ? Math.max(to, this.view.to) : to), Timeline.gutter + this.width + 4);
      if (b <= a) continue;
      plot.append(g("rect", { class: "running", x: a, y: y.guest, width: b - a, height: 8, rx: 4 },
        g("title", {}, `the guest runs on the ${side}, ${span(to - from)}${record ? ` (to record ${record})` : ""}`)));
    }
    plot.append(...this.bands(lane.words, y.words, 22, `${side} status`));
    plot.append(...this.bands(lane.phases.spans, y.phases, 16, `${side} ${lane.phases.inferred ? "inferred " : ""}phase`));
    let lastPass = -9, lastDot = new Map();
    for (const [t, record, name, kind] of lane.moments) {
      const x = this.x(t);
      if (x < Timeline.gutter - 6 || x > Timeline.gutter + this.width + 6) continue;
      if (kind === "pass") {
        if (x - lastPass < 1.5) continue;
        lastPass = x;
        plot.append(g("line", { class: "pass", x1: x, x2: x, y1: y.events - 5, y2: y.events + 5 }, g("title", {}, `${side}: ${name} (record ${record})`)));
        continue;
      }
      // Of hundreds at one place one is enough.
      if (x - (lastDot.get(kind) ?? -9) < 2) continue;
      lastDot.set(kind, x);
      plot.append(g("circle", { class: `hit dot dot-${kind}`, cx: x, cy: y.events, r: 4.6, onclick: () => showRecord(record) },
        g("title", {}, `${side}: ${name}, ${offset(t, this.lanes.start)} (record ${record})`)));
    }
  }

  arrows(y, top, bottom) {
    const list = [], taken = { source: [[], []], destination: [[], []] }, last = { source: -9, destination: -9 };
    const shown = [];
    for (const [t, record, side, name, argument] of this.lanes.triggers) {
      const x = this.x(t);
      if (x < Timeline.gutter - 4 || x > Timeline.gutter + this.width + 4) continue;
      if (x - last[side] < 1.5 && list.length > 400) continue;
      last[side] = x;
      const up = side === "source", end = up ? top : bottom, tip = up ? 6 : -6;
      const group = g("g", { class: "hit", onclick: () => showRecord(record) },
        g("title", {}, `${name}${argument ? " " + argument : ""} to the ${side}, ${offset(t, this.lanes.start)} (record ${record})`),
        g("line", { class: "arrow", x1: x, x2: x, y1: y, y2: end + tip * 0.8 }),
        g("path", { class: "head", d: `M${x - 3.6} ${end + tip}L${x + 3.6} ${end + tip}L${x} ${end}Z` }));
      list.push(group);
      shown.push({ group, x, up, side, name });
    }
    // What decides is named first, settings where there is room left.
    const weight = (name) => (name.startsWith("migrate-set") ? 2 : name === "migrate" || name === "cont" || name.includes("cancel") ? 0 : 1);
    for (const { group, x, up, side, name } of shown.sort((a, b) => weight(a.name) - weight(b.name))) {
      const wide = textWidth(name, "11px system-ui, sans-serif") + 10;
      const isRoomRight = x + wide < Timeline.gutter + this.width + 4;
      if (!isRoomRight && weight(name) === 2) continue;
      const [from, to] = isRoomRight ? [x + 3, x + wide] : [x - wide, x - 3];
      const level = taken[side].findIndex((ranges) => ranges.every(([a, b]) => to < a || from > b));
      if (level < 0) continue;
      taken[side][level].push([from, to]);
      group.append(g("text", { class: "arrow-name", x: isRoomRight ? x + 5 : x - 5, "text-anchor": isRoomRight ? "start" : "end", y: up ? y - 6 - level * 15 : y + 15 + level * 15 }, name));
    }
    return list;
  }

  // MARK: Moving about

  zoom(from, to, quiet) {
    const least = 20, most = (this.full[1] - this.full[0]) * 1.4 + 1000;
    const wide = Math.min(Math.max(to - from, least), most), middle = (from + to) / 2;
    this.view.set(middle - wide / 2, middle + wide / 2);
    if (!quiet) say(`shown: ${offset(this.view.from, this.lanes.start)} to ${offset(this.view.to, this.lanes.start)}`);
  }

  scale(factor, at) {
    const middle = at ?? (this.cursor >= 0 ? this.items[this.cursor].t : (this.view.from + this.view.to) / 2);
    this.zoom(middle - (middle - this.view.from) * factor, middle + (this.view.to - middle) * factor);
  }

  step(by) {
    if (!this.items.length) return;
    if (this.cursor < 0) {
      const first = this.items.findIndex((item) => item.t >= this.view.from);
      this.cursor = by > 0 ? Math.max(first, 0) : this.items.length - 1;
    } else {
      this.cursor = Math.min(Math.max(this.cursor + by, 0), this.items.length - 1);
    }
    const item = this.items[this.cursor], wide = this.view.to - this.view.from;
    if (item.t < this.view.from || item.t > this.view.to) this.view.set(item.t - wide / 2, item.t + wide / 2);
    else this.draw();
    const text = `${offset(item.t, this.lanes.start)}, ${item.text}, record ${item.record}`;
    say(text);
    this.tell(this.x(item.t) + 12, 26, text);
  }

  key(event) {
    const act = {
      ArrowRight: () => this.step(1), ArrowLeft: () => this.step(-1), "+": () => this.scale(0.5), "=": () => this.scale(0.5), "-": () => this.scale(2),
      Home: () => { this.cursor = -1; this.step(1); }, End: () => { this.cursor = -1; this.step(-1); },
      0: () => this.zoom(...(this.presets()[1] ?? this.presets()[0])[1]), Escape: () => this.zoom(...this.full),
      Enter: () => this.cursor >= 0 && showRecord(this.items[this.cursor].record),
    }[event.key];
    if (!act || event.altKey || event.metaKey) return;
    event.preventDefault();
    act();
  }

  tell(x, y, text) {
    this.hint.hidden = false;
    this.hint.textContent = plain(text);
    const wide = Math.min(this.hint.offsetWidth, 340);
    this.hint.style.left = Math.max(4, Math.min(x, this.box.clientWidth - wide - 8)) + "px";
    this.hint.style.top = y + "px";
  }

  listen() {
    let begun = null, mark = null;
    const place = (event) => {
      const box = this.svg.getBoundingClientRect();
      return ((event.clientX - box.left) / box.width) * this.svg.viewBox.baseVal.width;
    };
    this.svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || place(event) < Timeline.gutter) return;
      begun = place(event);
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (begun === null) return;
      const now = Math.max(place(event), Timeline.gutter);
      if (Math.abs(now - begun) < 4) return;
      if (!mark) { mark = g("rect", { class: "selection", y: 22, height: 338 }); this.svg.append(mark); this.svg.setPointerCapture(event.pointerId); }
      mark.setAttribute("x", Math.min(begun, now));
      mark.setAttribute("width", Math.abs(now - begun));
    });
    this.svg.addEventListener("pointerup", (event) => {
      const from = begun;
      begun = null;
      if (!mark) return;
      mark.remove();
      mark = null;
      const now = Math.max(place(event), Timeline.gutter);
      this.zoom(Math.min(this.t(from), this.t(now)), Math.max(this.t(from), this.t(now)));
    });
    this.svg.addEventListener("dblclick", () => this.scale(0.4, null));
    this.svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.scale(event.deltaY > 0 ? 1.25 : 0.8, this.t(place(event)));
    }, { passive: false });
    this.box.addEventListener("blur", () => { this.hint.hidden = true; });
  }
}
