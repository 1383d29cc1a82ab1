// Gives the colour of a number, and draws the legend.
(function () {
  "use strict";
  const polyscan = window.polyscan;

  polyscan.Scale = class {
    constructor(column, colors) {
      this.column = column;
      this.colors = colors;
      this.count = colors.length / 6;
    }

    css(at) {
      return "#" + this.colors.slice(at * 6, at * 6 + 6);
    }

    // Index in the table of colours.
    at(value) {
      const { scale, kind } = this.column;
      if (kind === "count") return this.step(value);
      if (kind === "p") return Math.max(0, Math.min(this.count - 1, Math.floor(this.share(value) * this.count)));
      if (!(scale.high > scale.low)) return this.count >> 1;
      const share = (value - scale.low) / (scale.high - scale.low);
      return Math.max(0, Math.min(this.count - 1, Math.floor(share * this.count)));
    }

    // Position of a p between the first tick (0, dark) and the last tick (1, bright) on a logarithmic scale.
    share(value) {
      const { ticks } = this.column.scale;
      return Math.log(value / ticks[0]) / Math.log(ticks[ticks.length - 1] / ticks[0]);
    }

    step(value) {
      const steps = this.column.scale.steps;
      let place = steps.indexOf(value);
      if (place < 0) place = steps.length - 1;
      return this.stepColor(place);
    }

    stepColor(place) {
      const last = this.column.scale.steps.length - 1;
      return last < 1 ? this.count >> 1 : Math.round((place * (this.count - 1)) / last);
    }

    // The colours as 32-bit pixels.
    pixels() {
      const pixels = new Uint32Array(this.count);
      for (let i = 0; i < this.count; i++) {
        const rgb = parseInt(this.colors.slice(i * 6, i * 6 + 6), 16);
        pixels[i] = (0xff000000 | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
      }
      return pixels;
    }

    legend() {
      const { kind } = this.column;
      return kind === "count" ? this.stepLegend() : kind === "p" ? this.chanceLegend() : this.rangeLegend();
    }

    chanceLegend() {
      const { ticks, below } = this.column.scale;
      const bar = this.ramp();
      const labels = polyscan.element("span", { class: "chances" });
      ticks.forEach((tick, place) => {
        const isLast = place === ticks.length - 1;
        const label = this.end((below && isLast ? "≤ " : "") + String(tick).replace(/^0/, "")); // .05 instead of 0.05
        label.style.left = this.share(tick) * 100 + "%";
        labels.append(label);
      });
      const scale = polyscan.element("span", { class: "chance-scale" });
      scale.append(bar, labels);
      return [scale];
    }

    ramp() {
      const stops = [];
      for (let i = 0; i < this.count; i += 5) stops.push(this.css(i));
      const bar = polyscan.element("span", { class: "ramp" });
      bar.style.background = "linear-gradient(to right," + stops.join(",") + ")";
      return bar;
    }

    rangeLegend() {
      const { low, high, below, above } = this.column.scale;
      if (low === null) return [polyscan.element("span", {}, "no live unit has this score")];
      if (low === high) return [this.swatch(this.css(this.count >> 1)), this.end("all " + polyscan.endText(low))];
      return [this.end((below ? "≤ " : "") + polyscan.endText(low)), this.ramp(), this.end((above ? "≥ " : "") + polyscan.endText(high))];
    }

    stepLegend() {
      const { steps, open } = this.column.scale;
      if (!steps.length) return [polyscan.element("span", {}, "no live unit has this count")];
      const parts = [];
      steps.forEach((value, place) => {
        const isOpen = open && place === steps.length - 1;
        const pair = polyscan.element("span", { class: "pair" });
        pair.append(this.swatch(this.css(this.stepColor(place))), this.end((isOpen ? "≥ " : "") + polyscan.numberText(value, "count")));
        parts.push(pair);
      });
      return parts;
    }

    swatch(color) {
      const swatch = polyscan.element("span", { class: "step" });
      swatch.style.background = color;
      return swatch;
    }

    end(text) {
      return polyscan.element("span", { class: "end" }, text);
    }
  };
})();
