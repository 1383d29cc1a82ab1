// Unpacks and formats the page's numbers, and makes elements.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const SVG = "http://www.w3.org/2000/svg";
  const ARRAYS = { float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array };

  polyscan.unpacked = function (packed) {
    const text = atob(packed.data);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new ARRAYS[packed.type](bytes.buffer);
  };

  // A column's values, NaN for units without a value; unpacked at first use, after its cells have been loaded.
  function lazyValues(column) {
    let values = null;
    return function () {
      if (values) return values;
      const cells = polyscan.unpacked(column.cells);
      if (column.kind !== "count") return (values = cells);
      values = Float64Array.from(cells);
      for (let i = 0; i < values.length; i++) if (cells[i] === column.cells.missing) values[i] = NaN;
      return values;
    };
  }

  polyscan.columns = function (packed) {
    return packed.map(function (column) {
      const unpackedColumn = Object.assign({}, column);
      unpackedColumn.values = lazyValues(unpackedColumn);
      return unpackedColumn;
    });
  };

  polyscan.flags = function (packed) {
    const bytes = polyscan.unpacked(packed);
    return function (i) {
      return ((bytes[i >> 3] >> (7 - (i & 7))) & 1) === 1;
    };
  };

  polyscan.numberText = function (value, kind) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    const sign = value < 0 ? "−" : "";
    const size = Math.abs(value);
    if (size === Infinity) return sign + "∞";
    if (kind === "count") return sign + size.toFixed(0);
    if (size === 0) return "0";
    if (size < 1e-3 || size >= 1e9) return sign + size.toExponential(2).replace("e+", "e");
    return sign + (size >= 1000 ? size.toFixed(0) : size.toPrecision(4));
  };

  // A shorter number, for the ends of scales and for axes.
  polyscan.endText = function (value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < 1e-3 || size >= 1e6) return polyscan.numberText(Number(value.toPrecision(3)));
    return String(Number(value.toPrecision(3))).replace("-", "−");
  };

  polyscan.countText = function (value) {
    return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
  };

  polyscan.element = function (tag, attributes, text) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };

  polyscan.svg = function (tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // A unit's verdict, and the choice in the menu that shows it; both are empty in a run without verdicts.
  polyscan.verdicts = function (packed) {
    if (!packed) return { word: () => "", group: () => "" };
    const cells = polyscan.unpacked(packed.cells);
    return { word: (unit) => packed.words[cells[unit]], group: (unit) => packed.groups[cells[unit]] };
  };

  // Label and value pairs of one unit: its verdict if it has one, then every column.
  polyscan.describe = function (list, columns, unit, verdict) {
    list.replaceChildren();
    if (verdict) {
      const pair = polyscan.element("div", { class: "verdict" });
      pair.append(polyscan.element("dt", {}, "verdict"), polyscan.element("dd", {}, verdict));
      list.append(pair);
    }
    for (const column of columns) {
      const pair = document.createElement("div");
      pair.append(
        polyscan.element("dt", {}, column.label),
        polyscan.element("dd", { "data-column": column.name }, polyscan.numberText(column.values()[unit], column.kind)),
      );
      list.append(pair);
    }
  };
})();
