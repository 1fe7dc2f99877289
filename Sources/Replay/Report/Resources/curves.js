// Curves of what query-migrate told, under the same time as the time line.
class Curves {
  constructor(lanes, explained, view) {
    Object.assign(this, { lanes, explained, view });
    const s = lanes.samples;
    const limits = s.limits;
    const limitAt = (t) => limits.reduce((value, [at, ms]) => (at <= t ? ms : value), null);
    const kinds = [
      { name: "Memory left", values: s.remaining, text: bytes, zero: true },
      { name: "Sent at", values: s.rate, text: rate, zero: true },
      { name: "Dirtied by the guest at", values: s.dirty, text: rate, zero: true, steps: true },
      { name: "Guest throttled by", values: s.throttle, text: (v) => v + " %", zero: true, most: 100, steps: true },
      { name: "Downtime limit", values: s.t.map(limitAt), text: (v) => v + " ms", zero: true, steps: true },
      { name: "Downtime expected", values: s.expected, text: (v) => v + " ms", zero: true, steps: true },
    ];
    this.kinds = kinds.map((kind) => ({ ...kind, points: s.t.map((t, i) => [t, kind.values[i], s.record[i]]).filter((p) => p[1] !== null && p[1] !== undefined) }))
      .filter((kind) => kind.points.length > 1 && (kind.name === "Memory left" || kind.points.some((p) => p[1] > 0)));
    this.figures = this.kinds.map((kind, index) => this.figure(kind, index));
    this.element = h("div", { class: "curves" }, this.figures.map((f) => f.element));
  }

  figure(kind, index) {
    const peak = kind.points.reduce((a, b) => (b[1] > a[1] ? b : a)), last = kind.points.at(-1);
    const text = `${kind.name}: ${kind.points.length} samples, from ${kind.text(kind.points[0][1])} to ${kind.text(last[1])}, at most ${kind.text(peak[1])}`;
    const svg = g("svg", { role: "img", "aria-label": text });
    const now = h("span", { class: "now" }, "at most " + kind.text(peak[1]));
    const figure = { kind, svg, now, rest: now.textContent };
    figure.element = h("figure", { class: "card" }, h("figcaption", {}, h("b", {}, kind.name), now), svg);
    svg.addEventListener("pointermove", (event) => this.hover(event, svg));
    svg.addEventListener("pointerleave", () => this.leave());
    svg.addEventListener("click", () => figure.near && showRecord(figure.near[2]));
    return figure;
  }

  draw() { for (const figure of this.figures) this.drawOne(figure); }

  drawOne(figure) {
    const { kind, svg } = figure, total = figure.element.clientWidth - 28;
    if (total <= 0) return;
    const left = 62, height = 150, width = total - left - 6, top = 12, base = height - 22;
    const { from, to } = this.view, start = this.lanes.start;
    const x = (t) => left + ((t - from) / (to - from)) * width;
    const shown = kind.points.filter(([t]) => t >= from && t <= to);
    const values = (shown.length ? shown : kind.points).map((p) => p[1]);
    const most = kind.most ?? Math.max(...values.slice(0, 100000), 1) * 1.06;
    const y = (value) => base - (value / most) * (base - top);
    svg.setAttribute("viewBox", `0 0 ${total} ${height}`);
    svg.setAttribute("height", height);
    const clip = `curve-${this.figures.indexOf(figure)}`;
    const parts = [g("defs", {}, g("clipPath", { id: clip }, g("rect", { x: left, y: 0, width, height })))];
    for (const mark of this.levels(most, kind)) {
      parts.push(g("line", { class: "tick", x1: left, x2: left + width, y1: y(mark), y2: y(mark) }));
      parts.push(g("text", { class: "axis", x: left - 6, y: y(mark) + 4, "text-anchor": "end" }, kind.text(mark)));
    }
    const marks = ticks(from - start, to - start, Math.max(2, Math.floor(width / 110))), step = marks.length > 1 ? marks[1] - marks[0] : to - from;
    for (const mark of marks) parts.push(g("text", { class: "axis", x: x(mark + start), y: height - 6, "text-anchor": "middle" }, tickText(mark, step)));
    const plot = g("g", { "clip-path": `url(#${clip})` });
    // Of more passes than can be told apart none is marked.
    const passes = this.explained.iterations.map((pass) => ({ ...pass, at: x(pass.from.t * 1e6) })).filter(({ at }) => at >= left && at <= left + width);
    for (const pass of passes.length > width / 9 ? [] : passes) {
      const at = pass.at;
      plot.append(g("line", { class: "boundary", x1: at, x2: at, y1: top, y2: base }, g("title", {}, `pass ${pass.iteration} begins`)));
    }
    for (const pause of this.explained.pauses) {
      const a = x(pause.from.t * 1e6), b = pause.to ? x(pause.to.t * 1e6) : left + width;
      plot.append(g("rect", { class: "pause", x: a, y: top, width: Math.max(b - a, 1.5), height: base - top }));
    }
    const path = this.path(kind, x, y, width);
    plot.append(g("path", { class: "area", d: path.line + `L${path.end} ${base}L${path.begin} ${base}Z` }), g("path", { class: "curve", d: path.line }));
    if (shown.length && shown.length <= 60) for (const [t, value] of shown) plot.append(g("circle", { class: "sample", cx: x(t), cy: y(value), r: 2 }));
    figure.cursor = g("line", { class: "cursor", y1: top, y2: base, visibility: "hidden" });
    plot.append(figure.cursor);
    parts.push(plot, g("line", { class: "wire", x1: left, x2: left + width, y1: base, y2: base }));
    Object.assign(figure, { x, left, width });
    svg.replaceChildren(...parts);
  }

