// The box with the exact numbers of the unit under the pointer, or of a layer in the strip.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const OFFSET = 16; // pixels between pointer and box

  polyscan.Tooltip = class {
    constructor(box, frame) {
      this.box = box;
      this.frame = frame;
    }

    // x and y: position of the pointer in CSS pixels of the frame.
    showUnit(map, unit, by, x, y) {
      const list = polyscan.element("dl", {});
      polyscan.describe(list, map.columns.filter((column) => column.cells), unit, map.verdicts.word(unit));
      for (const value of list.querySelectorAll("dd")) if (value.dataset.column === by) value.parentElement.className = "current";
      const fate = map.fate(unit, by);
      const weak = map.layers[map.layerOf[unit]].weak ? "this layer's power is below .5" : "";
      const subtitle = [fate, weak].filter(Boolean).join(" · ");
      this.fill(map.name(unit), subtitle, list, "click to open its page");
      this.box.dataset.unit = map.name(unit);
      this.place(x, y);
    }

    // row: n, mean, low, high, the five quantiles, and with controls mean, low and high of these and of real minus
    // control.
    showLayer(name, column, row, x, y) {
      const texts = row.map(function (value, index) {
        const isQuantile = index > 3 && index < 9;
        const isWhole = index === 0 || (column.kind === "count" && isQuantile && Number.isInteger(value));
        return polyscan.numberText(value, isWhole ? "count" : "real");
      });
      const [n, mean, low, high, q05, q25, median, q75, q95] = texts;
      const list = polyscan.element("dl", {});
      const lines = [["units", n], ["mean", mean], ["95 % interval", `${low} to ${high}`], ["5 to 95 %", `${q05} to ${q95}`],
        ["quartiles", `${q25} to ${q75}`], ["median", median]];
      if (texts.length > 9) {
        const [control, controlLow, controlHigh, excess, excessLow, excessHigh] = texts.slice(9);
        lines.push(["single-concept controls", `${control} [${controlLow} to ${controlHigh}]`]);
        lines.push(["real minus control", `${excess} [${excessLow} to ${excessHigh}]`]);
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

    fill(name, subtitle, list, hint) {
      const parts = [polyscan.element("p", { class: "unit-name" }, name)];
      if (subtitle) parts.push(polyscan.element("p", { class: "quiet" }, subtitle));
      parts.push(list);
      if (hint) parts.push(polyscan.element("p", { class: "quiet" }, hint));
      this.box.replaceChildren(...parts);
    }

    // Places the box inside the window and away from the pointer.
    place(x, y) {
      this.box.hidden = false;
      const frame = this.frame.getBoundingClientRect();
      const { offsetWidth: width, offsetHeight: height } = this.box;
      const left = x + OFFSET + width > frame.width ? x - width - OFFSET : x + OFFSET;
      const top = frame.top + y + OFFSET + height > window.innerHeight ? y - height - OFFSET : y + OFFSET;
      this.box.style.left = Math.max(0, Math.min(left, frame.width - width)) + "px";
      this.box.style.top = Math.max(-frame.top, top) + "px";
    }

    hide() {
      this.box.hidden = true;
      delete this.box.dataset.unit;
    }
  };
})();
