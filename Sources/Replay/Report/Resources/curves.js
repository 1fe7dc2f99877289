// Curves of what query-migrate told, under the same time as the time line.
class Curves {
  constructor(lanes, explained, view) {
    Object.assign(this, { lanes, explained, view });
    const s = lanes.samples;
    const limitAt = (t) => s.limits.reduce((value, [at, ms]) => (at <= t ? ms : value), null);
    const line = (label, values, colour, steps) => ({ label, colour, steps,
      points: s.t.map((t, i) => [t, values[i], s.record[i]]).filter((p) => p[1] !== null && p[1] !== undefined) });
    const milliseconds = (v) => v + " ms";
    const kinds = [
      { name: "Memory left", text: bytes, lines: [line("left", s.remaining, "var(--accent)")], isAlways: true },
      { name: "Sent and dirtied", text: rate, lines: [line("sent", s.rate, "var(--accent)"), line("dirtied", s.dirty, "var(--c-switch)", true)] },
      { name: "Downtime", text: milliseconds,
        lines: [line("expected", s.expected, "var(--accent)", true), line("limit", s.t.map(limitAt), "var(--c-switch)", true)] },
      { name: "Guest throttled", text: (v) => v + " %", most: 100, lines: [line("by", s.throttle, "var(--accent)", true)] },
    ];
    this.kinds = kinds.map((kind) => ({ ...kind, lines: kind.lines.filter((one) => one.points.length > 1 && (kind.isAlways || one.points.some((p) => p[1] > 0))) }))
      .filter((kind) => kind.lines.length)
      .map((kind) => ({ ...kind, name: (kind.lines.length === 1 && { sent: "Sent", dirtied: "Dirtied by the guest", expected: "Downtime expected", limit: "Downtime limit" }[kind.lines[0].label]) || kind.name }));
    this.figures = this.kinds.map((kind) => this.figure(kind));
    this.element = h("div", { class: "curves" }, this.figures.map((f) => f.element));
  }

  figure(kind) {
    const peak = (one) => one.points.reduce((most, p) => Math.max(most, p[1]), -Infinity);
    const text = `${kind.name}: ` + kind.lines.map((one) =>
      `${one.label}, ${one.points.length} samples, from ${kind.text(one.points[0][1])} to ${kind.text(one.points.at(-1)[1])}, at most ${kind.text(peak(one))}`).join("; ");
    const svg = g("svg", { role: "img", "aria-label": text });
    const values = kind.lines.map((one) => h("span", { class: "now" }));
    const figure = { kind, svg, values, lines: kind.lines };
    figure.rest = () => values.forEach((node, i) => { node.textContent = `${kind.lines.length > 1 ? kind.lines[i].label + " " : ""}at most ${kind.text(peak(kind.lines[i]))}`; });
    figure.rest();
    figure.element = h("figure", { class: "card" }, h("figcaption", {}, h("b", {}, kind.name), h("span", { class: "keys" }, kind.lines.map((one, i) =>
      h("span", { class: "key" }, kind.lines.length > 1 && h("span", { class: "swatch", style: `background:${one.colour};height:3px;width:14px` }), values[i])))), svg);
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
    let most = kind.most ?? 0;
    if (!kind.most) {
      const inSight = (p) => p[0] >= from && p[0] <= to;
      for (const isAll of [false, true]) {
        for (const one of kind.lines) for (const p of one.points) if ((isAll || inSight(p)) && p[1] > most) most = p[1];
        if (most > 0) break;
      }
      most = Math.max(most, 1) * 1.08;
    }
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
    for (const pass of passes.length > width / 9 ? [] : passes)
      plot.append(g("line", { class: "boundary", x1: pass.at, x2: pass.at, y1: top, y2: base }, g("title", {}, `pass ${pass.iteration} begins`)));
    for (const pause of this.explained.pauses) {
      const a = x(pause.from.t * 1e6), b = pause.to ? x(pause.to.t * 1e6) : left + width;
      plot.append(g("rect", { class: "pause", x: a, y: top, width: Math.max(b - a, 1.5), height: base - top }));
    }
    kind.lines.forEach((one, i) => {
      const path = this.path(one, x, y, width);
      if (i === 0) plot.append(g("path", { class: "area", d: path.line + `L${path.end} ${base}L${path.begin} ${base}Z` }));
      plot.append(g("path", { class: "curve", style: `stroke:${one.colour}${i ? ";stroke-dasharray:5 3" : ""}`, d: path.line }));
      const shown = one.points.filter(([t]) => t >= from && t <= to);
      if (i === 0 && shown.length <= 60) for (const [t, value] of shown) plot.append(g("circle", { class: "sample", cx: x(t), cy: y(value), r: 2 }));
    });
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

  // Some points for each pixel are enough.
  path(one, x, y, width) {
    const points = one.points, stride = Math.max(1, Math.floor(points.length / (width * 4)));
    let line = "", begin = null, end = null;
    for (let i = 0; i < points.length; i += stride) {
      // Far outside a number of pixels may be too large to draw.
      const px = Math.min(Math.max(x(points[i][0]), -9000), 9000), py = y(points[i][1]);
      if (begin === null) { line = `M${px.toFixed(1)} ${py.toFixed(1)}`; begin = px; }
      else line += one.steps ? `H${px.toFixed(1)}V${py.toFixed(1)}` : `L${px.toFixed(1)} ${py.toFixed(1)}`;
      end = px;
    }
    return { line: line || "M0 0", begin: begin ?? 0, end: end ?? 0 };
  }

  hover(event, svg) {
    const box = svg.getBoundingClientRect(), here = this.figures.find((f) => f.svg === svg);
    const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const t = this.view.from + ((at - here.left) / here.width) * (this.view.to - this.view.from);
    const nearest = (points) => points.reduce((a, b) => (Math.abs(b[0] - t) < Math.abs(a[0] - t) ? b : a));
    for (const figure of this.figures) {
      figure.near = nearest(figure.lines[0].points);
      figure.lines.forEach((one, i) => {
        const near = nearest(one.points);
        figure.values[i].textContent = `${one.label} ${figure.kind.text(near[1])}` + (i === figure.lines.length - 1 ? ` at ${offset(near[0], this.lanes.start)}` : "");
      });
      figure.cursor.setAttribute("x1", figure.x(figure.near[0]));
      figure.cursor.setAttribute("x2", figure.x(figure.near[0]));
      figure.cursor.setAttribute("visibility", "visible");
    }
  }

  leave() {
    for (const figure of this.figures) {
      figure.rest();
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
