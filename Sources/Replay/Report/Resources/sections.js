// The parts of the page that are words and tables.
let showRecord = () => {};
const remembered = new URLSearchParams(location.hash.slice(1));
function remember(name, value) {
  remembered.set(name, value);
  try { history.replaceState(null, "", "#" + remembered); } catch { /* some viewers allow no history */ }
}

const refs = (records) => records.slice(0, 8).map((record) =>
  h("button", { class: "ref", type: "button", title: `show record ${record}`, "aria-label": `record ${record}`, onclick: () => showRecord(record) }, record));

function part(title, note, ...content) {
  return h("section", { class: "part", "aria-label": title }, h("header", {}, h("h2", {}, title), note && h("p", {}, note)), content);
}

function outcomeTone(explained) { return explained.outcome === "unfinished" ? "warn" : OUTCOMES[explained.outcome] ?? "quiet"; }

function hero(explained) {
  const fault = explained.fault;
  const who = fault.party ? [`Whose doing: ${fault.certainty === "proven" ? "" : "most likely "}the `, h("b", {}, fault.party), "; "]
    : fault.certainty === "proven" ? ["Whose doing: ", h("b", {}, "nobody’s"), "; "] : ["Whose doing: ", h("b", {}, "the records do not tell"), "; "];
  const [verdict] = explained.verdict.text.split("; ");
  return h("div", { class: "hero" },
    h("div", { class: `badge tone-${outcomeTone(explained)}` }, explained.outcome === "unfinished" ? `unfinished (${explained.status})` : explained.outcome),
    h("p", { class: "verdict" }, verdict),
    h("p", { class: "fault" }, who, fault.because.text, ".", refs(fault.because.records)),
    figures(explained));
}

function figures(explained) {
  const pause = explained.pauses.at(-1), passes = explained.iterations;
  const sent = explained.iterations.reduce((sum, pass) => sum + (pass.transferredBytes ?? 0), 0);
  const list = [];
  if (explained.totalMicroseconds !== null)
    list.push(["from migrate to the end", span(explained.totalMicroseconds), explained.totalMilliseconds !== null ? `${explained.totalMilliseconds} ms by QEMU’s count` : ""]);
  if (pause) list.push(["the guest stood still", pause.microseconds === null ? "not seen to end" : span(pause.microseconds),
    explained.downtimeMilliseconds !== null ? `${explained.downtimeMilliseconds} ms by QEMU’s count` : pause.exact ? "" : "as far as queries tell"]);
  if (sent > 0) list.push(["memory sent", bytes(sent), "as of the last look"]);
  if (passes.length) list.push(["passes over memory", String(passes.length), ""]);
  list.push(["unusual", String(explained.anomalies.length), explained.anomalies.length ? "see below" : "nothing"]);
  return h("dl", { class: "figures" }, list.map(([name, value, note]) => h("div", {}, h("dt", {}, name), h("dd", {}, value, note && h("small", {}, note)))));
}

function pausePart(explained) {
  if (!explained.pauses.length) return null;
  const blocks = explained.pauses.slice(-4).map((pause) => {
    if (pause.microseconds === null)
      return h("div", { class: "pad" }, h("p", {}, `From ${offset(pause.from.t * 1e6, explained.start * 1e6)} on the guest was not seen to run again.`, refs([pause.from.record])));
    return h("div", { class: "pad" },
      h("div", { class: "stack", role: "img", "aria-label": pause.parts.map((p) => `${PART_NAMES[p.kind]}: ${span(p.microseconds)}`).join("; ") },
        pause.parts.map((p) => h("span", { style: `flex-grow:${Math.max(p.microseconds, 1)};background:${PARTS[p.kind]}`, title: `${PART_NAMES[p.kind]}: ${span(p.microseconds)}` }))),
      h("ul", { class: "parts" }, pause.parts.map((p) => h("li", {},
        h("span", { class: "swatch", style: `background:${PARTS[p.kind]}` }), h("span", { class: "n" }, span(p.microseconds)),
        h("span", { class: "share" }, Math.round((p.microseconds / Math.max(pause.microseconds, 1)) * 100) + " %"),
        h("span", {}, PART_NAMES[p.kind] ?? p.kind, refs([p.from.record, p.to.record]))))));
  });
  const last = explained.pauses.at(-1);
  const note = last.microseconds === null ? "" : `${span(last.microseconds)}, until it ran on the ${last.resumedOn ?? "?"}` + (last.exact ? "" : ", as far as queries tell");
  return part("Where the guest’s pause went", note, h("div", { class: "card" }, blocks));
}

