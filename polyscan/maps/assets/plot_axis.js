// Axes of the charts of the layer page: whole steps for counts, a logarithmic scale for p, and a scale stretched near 0
// for scores with a long tail; no value is cut off.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const LONG_TAIL = 12; // a range of more than this many interquartile ranges is stretched
  const LEAST_P = 1e-30;
  const TICK_ROOM = { x: 44, y: 22 };

  polyscan.PlotAxis = class {
    // values: finite numbers in any order; from and to: ends of the axis in pixels.
    constructor(column, values, from, to) {
      this.column = column;
      this.from = from;
      this.to = to;
      const sorted = Float64Array.from(values).sort();
      const quantile = (share) => sorted[Math.round(share * (sorted.length - 1))];
      const middle = quantile(0.75) - quantile(0.25);
      this.low = sorted.length ? quantile(0) : 0;
      this.high = sorted.length ? quantile(1) : 1;
      this.isSpread = false; // whether points with the same count are spread within its step
      this.near = 0; // where the stretched scale becomes logarithmic; 0 if it is not stretched
      if (column.kind === "real" && LONG_TAIL * middle < this.high - this.low) this.near = powerOfTen(middle);
      if (this.low > 0 && this.low < this.near) this.low = 0; // so that the axis includes 0
      this.start = this.forth(this.low);
      this.end = this.forth(this.high);
      if (column.kind === "count") [this.start, this.end] = [this.start - 0.5, this.end + 0.5];
      else if (this.start === this.end) [this.start, this.end] = [this.start - 0.5, this.end + 0.5];
    }

    // From a value to its place on the even scale, and back.
    forth(value) {
      if (this.column.kind === "p") return Math.log10(Math.max(value, LEAST_P));
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

    // How the scale changes the numbers; empty if it does not.
    get note() {
      if (this.column.kind === "p") return "logarithmic";
      if (this.isSpread) return "jittered";
      return this.near ? "stretched near 0" : "";
    }

    ticks(most) {
      if (this.column.kind === "p") return this.powers();
      if (this.near) return this.stretchedTicks();
      if (this.column.kind !== "count") return polyscan.ticks(this.low, this.high, most);
      const step = Math.max(1, Math.ceil((this.high - this.low + 1) / most));
      const ticks = [];
      for (let value = Math.ceil(this.low); value <= this.high; value += step) ticks.push(value);
      return ticks;
    }

    powers() {
      const ticks = [];
      for (let power = Math.floor(this.end + 1e-9); power >= this.start; power--) ticks.push(Math.pow(10, power));
      if (ticks.length < 3) ticks.push(...[0.5, 0.2, 0.05, 0.02].filter((p) => p >= this.low && p <= this.high));
      return ticks;
    }

    stretchedTicks() {
      const ticks = [0];
      for (let size = this.near; size <= Math.max(-this.low, this.high); size *= 10) ticks.push(size, -size, 3 * size, -3 * size);
      return ticks.map((value) => Number(value.toPrecision(6))).filter((value) => value >= this.low && value <= this.high);
    }

    // Ticks with enough room between them; earlier ones take precedence.
    spaced(side) {
      const ticks = [];
      for (const value of this.ticks(side === "x" ? 7 : 6)) {
        if (ticks.every((other) => Math.abs(this.pixel(other) - this.pixel(value)) >= TICK_ROOM[side])) ticks.push(value);
      }
      return ticks;
    }

    text(value) {
      if (this.column.kind === "count") return polyscan.numberText(value, "count");
      if (this.column.kind === "p" && value >= 1e-3) return String(Number(value.toPrecision(3))).replace(/^0/, "");
      return polyscan.endText(value).replace(/\.?0+e/, "e"); // 1e-4 instead of 1.00e-4
    }

    // Draws the axis along the bottom (x) or the left (y) of `box`: left, top, right, bottom in pixels.
    draw(into, side, box) {
      for (const value of this.spaced(side)) {
        const pixel = this.pixel(value);
        const [line, place] = side === "x"
          ? [{ x1: pixel, x2: pixel, y1: box.top, y2: box.bottom }, { x: pixel, y: box.bottom + 15, "text-anchor": "middle" }]
          : [{ x1: box.left, x2: box.right, y1: pixel, y2: pixel }, { x: box.left - 6, y: pixel + 4, "text-anchor": "end" }];
        into.append(polyscan.svg("line", Object.assign({ class: "grid" }, line)));
        into.append(polyscan.svg("text", Object.assign({ class: "tick" }, place), this.text(value)));
      }
      const name = this.note ? `${this.column.label} (${this.note})` : this.column.label;
      const place = side === "x" ? { x: box.right, y: box.bottom + 32, "text-anchor": "end" } : { x: 0, y: 11 };
      into.append(polyscan.svg("text", Object.assign({ class: "axis-name" }, place), name));
    }
  };

  // The largest power of ten up to a size.
  function powerOfTen(size) {
    return size > 0 ? Math.pow(10, Math.floor(Math.log10(size))) : 0;
  }
})();
