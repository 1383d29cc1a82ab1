// The strip beside the map: each layer's distribution of the score, by position instead of colour.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const SVG = "http://www.w3.org/2000/svg";
  const PAD = 10;

  function shape(tag, words) {
    const made = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(words)) made.setAttribute(key, value);
    return made;
  }

  // Round numbers between the ends, `most` of them at most.
  polyscan.ticks = function (low, high, most) {
    if (!(high > low)) return [low];
    const rough = (high - low) / most;
    const power = Math.pow(10, Math.floor(Math.log10(rough)));
    const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough);
    const made = [];
    for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9; at++) made.push(Number((at * step).toPrecision(12)));
    return made;
  };

  // rows: per layer [n, mean, low, high, q05, q25, q50, q75, q95, ...] or null. frame: sizes in CSS pixels, and which
  // layers are weak.
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
      axis.append(words(PAD, frame.axis - 8, "start", "no trend of this score"));
      return;
    }
    let low = Math.min(...numbers);
    let high = Math.max(...numbers);
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    const x = (value) => PAD + ((value - low) / (high - low)) * (frame.width - 2 * PAD);
    axis.append(words(PAD, 11, "start", label, "strip-title"));
    for (const tick of polyscan.ticks(low, high, Math.max(4, Math.floor(frame.width / 48)))) {
      strip.append(shape("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 0, y2: frame.height }));
      axis.append(words(x(tick), frame.axis - 6, "middle", polyscan.endText(tick)));
    }
    rows.forEach(function (row, place) {
      if (row) strip.append(layerMarks(row, frame.tops[place], frame.row, x, frame.weak[place]));
    });
  };

  function words(x, y, anchor, text, name) {
    const made = shape("text", { x: x, y: y, "text-anchor": anchor, class: name || "tick" });
    made.textContent = text;
    return made;
  }

  function layerMarks(row, top, height, x, isWeak) {
    const [, mean, low, high, q05, q25, , q75, q95] = row;
    const group = shape("g", isWeak ? { class: "weak" } : {});
    const band = function (name, from, to, thick) {
      if (from === null || to === null) return;
      const y = top + (height - thick) / 2;
      group.append(shape("rect", { class: name, x: x(from), y: y, width: Math.max(1, x(to) - x(from)), height: thick }));
    };
    band("band", q05, q95, Math.max(3, Math.min(16, height - 2)));
    band("quartiles", q25, q75, Math.max(3, Math.min(16, height - 2)));
    const y = top + height / 2;
    if (low !== null && high !== null) group.append(shape("line", { class: "interval", x1: x(low), x2: x(high), y1: y, y2: y }));
    if (mean !== null) group.append(shape("circle", { class: "mean", cx: x(mean), cy: y, r: Math.min(3.4, height / 4.4) }));
    return group;
  }
})();
