// Draws the strip to the right of the map: the distribution of the score in each layer, by position instead of colour.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const PAD = 10;

  // Round numbers between the ends, at most `most` of them.
  polyscan.ticks = function (low, high, most) {
    if (!(high > low)) return [low];
    const rough = (high - low) / most;
    const power = Math.pow(10, Math.floor(Math.log10(rough)));
    const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough);
    const ticks = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) ticks.push(Number((i * step).toPrecision(12)));
    return ticks;
  };

  // rows: per layer [n, mean, low, high, q05, q25, q50, q75, q95, ...] or null.
  // frame: sizes in CSS pixels, and which layers are weak.
  polyscan.drawStrip = function (strip, axis, rows, frame, label) {
    strip.replaceChildren();
    axis.replaceChildren();
    const known = (rows || []).filter(Boolean);
    for (const [svg, height] of [[strip, frame.height], [axis, frame.axis]]) {
      svg.setAttribute("width", frame.width);
      svg.setAttribute("height", height);
    }
    const numbers = known.flatMap((row) => row.slice(1, 9)).filter((value) => value !== null);
    if (!numbers.length) {
      axis.append(svgText(PAD, frame.axis - 8, "start", "no trend for this score"));
      return;
    }
    let low = Math.min(...numbers);
    let high = Math.max(...numbers);
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    const x = (value) => PAD + ((value - low) / (high - low)) * (frame.width - 2 * PAD);
    axis.append(svgText(PAD, 11, "start", label, "strip-title"));
    for (const tick of polyscan.ticks(low, high, Math.max(4, Math.floor(frame.width / 48)))) {
      strip.append(polyscan.svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 0, y2: frame.height }));
      axis.append(svgText(x(tick), frame.axis - 6, "middle", polyscan.endText(tick)));
    }
    rows.forEach(function (row, place) {
      if (row) strip.append(layerMarks(row, frame.tops[place], frame.row, x, frame.weak[place]));
    });
  };

  function svgText(x, y, anchor, text, name) {
    return polyscan.svg("text", { x: x, y: y, "text-anchor": anchor, class: name || "tick" }, text);
  }

  function layerMarks(row, top, height, x, isWeak) {
    const [, mean, low, high, q05, q25, , q75, q95] = row;
    const group = polyscan.svg("g", isWeak ? { class: "weak" } : {});
    const band = function (name, from, to, thick) {
      if (from === null || to === null) return;
      const y = top + (height - thick) / 2;
      group.append(polyscan.svg("rect", { class: name, x: x(from), y: y, width: Math.max(1, x(to) - x(from)), height: thick }));
    };
    band("band", q05, q95, Math.max(3, Math.min(16, height - 2)));
    band("quartiles", q25, q75, Math.max(3, Math.min(16, height - 2)));
    const y = top + height / 2;
    if (low !== null && high !== null) group.append(polyscan.svg("line", { class: "interval", x1: x(low), x2: x(high), y1: y, y2: y }));
    if (mean !== null) group.append(polyscan.svg("circle", { class: "mean", cx: x(mean), cy: y, r: Math.min(3.4, height / 4.4) }));
    return group;
  }
})();
