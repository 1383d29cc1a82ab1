// Axes of the layer page's charts: whole steps for counts, logarithms for p, and for scores with a long tail a scale
// that is stretched near 0; nothing is cut off.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const SVG = "http://www.w3.org/2000/svg";
  const LONG_TAIL = 12; // ranges of so many quartile ranges are stretched
  const NO_CHANCE = 1e-30;
  const TICK_ROOM = { x: 44, y: 22 };

  polyscan.svg = function (tag, words, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(words || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  polyscan.PlotAxis = class {
    // values: finite ones, in any order; from and to: where the axis begins and ends, in pixels.
    constructor(column, values, from, to) {
      this.column = column;
      this.from = from;
      this.to = to;
      const sorted = Float64Array.from(values).sort();
      const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
      this.low = sorted.length ? at(0) : 0;
      this.high = sorted.length ? at(1) : 1;
      this.isSpread = false; // whether points of one count lie beside each other within its step
      this.near = 0; // beyond it the stretched scale grows with the logarithm; 0 where it is not stretched
      if (column.kind === "real" && LONG_TAIL * (at(0.75) - at(0.25)) < this.high - this.low) this.near = round(at(0.75) - at(0.25));
      if (this.low > 0 && this.low < this.near) this.low = 0; // so that the axis says where 0 is
      this.start = this.forth(this.low);
      this.end = this.forth(this.high);
      if (column.kind === "count") [this.start, this.end] = [this.start - 0.5, this.end + 0.5];
      else if (this.start === this.end) [this.start, this.end] = [this.start - 0.5, this.end + 0.5];
    }

    // From a value to where the scale is even, and back.
    forth(value) {
      if (this.column.kind === "p") return Math.log10(Math.max(value, NO_CHANCE));
      return this.near ? Math.asinh(value / this.near) : value;
    }

    back(place) {
      if (this.column.kind === "p") return Math.pow(10, place);
      return this.near ? Math.sinh(place) * this.near : place;
    }

    pixel(value) {
      return this.pixelOf(this.forth(value));
    }

    pixelOf(place) {
      return this.from + ((place - this.start) / (this.end - this.start)) * (this.to - this.from);
    }

    // What the scale does to the numbers, where it does something.
    get note() {
      if (this.column.kind === "p") return "logarithmic";
      if (this.isSpread) return "spread within steps";
      return this.near ? "stretched near 0" : "";
    }

    ticks(most) {
      if (this.column.kind === "p") return this.powers();
      if (this.near) return this.stretchedTicks();
      if (this.column.kind !== "count") return polyscan.ticks(this.low, this.high, most);
      const step = Math.max(1, Math.ceil((this.high - this.low + 1) / most));
      const made = [];
      for (let value = Math.ceil(this.low); value <= this.high; value += step) made.push(value);
      return made;
    }

    powers() {
      const made = [];
      for (let power = Math.floor(this.end + 1e-9); power >= this.start; power--) made.push(Math.pow(10, power));
      if (made.length < 3) for (const more of [0.5, 0.2, 0.05, 0.02]) if (more >= this.low && more <= this.high) made.push(more);
      return made;
    }

    stretchedTicks() {
      const made = [0];
      for (let size = this.near; size <= Math.max(-this.low, this.high); size *= 10) made.push(size, -size, 3 * size, -3 * size);
      return made.map((value) => Number(value.toPrecision(6))).filter((value) => value >= this.low && value <= this.high);
    }

    // Ticks that leave each other room, those that come first before later ones.
    spaced(side) {
      const kept = [];
      for (const value of this.ticks(side === "x" ? 7 : 6)) {
        if (kept.every((other) => Math.abs(this.pixel(other) - this.pixel(value)) >= TICK_ROOM[side])) kept.push(value);
      }
      return kept;
    }

    text(value) {
      if (this.column.kind === "count") return polyscan.numberText(value, "count");
      if (this.column.kind === "p" && value >= 1e-3) return String(Number(value.toPrecision(3))).replace(/^0/, "");
      return polyscan.endText(value).replace(/\.?0+e/, "e"); // 1e-4: short beside an axis
    }

    // Draws the axis along the bottom (x) or the left (y) of `box`: left, top, right, bottom in pixels.
    draw(into, side, box) {
      for (const value of this.spaced(side)) {
        const at = this.pixel(value);
        const [line, place] = side === "x"
          ? [{ x1: at, x2: at, y1: box.top, y2: box.bottom }, { x: at, y: box.bottom + 15, "text-anchor": "middle" }]
          : [{ x1: box.left, x2: box.right, y1: at, y2: at }, { x: box.left - 6, y: at + 4, "text-anchor": "end" }];
        into.append(polyscan.svg("line", Object.assign({ class: "grid" }, line)));
        into.append(polyscan.svg("text", Object.assign({ class: "tick" }, place), this.text(value)));
      }
      const name = this.note ? `${this.column.label} (${this.note})` : this.column.label;
      const place = side === "x" ? { x: box.right, y: box.bottom + 32, "text-anchor": "end" } : { x: 0, y: 11 };
      into.append(polyscan.svg("text", Object.assign({ class: "axis-name" }, place), name));
    }
  };

  // The power of ten at or below a size.
  function round(size) {
    return size > 0 ? Math.pow(10, Math.floor(Math.log10(size))) : 0;
  }
})();
