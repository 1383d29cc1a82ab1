// The three charts of a unit: its score against the null, its elbow, its exemplars. Each has its numbers as text too.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const { svg, element, numberText, endText, countText } = polyscan;
  const WIDTH = 320;
  const HEIGHT = 212;
  const LEFT = 42;
  const RIGHT = 12;
  const TOP = 24; // room for the label of the marked line
  const BOTTOM = 38;
  const FAR = 3; // a unit more than this many times as far out as the null is drawn at the edge with an arrow
  const STOPS = {
    "elbow": "more images hardly changed the distance",
    "max images": "the job allows no more images",
    "stalled": "three consecutive starts failed",
    "dead": "no start succeeded",
  };

  function figure(title, drawing, note) {
    const chart = element("figure", { class: "unit-chart" });
    chart.append(element("figcaption", {}, title));
    if (drawing) chart.append(drawing);
    chart.append(element("p", { class: drawing ? "chart-note" : "absent" }, note));
    return chart;
  }

  function canvas(label) {
    return svg("svg", { class: "chart-svg", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  }

  function scale(low, high, from, to) {
    return (value) => from + ((value - low) / (high - low)) * (to - from);
  }

  function svgText(x, y, anchor, text, name) {
    return svg("text", { x: x, y: y, "text-anchor": anchor, class: name || "tick" }, text);
  }

  // Both axes with their ticks, and the name of the horizontal axis.
  function axes(x, y, across, upward, name) {
    const group = svg("g", { "aria-hidden": "true" });
    for (const tick of upward) {
      group.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }));
      group.append(svgText(LEFT - 6, y(tick) + 4, "end", endText(tick)));
    }
    for (const tick of across) {
      group.append(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }));
      group.append(svgText(x(tick), HEIGHT - BOTTOM + 15, "middle", endText(tick)));
    }
    group.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }));
    group.append(svgText((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, "middle", name));
    return group;
  }

  // A vertical line with its label above, on the side with more room.
  function marked(x, text) {
    const group = svg("g", { "aria-hidden": "true" });
    group.append(svg("line", { class: "marked", x1: x, x2: x, y1: TOP - 6, y2: HEIGHT - BOTTOM }));
    const isRight = x > (LEFT + WIDTH) / 2;
    group.append(svgText(x + (isRight ? 4 : -4), TOP - 11, isRight ? "end" : "start", text, "marked-name"));
    return group;
  }

  // --- the null ---

  // sets: the null sets of the layer; unit: value and z of the unit; why: the sentence if one of them is missing.
  polyscan.nullChart = function (sets, unit, why) {
    const title = sets ? `${sets.score} against its null` : "Against the null";
    if (!sets || !unit) return figure(title, null, why || "There is no null for this unit.");
    const total = sets.counts.reduce((before, count) => before + count, 0);
    const numbers = `${numberText(unit.value)}; null sets of similar homogeneity: mean ${numberText(unit.mean)}, sd ${numberText(unit.sd)}`;
    if (!total) return figure(title, null, "The null has no sets.");
    if (unit.z === null) return figure(title, null, `The null does not vary at this unit's homogeneity, so there is no z. Value ${numbers}.`);
    const filled = sets.counts.flatMap((count, bin) => (count ? [bin] : []));
    const ends = [sets.low + sets.width * filled[0], sets.low + sets.width * (filled[filled.length - 1] + 1)];
    const reach = Math.max(...ends.map(Math.abs)) * FAR;
    const shown = Math.max(-reach, Math.min(reach, unit.z));
    const domain = [Math.min(...ends, shown), Math.max(...ends, shown)];
    const x = scale(...domain, LEFT, WIDTH - RIGHT);
    const most = Math.max(...sets.counts);
    const y = scale(0, most, HEIGHT - BOTTOM, TOP);
    const drawing = canvas(
      `Histogram of the ${sets.score} of ${countText(total)} null sets, from ${endText(ends[0])} to ${endText(ends[1])} ` +
        `standard deviations. This unit lies at z = ${numberText(unit.z)}: value ${numbers}.`,
    );
    drawing.append(axes(x, y, polyscan.ticks(...domain, 7), wholeTicks(most), "sd from the null mean at this homogeneity"));
    for (const bin of filled) {
      const left = x(sets.low + sets.width * bin);
      const width = Math.max(0.5, x(sets.low + sets.width * (bin + 1)) - left - 0.6);
      const top = y(sets.counts[bin]);
      drawing.append(svg("rect", { class: "bar", x: left, y: top, width, height: HEIGHT - BOTTOM - top }));
    }
    const arrow = shown === unit.z ? "" : unit.z > 0 ? " →" : " ←";
    drawing.append(marked(x(shown), `z = ${numberText(unit.z)}${arrow}`));
    return figure(title, drawing, `Value ${numbers}. ${countText(total)} null sets in all.`);
  };

  // Ticks for counts.
  function wholeTicks(most) {
    return polyscan.ticks(0, most, 4).filter(Number.isInteger);
  }

  // --- the elbow ---

  polyscan.elbowChart = function (elbow, why) {
    const title = "Spread of the visualizations";
    if (!elbow) return figure(title, null, why || "There are no visualizations of this unit.");
    const points = elbow.distances.flatMap((distance, i) => (distance === null ? [] : [[i + 1, distance]])); // [images, distance]
    const name = elbow.stop.replace(/_/g, " ");
    const stop = STOPS[name] || name;
    const images = `${countText(elbow.count)} image${elbow.count === 1 ? "" : "s"}`;
    if (!points.length) return figure(title, null, `${images}, so there is no pairwise distance. Stopped: ${stop}.`);
    const last = Math.max(elbow.count, points[points.length - 1][0]);
    const most = Math.max(...points.map((point) => point[1])) || 1;
    const x = scale(Math.min(1, last - 1), last, LEFT + 8, WIDTH - RIGHT - 8);
    const y = scale(0, most, HEIGHT - BOTTOM, TOP);
    const drawing = canvas(
      `Mean pairwise distance against number of images: ${points.map(([n, distance]) => `${numberText(distance)} with ${n}`).join(", ")}. ` +
        `Stopped at ${images}: ${stop}.`,
    );
    const across = polyscan.ticks(1, last, 8).filter(Number.isInteger);
    drawing.append(axes(x, y, across, polyscan.ticks(0, most, 4), "images"));
    drawing.append(marked(x(elbow.count), `${name} at ${elbow.count}`));
    const path = points.map(([n, distance], i) => `${i ? "L" : "M"}${x(n).toFixed(1)} ${y(distance).toFixed(1)}`);
    drawing.append(svg("path", { class: "curve", d: path.join("") }));
    for (const [n, distance] of points) drawing.append(svg("circle", { class: "dot", cx: x(n), cy: y(distance), r: 3 }));
    return figure(title, drawing, `Mean pairwise perceptual distance. Stopped at ${images}: ${stop}.`);
  };

  // --- the exemplars in two dimensions ---

  polyscan.planeChart = function (plane, why) {
    const title = "Exemplars in two dimensions";
    const points = plane ? unpackedPlane(plane) : [];
    if (!points.length) return figure(title, null, why || "The exemplars of this unit were not compared.");
    const sizes = new Map();
    for (const { cluster } of points) sizes.set(cluster, (sizes.get(cluster) || 0) + 1);
    const places = Array.from(sizes.keys()).sort((a, b) => a - b);
    const counts = places.map((place) => `cluster ${polyscan.letter(place)} ${sizes.get(place)}`).join(", ");
    const drawing = canvas(`${points.length} exemplars along the two axes on which their cosines differ most: ${counts}.`);
    const box = { left: 8, top: 8, width: WIDTH - 16, height: HEIGHT - 24 };
    const [x, y] = fitted(points, box);
    drawing.append(svg("rect", { class: "plane", x: box.left, y: box.top, width: box.width, height: box.height, "aria-hidden": "true" }));
    points.forEach(function (point, i) {
      const group = svg("g", { class: "point", transform: `translate(${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}) scale(.62)` });
      group.append(svg("title", {}, `exemplar ${i + 1}, cluster ${polyscan.letter(point.cluster)}`), polyscan.markPath(point.cluster));
      drawing.append(group);
    });
    for (const place of places) {
      const members = points.filter((point) => point.cluster === place);
      const top = Math.min(...members.map((point) => y(point.y)));
      const middle = mean(members.map((point) => x(point.x)));
      drawing.append(svgText(middle, Math.max(box.top + 14, top - 7), "middle", polyscan.letter(place), "cluster-letter"));
    }
    drawing.append(svgText(WIDTH / 2, HEIGHT - 3, "middle", "first two axes of the exemplars' cosines, same scale"));
    const chart = figure(title, drawing, "");
    chart.lastElementChild.replaceChildren(...places.map((place) => keyEntry(place, sizes.get(place))));
    return chart;
  };

  function keyEntry(place, size) {
    const entry = element("span", { class: "keyed" });
    entry.append(polyscan.mark(place), element("strong", {}, polyscan.letter(place)), ` ${size}`);
    return entry;
  }

  function unpackedPlane(plane) {
    const bytes = polyscan.unpacked({ type: "uint8", data: plane.data });
    return Array.from({ length: plane.n }, (_, i) => ({
      x: bytes[3 * i] / 127.5 - 1, y: bytes[3 * i + 1] / 127.5 - 1, cluster: bytes[3 * i + 2],
    }));
  }

  // Both axes on the same scale, as large as the box allows, with the points in its middle.
  function fitted(points, box) {
    const [across, upward] = ["x", "y"].map((axis) => points.map((point) => point[axis]));
    const range = (values) => [Math.min(...values), Math.max(...values)];
    const [[left, right], [low, high]] = [range(across), range(upward)];
    const unit = Math.min((box.width - 28) / Math.max(right - left, 0.05), (box.height - 52) / Math.max(high - low, 0.05));
    const [middle, height] = [box.left + box.width / 2, box.top + box.height / 2 + 9];
    return [(value) => middle + (value - (left + right) / 2) * unit, (value) => height - (value - (low + high) / 2) * unit];
  }

  function mean(numbers) {
    return numbers.reduce((before, number) => before + number, 0) / numbers.length;
  }
})();
