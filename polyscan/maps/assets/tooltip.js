// The box that tells exact numbers: of the unit under the pointer, or of a layer in the strip.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const OFF = 16; // pixels between pointer and box

  polyscan.Tooltip = class {
    constructor(box, frame) {
      this.box = box;
      this.frame = frame;
    }

    // x and y: where the pointer is, in the frame's CSS pixels.
    showUnit(map, unit, by, x, y) {
      const list = polyscan.element("dl", {});
      polyscan.describe(list, map.columns.filter((column) => column.cells), unit, map.verdicts.word(unit));
      for (const value of list.querySelectorAll("dd")) if (value.dataset.column === by) value.parentElement.className = "current";
      const fate = map.fate(unit, by);
      const weak = map.layers[map.layerOf[unit]].weak ? "power of this layer below .5" : "";
      const under = [fate, weak].filter(Boolean).join(" · ");
      this.fill(map.name(unit), under, list, "click for its page");
      this.box.dataset.unit = map.name(unit);
      this.place(x, y);
    }

    // row: n, mean, low, high, the five quantiles, and where there are controls mean, low and high of these and of
    // real minus control.
    showLayer(name, column, row, x, y) {
      const text = row.map(function (value, at) {
        const isWhole = at === 0 || (column.kind === "count" && at > 3 && at < 9 && Number.isInteger(value));
        return polyscan.numberText(value, isWhole ? "count" : "real");
      });
      const [n, mean, low, high, q05, q25, median, q75, q95] = text;
      const list = polyscan.element("dl", {});
      const lines = [["units", n], ["mean", mean], ["95 % interval", `${low} to ${high}`], ["5 to 95 %", `${q05} to ${q95}`],
        ["quartiles", `${q25} to ${q75}`], ["median", median]];
      if (text.length > 9) {
        const [control, least, most, excess, lowest, highest] = text.slice(9);
        lines.push(["one-concept controls", `${control} [${least} to ${most}]`]);
        lines.push(["real minus control", `${excess} [${lowest} to ${highest}]`]);
      }
      for (const [label, value] of lines) {
        const pair = document.createElement("div");
        pair.append(polyscan.element("dt", {}, label), polyscan.element("dd", {}, value));
        list.append(pair);
      }
      this.fill(name, column.label, list, "");
      delete this.box.dataset.unit;
      this.place(x, y);
    }

    fill(name, under, list, last) {
      const parts = [polyscan.element("p", { class: "unit-name" }, name)];
      if (under) parts.push(polyscan.element("p", { class: "quiet" }, under));
      parts.push(list);
      if (last) parts.push(polyscan.element("p", { class: "quiet" }, last));
      this.box.replaceChildren(...parts);
    }

    // Inside the window and off the pointer.
    place(x, y) {
      this.box.hidden = false;
      const frame = this.frame.getBoundingClientRect();
      const { offsetWidth: width, offsetHeight: height } = this.box;
      const left = x + OFF + width > frame.width ? x - width - OFF : x + OFF;
      const top = frame.top + y + OFF + height > window.innerHeight ? y - height - OFF : y + OFF;
      this.box.style.left = Math.max(0, Math.min(left, frame.width - width)) + "px";
      this.box.style.top = Math.max(-frame.top, top) + "px";
    }

    hide() {
      this.box.hidden = true;
      delete this.box.dataset.unit;
    }
  };
})();