  levels(most, kind) {
    // Bytes step in powers of two.
    if (kind.text === bytes || kind.text === rate) {
      let step = 1;
      while (most / step > 4) step *= 2;
      return Array.from({ length: 5 }, (_, i) => i * step).filter((v) => v <= most);
    }
    return ticks(0, most, 3).filter((v) => Number.isInteger(v));
  }

  // At most two points for each pixel: the first and the extreme one.
  path(kind, x, y, width) {
    const points = kind.points, stride = Math.max(1, Math.floor(points.length / (width * 4)));
    let line = "", begin = null, end = null, before = null;
    for (let i = 0; i < points.length; i += stride) {
      const px = x(points[i][0]), py = y(points[i][1]);
      if (px < -4000) { before = [px, py]; continue; }
      if (px > width + 4000) { line += line ? `L${px.toFixed(1)} ${py.toFixed(1)}` : ""; end = px; break; }
      if (begin === null) {
        if (before) { line = `M${before[0].toFixed(1)} ${before[1].toFixed(1)}`; begin = before[0]; }
        else { begin = px; }
      }
      if (kind.steps && line) line += `H${px.toFixed(1)}`;
      line += `${line ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`;
      end = px;
    }
    return { line: line || "M0 0", begin: begin ?? 0, end: end ?? 0 };
  }

  hover(event, svg) {
    const box = svg.getBoundingClientRect(), one = this.figures.find((f) => f.svg === svg);
    const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const t = this.view.from + ((at - one.left) / one.width) * (this.view.to - this.view.from);
    for (const figure of this.figures) {
      const near = figure.kind.points.reduce((a, b) => (Math.abs(b[0] - t) < Math.abs(a[0] - t) ? b : a));
      figure.near = near;
      figure.now.textContent = `${figure.kind.text(near[1])} at ${offset(near[0], this.lanes.start)}`;
      figure.cursor.setAttribute("x1", figure.x(near[0]));
      figure.cursor.setAttribute("x2", figure.x(near[0]));
      figure.cursor.setAttribute("visibility", "visible");
    }
  }

  leave() {
    for (const figure of this.figures) {
      figure.now.textContent = figure.rest;
      figure.cursor?.setAttribute("visibility", "hidden");
    }
  }
}

// Memory left over time, of several migrations at once.
function overlay(series) {
  const box = h("div", { class: "card drawing" });
  const svg = g("svg", { role: "img", "aria-label": "Memory left over the time since migrate, for each migration: " +
    series.map((one) => `${one.name}, ${one.points.length} samples`).join("; ") });
  box.append(svg);
  const draw = () => {
    const total = box.clientWidth - 24, height = 230, left = 66, width = total - left - 10, base = height - 24;
    if (width <= 0) return;
    const end = Math.max(...series.map((one) => one.end), 1), most = Math.max(1, ...series.flatMap((one) => one.points.slice(0, 50000).map((p) => p[1])));
    svg.setAttribute("viewBox", `0 0 ${total} ${height}`);
    svg.setAttribute("height", height);
    const parts = [];
    const marks = ticks(0, end, Math.max(2, Math.floor(width / 110))), step = marks.length > 1 ? marks[1] - marks[0] : end;
    for (const mark of marks) {
      const x = left + (mark / end) * width;
      parts.push(g("line", { class: "tick", x1: x, x2: x, y1: 8, y2: base }), g("text", { class: "axis", x, y: height - 8, "text-anchor": "middle" }, tickText(mark, step)));
    }
    for (const share of [0, 0.5, 1]) parts.push(g("text", { class: "axis", x: left - 6, y: base - share * (base - 12) + 4, "text-anchor": "end" }, bytes(most * share)));
    for (const one of series) {
      const d = one.points.map(([t, v], i) => `${i ? "L" : "M"}${(left + (t / end) * width).toFixed(1)} ${(base - (v / most) * (base - 12)).toFixed(1)}`).join("");
      if (d) parts.push(g("path", { class: "curve", style: `stroke:${one.colour}`, d }, g("title", {}, one.name)));
      const x = left + (one.end / end) * width;
      parts.push(g("line", { x1: x, x2: x, y1: base - 9, y2: base, style: `stroke:${one.colour};stroke-width:2` }, g("title", {}, `${one.name}: the end`)));
    }
    svg.replaceChildren(...parts, g("line", { class: "wire", x1: left, x2: left + width, y1: base, y2: base }));
  };
  return { element: box, draw };
}
