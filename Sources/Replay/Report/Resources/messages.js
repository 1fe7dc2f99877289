// The table of messages. Of however many rows only those in sight are in the document.
class Messages {
  static rowHeight = 28;

  constructor(trace, kinds) {
    Object.assign(this, { trace, kinds, rows: trace.rows, start: 0 });
    this.query = "";
    this.side = -1;
    this.off = new Set();
    this.selected = null;
    this.shown = this.rows.map((_, i) => i);
    this.build();
  }

  build() {
    this.input = h("input", { type: "search", placeholder: "Search, such as MIGRATION or query-migrate error-desc", "aria-label": "Search the messages",
      autocomplete: "off", spellcheck: "false", oninput: () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.filter(this.input.value), 60); } });
    this.count = h("span", { class: "count" });
    this.sideSelect = h("select", { "aria-label": "Side", onchange: () => { this.side = Number(this.sideSelect.value); this.filter(this.query); } },
      [["-1", "both sides"], ["1", "source"], ["2", "destination"], ["0", "neither"]].map(([value, text]) => h("option", { value }, text)));
    const present = this.kinds.map((name, i) => [name, i]).filter(([, i]) => this.rows.some((row) => row[3] === i));
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Kinds of records" }, present.map(([name, i]) =>
      h("button", { type: "button", "aria-pressed": "true", onclick: (event) => this.toggle(i, event.currentTarget) }, name)));
    this.spacer = h("div", { role: "presentation" });
    this.viewport = h("div", { class: "viewport", role: "rowgroup", tabindex: -1, onscroll: () => this.paint() }, this.spacer);
    this.detail = h("div", { class: "detail", hidden: true, tabindex: -1, "aria-live": "polite" });
    const heads = ["record", "time", "side", "kind", "what", "text"];
    this.grid = h("div", { role: "grid", tabindex: 0, "aria-label": "Messages", "aria-colcount": 6, onkeydown: (event) => this.key(event) },
      h("div", { class: "grid-head", role: "row" }, heads.map((name) => h("span", { role: "columnheader" }, name))), this.viewport);
    this.element = h("div", { class: "card" },
      h("div", { class: "find", role: "search" }, this.input, this.sideSelect, this.chips, this.count),
      this.grid, this.detail);
  }

  // All words have to be there, in any order and any case.
  filter(query) {
    this.query = query;
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const cache = (this.cache ??= new Array(this.rows.length));
    const shown = [];
    for (let i = 0; i < this.rows.length; i++) {
      const row = this.rows[i];
      if ((this.side >= 0 && row[2] !== this.side) || this.off.has(row[3])) continue;
      if (words.length) {
        const text = (cache[i] ??= `${row[0]} ${SIDES[row[2]]} ${this.kinds[row[3]]} ${row[4]} ${row[5]}`.toLowerCase());
        if (!words.every((word) => text.includes(word))) continue;
      }
      shown.push(i);
    }
    this.shown = shown;
    this.viewport.scrollTop = 0;
    this.layout();
    say(`${shown.length} of ${this.rows.length} records`);
  }

  toggle(kind, button) {
    if (this.off.has(kind)) this.off.delete(kind); else this.off.add(kind);
    button.setAttribute("aria-pressed", String(!this.off.has(kind)));
    this.filter(this.query);
  }

  layout() {
    this.spacer.style.height = this.shown.length * Messages.rowHeight + "px";
    this.grid.setAttribute("aria-rowcount", this.shown.length + 1);
    this.count.textContent = this.shown.length === this.rows.length ? `${this.rows.length} records` : `${this.shown.length} of ${this.rows.length}`;
    this.paint(true);
  }

  paint(anew) {
    const height = this.viewport.clientHeight || 520, first = Math.max(0, Math.floor(this.viewport.scrollTop / Messages.rowHeight) - 8);
    const last = Math.min(this.shown.length, first + Math.ceil(height / Messages.rowHeight) + 16);
    if (!anew && this.first === first && this.last === last) return;
    Object.assign(this, { first, last });
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.row(place));
    if (!rows.length) rows.push(h("div", { class: "empty" }, "No record fits."));
    this.spacer.replaceChildren(...rows);
  }

  row(place) {
    const index = this.shown[place], [record, time, side, kind, label, text] = this.rows[index];
    const isSelected = index === this.selected;
    const cell = (name, value) => h("span", { role: "gridcell", class: name }, value);
    return h("div", { class: `row kind-${this.kinds[kind]}`, role: "row", id: `row-${index}`, "aria-rowindex": place + 2, "aria-selected": String(isSelected),
      style: `top:${place * Messages.rowHeight}px`, onclick: () => this.select(index) },
      cell("num", record), cell("num", offset(time, this.start)), cell("side", SIDES[side]), cell("kind", this.kinds[kind]), cell("label", label), cell("text", text));
  }

  select(index, scroll) {
    this.selected = index;
    const place = this.shown.indexOf(index);
    if (scroll && place >= 0) {
      const top = place * Messages.rowHeight, box = this.viewport;
      if (top < box.scrollTop || top > box.scrollTop + box.clientHeight - Messages.rowHeight)
        box.scrollTop = Math.max(0, top - box.clientHeight / 2);
    }
    this.paint(true);
    this.grid.setAttribute("aria-activedescendant", `row-${index}`);
    const [record, time, side, kind, label, text] = this.rows[index];
    let pretty = text;
    try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shortened, or no JSON */ }
    this.detail.hidden = false;
    this.detail.replaceChildren(
      h("h3", {}, `Record ${record}, ${offset(time, this.start)}${side ? ", " + SIDES[side] : ""}: ${this.kinds[kind]} ${label}`), h("pre", { tabindex: 0 }, pretty));
    remember("record", record);
  }

  // Shows a record by its number, whatever is filtered.
  show(record) {
    let index = this.rows.findIndex((row) => row[0] === record);
    if (index < 0) return say(`record ${record} is not in the table`);
    if (!this.shown.includes(index)) {
      this.input.value = "";
      this.off.clear();
      this.side = -1;
      this.sideSelect.value = "-1";
      for (const chip of this.chips.children) chip.setAttribute("aria-pressed", "true");
      this.filter("");
    }
    this.select(index, true);
    this.element.scrollIntoView({ block: "nearest" });
    this.grid.focus({ preventScroll: true });
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.viewport.clientHeight / Messages.rowHeight) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || !this.shown.length) return;
    event.preventDefault();
    const now = this.shown.indexOf(this.selected);
    const place = now < 0 ? (by > 1e9 ? this.shown.length - 1 : 0) : Math.min(Math.max(now + by, 0), this.shown.length - 1);
    this.select(this.shown[place], true);
    say(this.rows[this.selected].slice(4, 6).join(" ").slice(0, 200));
  }
}