function timePart(explained, curves) {
  const passes = explained.iterations;
  const cell = (value, text) => (value === null || value === undefined ? h("td", { class: "muted" }, "–") : h("td", {}, text(value)));
  const table = passes.length && h("div", { class: "card scroll passes", tabindex: 0, role: "region", "aria-label": "Passes over memory" }, h("table", { class: "plain" },
    h("caption", { class: "visually-hidden" }, "Passes over memory"),
    h("thead", {}, h("tr", {}, ["pass", "begins", "took", "sent", "left", "sent at", "dirtied at", "throttled", "downtime limit"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, passes.slice(0, 500).map((pass) => h("tr", {},
      h("td", {}, pass.iteration, refs([pass.from.record])), h("td", {}, offset(pass.from.t * 1e6, explained.start * 1e6)), h("td", {}, span(pass.microseconds)),
      cell(pass.transferredBytes, bytes), cell(pass.remainingBytes, bytes), cell(pass.bytesPerSecond, rate), cell(pass.dirtyBytesPerSecond, rate),
      cell(pass.throttlePercentage, (v) => v + " %"), cell(pass.downtimeLimitMilliseconds, (v) => v + " ms"))))));
  if (!table && !curves.figures.length) return null;
  return part("How memory went", curves.figures.length ? "from query-migrate; dashed lines are the passes, the shaded stretch is the pause" : "no query-migrate while it copied: only the passes are known",
    curves.element, table);
}

function claimList(explained, claims, timed) {
  return h("ul", { class: timed ? "columns" : null }, claims.map((claim) => h("li", {},
    timed && claim.t !== undefined && h("span", { class: "when" }, offset(claim.t * 1e6, explained.start * 1e6)), timed && " ",
    claim.side && !claim.text.includes(claim.side) && h("span", { class: "who" }, claim.side + ": "), claim.text, refs(claim.records))));
}

function claimsPart(explained) {
  const block = (title, claims, wide, timed) => claims.length > 0 && h("div", { class: "card" + (wide ? " wide" : "") }, h("h3", {}, title), claimList(explained, claims, timed));
  return part("What happened, and why", "each statement with the records that prove it", h("div", { class: "claims" },
    block("Asked", explained.asked), block("Why it ended so", explained.why),
    block("What happened, since migrate", explained.happened, true, true),
    block("Unusual", explained.anomalies), block("What to try next", explained.advice),
    explained.gaps.length > 0 && h("div", { class: "card wide" }, h("h3", {}, "What this recording does not tell"),
      h("ul", {}, explained.gaps.map((gap) => h("li", {}, gap.what, h("span", { class: "would" }, "would tell: " + gap.remedy)))))));
}

// A short name of a recording; the release of QEMU, then the file tell two of one name apart.
function traceName(data, trace) {
  const short = (one) => (one.explanation.title ?? "").split(": ")[0].slice(0, 60) || one.explanation.trace.split("/").pop();
  const release = (one) => `${short(one)}, QEMU ${one.lanes[0]?.source.version ?? one.lanes[0]?.destination.version ?? "?"}`;
  const isOnly = (text) => data.traces.filter((one) => text(one) === text(trace)).length === 1;
  return isOnly(short) ? short(trace) : isOnly(release) ? release(trace) : `${short(trace)} (${trace.explanation.trace.split("/").pop()})`;
}

// Several recordings side by side.
function comparison(data, open) {
  const colours = ["var(--accent)", "var(--c-switch)", "var(--c-post)", "var(--c-done)", "var(--c-broken)", "var(--c-hold)", "var(--c-recover)", "var(--c-cancel)"];
  const list = data.traces.flatMap((trace, index) => trace.explanation.attempts.map((explained, number) => ({ trace, index, explained, number, lanes: trace.lanes[number] })));
  const name = (one) => traceName(data, one.trace) + (one.trace.explanation.attempts.length > 1 ? `, attempt ${one.number + 1}` : "");
  const longest = Math.max(1, ...list.map((one) => one.explained.pauses.at(-1)?.microseconds ?? 0));
  const rows = list.map((one) => {
    const e = one.explained, pause = e.pauses.at(-1), diff = one.index ? data.diffs[one.index - 1] : null;
    return h("tr", {},
      h("td", { class: "wrap-cell left" }, h("span", { class: "swatch", style: `background:${colours[list.indexOf(one) % colours.length]};margin-right:8px` }),
        h("a", { href: "#", onclick: (event) => { event.preventDefault(); open(one.index, one.number); } }, name(one))),
      h("td", { class: `left tone-${outcomeTone(e)}` }, e.outcome), h("td", {}, e.totalMicroseconds === null ? "–" : span(e.totalMicroseconds)),
      h("td", {}, pause?.microseconds != null ? span(pause.microseconds) : "–"), h("td", {}, e.downtimeMilliseconds === null ? "–" : e.downtimeMilliseconds + " ms"),
      h("td", {}, e.iterations.length || "–"), h("td", { class: "left" }, e.fault.party ?? (e.fault.certainty === "proven" ? "nobody" : "not known")),
      h("td", { class: "left wrap-cell" }, !diff ? h("span", { class: "muted" }, "the first") : diff.same ? "the same as the first" :
        `${diff.parting.lane}: ${diff.parting.right?.what ?? "nothing more"} instead of ${diff.parting.left?.what ?? "nothing more"}`));
  });
  const bars = list.filter((one) => one.explained.pauses.at(-1)?.microseconds).map((one) => {
    const pause = one.explained.pauses.at(-1);
    return h("li", { style: "grid-template-columns:minmax(120px,240px) 1fr 84px" }, h("span", {}, name(one)),
      h("span", { class: "stack", style: `height:18px;width:${Math.max((pause.microseconds / longest) * 100, 0.6)}%` }, pause.parts.map((p) =>
        h("span", { style: `flex-grow:${Math.max(p.microseconds, 1)};background:${PARTS[p.kind]}`, title: `${PART_NAMES[p.kind]}: ${span(p.microseconds)}` }))),
      h("span", { class: "n" }, span(pause.microseconds)));
  });
  const kinds = [...new Set(list.flatMap((one) => one.explained.pauses.at(-1)?.parts.map((p) => p.kind) ?? []))];
  const series = list.map((one, i) => ({ name: name(one), colour: colours[i % colours.length],
    end: Math.max((one.explained.totalMicroseconds ?? one.lanes.end - one.lanes.start), 0),
    points: one.lanes.samples.t.map((t, j) => [t - one.lanes.start, one.lanes.samples.remaining[j]]).filter((p) => p[1] !== null && p[0] >= 0) }));
  const curves = series.some((one) => one.points.length > 1) ? overlay(series) : null;
  return {
    draw: () => curves?.draw(),
    element: part("Side by side", `${data.traces.length} recordings`, h("div", { class: "card scroll", tabindex: 0, role: "region", "aria-label": "Comparison" }, h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, ["recording", "outcome", "total", "stood still", "QEMU’s downtime", "passes", "whose doing", "parts from the first at"].map((text, i) => h("th", { scope: "col", class: [0, 1, 6, 7].includes(i) ? "left" : null }, text)))),
      h("tbody", {}, rows))),
      bars.length > 0 && h("div", { class: "card pad", style: "margin-top:12px" }, h("h3", {}, "The guest’s pause, on one scale"), h("ul", { class: "parts" }, bars),
        h("div", { class: "legend", style: "padding:10px 0 0" }, kinds.map((kind) => h("span", {}, h("span", { class: "swatch", style: `background:${PARTS[kind]}` }), PART_NAMES[kind])))),
      curves && h("div", { style: "margin-top:12px" }, h("h3", { style: "margin:0 0 6px" }, "Memory left, since migrate"), curves.element)),
  };
}
