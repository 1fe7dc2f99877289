// Building the page: text is put in as text only, never as markup.
const SVG = "http://www.w3.org/2000/svg";

// Nothing in a recording may turn the text around it, or hide in it.
const plain = (text) => String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, "\ufffd");

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : plain(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(plain(child)));
  }
  return node;
}
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const g = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// Numbers with their units, as the program writes them.
function span(us) {
  const t = Math.max(0, us);
  if (t < 1e4) return (t / 1e3).toFixed(2) + " ms";
  if (t < 1e5) return (t / 1e3).toFixed(1) + " ms";
  if (t < 1e6) return Math.floor(t / 1e3) + " ms";
  if (t < 12e7) return (t / 1e6).toFixed(2) + " s";
  return (t / 6e7).toFixed(1) + " min";
}
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit++; }
  return n.toFixed(unit > 0 && n < 10 ? 1 : 0) + " " + units[unit];
}
const rate = (n) => bytes(n) + "/s";
const offset = (us, start) => ((us - start) / 1e6).toFixed(us - start < 1e8 ? 4 : 2) + " s";

// What a word looks like. Words that nobody knows are grey, as everything that is only in progress.
const TONES = {
  setup: "start", "wait-unplug": "start", starting: "start", active: "copy", copying: "copy", "pre-switchover": "hold",
  device: "switch", switchover: "switch", "postcopy-device": "switch", "postcopy-active": "post", postcopy: "post",
  "postcopy-paused": "broken", "postcopy-recover-setup": "recover", "postcopy-recover": "recover", recovering: "recover",
  colo: "post", completed: "done", failing: "fail", failed: "fail", lost: "fail", undecided: "broken", ended: "cancel",
  cancelling: "cancel", cancelled: "cancel",
};
const colour = (word) => `var(--c-${TONES[word] ?? "odd"})`;
const OUTCOMES = { completed: "good", failed: "bad", lost: "bad", undecided: "bad", "postcopy-paused": "warn", cancelled: "quiet", ended: "quiet" };
const PARTS = {
  "held": "var(--c-hold)", "device-state": "var(--c-switch)", "controller-continue": "var(--c-post)", "destination": "var(--c-copy)",
  "handshake": "var(--c-recover)", "controller-run": "var(--c-broken)", "guest-resume": "var(--c-done)",
  "controller-source-run": "var(--c-broken)", "rollback": "var(--c-cancel)", "not-recorded": "var(--c-odd)",
};
const PART_NAMES = {
  "held": "paused by a command, before the last pass", "device-state": "QEMU: last pages and device state, sent and loaded",
  "controller-continue": "controller: until migrate-continue was sent", "destination": "waiting for the destination to load",
  "handshake": "QEMU: until the source heard that it had arrived", "controller-run": "controller: until cont was sent",
  "guest-resume": "guest resume: until the guest ran", "controller-source-run": "controller: until cont was sent to the source",
  "rollback": "QEMU: giving up, until the source ran the guest again", "not-recorded": "not recorded",
};
const SIDES = ["", "source", "destination"];

// Round steps for an axis of some `count` ticks.
function ticks(from, to, count) {
  const wide = to - from;
  if (!(wide > 0)) return [];
  const raw = wide / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw) ?? raw;
  const list = [];
  for (let t = Math.ceil(from / step) * step; t <= to && list.length < 200; t += step) list.push(t);
  return list;
}
function tickText(us, step) {
  if (Math.abs(us) < 1e-6) return "0";
  if (step < 1e3) return (us / 1e3).toFixed(step < 100 ? 2 : 1) + " ms";
  if (step < 1e6 && Math.abs(us) < 2e6) return (us / 1e3).toFixed(0) + " ms";
  return (us / 1e6).toFixed(step < 1e4 ? 3 : step < 1e5 ? 2 : step < 1e6 ? 1 : 0) + " s";
}

let measurer = null;
function textWidth(text, font) {
  measurer ??= document.createElement("canvas").getContext("2d");
  measurer.font = font ?? "11.5px system-ui, sans-serif";
  return measurer.measureText(text).width;
}

// What a screen reader is told about what changed.
const live = h("div", { class: "visually-hidden", role: "status", "aria-live": "polite" });
const say = (text) => { live.textContent = plain(text); };
