// Draws the distribution of one score over the units of a layer, and of their scores against the null.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const MOST_BINS = 36;
  const HEIGHT = 236;

  // The box of a chart in this frame, with room for the axes around it.
  polyscan.plotBox = function (frame) {
    return { left: 46, top: 24, right: Math.max(120, frame.clientWidth - 8), bottom: HEIGHT - 38, height: HEIGHT };
  };

  polyscan.plotSvg = function (frame, label) {
    const width = polyscan.plotBox(frame).right + 8;
    const drawing = polyscan.svg("svg", { role: "img", "aria-label": label, width: width, height: HEIGHT });
    frame.append(drawing);
    return drawing;
  };

  // Edges of the bins in places of the axis: one bin per whole number, round steps, or equal parts of a stretched scale.
  function edges(axis) {
    const { kind } = axis.column;
    if (kind === "count") {
      const step = Math.max(1, Math.ceil((axis.high - axis.low + 1) / MOST_BINS));
      return steps(axis.low - 0.5, axis.high + 0.5, step);
    }
    if (kind === "p" || axis.near || axis.low === axis.high) return steps(axis.start, axis.end, (axis.end - axis.start) / 30);
    const ticks = polyscan.ticks(axis.low, axis.high, MOST_BINS);
    if (ticks.length < 3) return steps(axis.start, axis.end, (axis.end - axis.start) / 30);
    const step = ticks[1] - ticks[0];
    return steps(Math.floor(axis.low / step + 1e-9) * step, axis.high, step);
  }

  function steps(from, to, step) {
    const cuts = [from];
    while (cuts[cuts.length - 1] < to - step * 1e-6) cuts.push(from + cuts.length * step);
    return cuts;
  }

  function counted(places, cuts) {
    const counts = new Array(cuts.length - 1).fill(0);
    const step = cuts[1] - cuts[0];
    for (const place of places) counts[Math.max(0, Math.min(counts.length - 1, Math.floor((place - cuts[0]) / step + 1e-9)))] += 1;
    return counts;
  }

  // values: values of the live, scored units. row: the row of the layer from trend_rows, or undefined.
  polyscan.drawDistribution = function (frame, column, values, row, tooltip) {
    const box = polyscan.plotBox(frame);
    const axis = new polyscan.PlotAxis(column, values.concat(controls(column, row)), box.left, box.right);
    const cuts = edges(axis);
    [axis.start, axis.end] = [cuts[0], cuts[cuts.length - 1]];
    const counts = counted(Array.from(values, (value) => axis.forth(value)), cuts);
    const drawing = polyscan.plotSvg(frame, `Histogram of ${column.label} over ${values.length} live, scored units`);
    drawBars(drawing, axis, box, cuts, counts);
    if (row && row[9] !== undefined) marker(drawing, axis, box, row[9], "control");
    if (row) marker(drawing, axis, box, row[1], "mean");
    showBins(drawing, axis, box, tooltip, function (place) {
      const bin = Math.floor((((place - box.left) / (box.right - box.left)) * (axis.end - axis.start)) / (cuts[1] - cuts[0]));
      return counts[bin] === undefined ? null : [rangeText(axis, cuts[bin], cuts[bin + 1]), counts[bin]];
    });
  };

  // The mean of the layer's controls, so that the axis includes it even if no unit lies there.
  function controls(column, row) {
    const mean = row ? row[9] : undefined;
    if (mean === undefined || mean === null || (column.kind === "p" && mean <= 0)) return [];
    return [column.kind === "count" ? Math.round(mean) : mean];
  }

  function drawBars(drawing, axis, box, cuts, counts) {
    const most = Math.max(1, ...counts);
    const up = new polyscan.PlotAxis({ kind: "real", label: "units" }, [0, most], box.bottom, box.top);
    up.ticks = () => polyscan.ticks(0, most, 5).filter(Number.isInteger);
    up.draw(drawing, "y", box);
    axis.draw(drawing, "x", Object.assign({}, box, { top: box.bottom }));
    counts.forEach(function (count, bin) {
      if (!count) return;
      const [left, right] = [axis.pixelOf(cuts[bin]), axis.pixelOf(cuts[bin + 1])];
      const top = Math.min(box.bottom - 1, up.pixel(count));
      const bar = { class: "bar", x: left + 0.5, width: Math.max(1, right - left - 1), y: top, height: box.bottom - top };
      drawing.append(polyscan.svg("rect", bar));
    });
    drawing.append(polyscan.svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
    return up;
  }

  function marker(drawing, axis, box, value, name) {
    if (value === null) return;
    const x = axis.pixel(value);
    if (x < box.left - 1 || x > box.right + 1) return;
    drawing.append(polyscan.svg("line", { class: "marker " + name, x1: x, x2: x, y1: box.top - 4, y2: box.bottom }));
  }

  function rangeText(axis, from, to) {
    const { kind } = axis.column;
    if (kind !== "count") return `${polyscan.endText(axis.back(from))} to ${polyscan.endText(axis.back(to))}`;
    const [low, high] = [Math.ceil(from), Math.floor(to)].map((value) => polyscan.numberText(value, "count"));
    return low === high ? low : `${low} to ${high}`;
  }

  // Shows the tooltip of the bin under the pointer; binAt(x) gives its range and count, or null.
  function showBins(drawing, axis, box, tooltip, binAt) {
    drawing.addEventListener("pointermove", function (event) {
      const outer = drawing.getBoundingClientRect();
      const [x, y] = [event.clientX - outer.left, event.clientY - outer.top];
      const bin = x < box.left || x > box.right || y > box.bottom ? null : binAt(x);
      if (!bin) return tooltip.hide();
      const list = polyscan.element("dl", {});
      const pair = document.createElement("div");
      pair.append(polyscan.element("dt", {}, "units"), polyscan.element("dd", {}, polyscan.countText(bin[1])));
      list.append(pair);
      tooltip.fill(bin[0], axis.column.label, list, "");
      const frame = tooltip.frame.getBoundingClientRect();
      tooltip.place(event.clientX - frame.left, event.clientY - frame.top);
    });
    drawing.addEventListener("pointerleave", () => tooltip.hide());
  }

  // Draws z of the units as bars in the bins of the null, and the null, scaled to the number of units, as a line.
  polyscan.drawNull = function (frame, sets, z, tooltip) {
    const box = polyscan.plotBox(frame);
    const high = sets.low + sets.width * sets.counts.length;
    const column = { kind: "real", label: `${sets.score}, sd from the null's mean` };
    const axis = new polyscan.PlotAxis(column, [sets.low, high], box.left, box.right);
    const cuts = steps(sets.low, high, sets.width);
    const counts = counted(z, cuts);
    const all = sets.counts.reduce((sum, count) => sum + count, 0);
    const expected = sets.counts.map((count) => (count * z.length) / Math.max(1, all));
    const label = `Histogram of ${sets.score} over ${z.length} units, in standard deviations of the null, and the null as a line`;
    const drawing = polyscan.plotSvg(frame, label);
    const up = drawBars(drawing, axis, box, cuts, counts);
    const path = expected.map(function (count, bin) {
      return `H${axis.pixelOf(cuts[bin])}V${Math.max(box.top, up.pixel(count))}H${axis.pixelOf(cuts[bin + 1])}`;
    });
    drawing.append(polyscan.svg("path", { class: "null-line", d: `M${box.left} ${box.bottom}${path.join("")}V${box.bottom}` }));
    showBins(drawing, axis, box, tooltip, function (place) {
      const bin = Math.floor(((place - box.left) / (box.right - box.left)) * counts.length);
      return counts[bin] === undefined ? null : [rangeText(axis, cuts[bin], cuts[bin + 1]), counts[bin]];
    });
  };
})();
