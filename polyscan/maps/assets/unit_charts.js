// A unit's three charts, each a figure with its numbers in words: its place in the null, its elbow, its exemplars.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const { svg, element, numberText, endText, countText } = polyscan;
  const WIDTH = 320;
  const HEIGHT = 212;
  const LEFT = 42;
  const RIGHT = 12;
  const TOP = 24; // room for the name of the line that is marked
  const BOTTOM = 38;
  const FAR = 3; // a unit so many times as far out as the null reaches is told with an arrow, not drawn to scale
  const STOPS = {
    "elbow": "elbow: one image more spreads them no further",
    "max images": "most images that the job allows",
    "stalled": "three starts in a row led nowhere",
    "dead": "no start led anywhere",
  };

  function figure(title, drawing, note) {
    const made = element("figure", { class: "unit-chart" });
    made.append(element("figcaption", {}, title));
    if (drawing) made.append(drawing);
    made.append(element("p", { class: drawing ? "chart-note" : "absent" }, note));
    return made;
  }

  function canvas(label) {
    return svg("svg", { class: "chart-svg", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  }

  function scale(low, high, from, to) {
    return (value) => from + ((value - low) / (high - low)) * (to - from);
  }

  function words(x, y, anchor, text, name) {
    return svg("text", { x: x, y: y, "text-anchor": anchor, class: name || "tick" }, text);
  }

  // Both axes: lines and numbers, and what they count.
  function axes(x, y, across, upward, name) {
    const made = svg("g", { "aria-hidden": "true" });
    for (const tick of upward) {
      made.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }));
      made.append(words(LEFT - 6, y(tick) + 4, "end", endText(tick)));
    }
    for (const tick of across) {
      made.append(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }));
      made.append(words(x(tick), HEIGHT - BOTTOM + 15, "middle", endText(tick)));
    }
    made.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }));
    made.append(words((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, "middle", name));
    return made;
  }

  // A line from top to bottom with its name above, on the side that has room.
  function marked(at, text) {
    const made = svg("g", { "aria-hidden": "true" });
    made.append(svg("line", { class: "marked", x1: at, x2: at, y1: TOP - 6, y2: HEIGHT - BOTTOM }));
    const isRight = at > (LEFT + WIDTH) / 2;
    made.append(words(at + (isRight ? 4 : -4), TOP - 11, isRight ? "end" : "start", text, "marked-name"));
    return made;
  }

  // --- the null ---

  // sets: the layer's null sets; own: the unit's place; `why` is said where there is none.
  polyscan.nullChart = function (sets, own, why) {
    const title = sets ? `${sets.score} against its null` : "Against the null";
    if (!sets || !own) return figure(title, null, why || "There is no null for this unit.");
    const total = sets.counts.reduce((before, count) => before + count, 0);
    const numbers = `${numberText(own.value)}; null sets as homogeneous as this unit: mean ${numberText(own.mean)}, sd ${numberText(own.sd)}`;
    if (!total) return figure(title, null, "The null holds no set.");
    if (own.z === null) return figure(title, null, `The null does not vary at this unit's homogeneity, so there is no z. Value ${numbers}.`);
    const used = sets.counts.flatMap((count, at) => (count ? [at] : []));
    const ends = [sets.low + sets.width * used[0], sets.low + sets.width * (used[used.length - 1] + 1)];
    const reach = Math.max(...ends.map(Math.abs)) * FAR;
    const shown = Math.max(-reach, Math.min(reach, own.z));
    const x = scale(Math.min(...ends, shown), Math.max(...ends, shown), LEFT, WIDTH - RIGHT);
    const most = Math.max(...sets.counts);
    const y = scale(0, most, HEIGHT - BOTTOM, TOP);
    const low = `${endText(ends[0])} to ${endText(ends[1])}`;
    const drawing = canvas(
      `Histogram of the ${sets.score} of ${countText(total)} null sets, in standard deviations from ${low}. ` +
        `This unit lies at z = ${numberText(own.z)}: value ${numbers}.`,
    );
    const domain = [Math.min(...ends, shown), Math.max(...ends, shown)];
    drawing.append(axes(x, y, polyscan.ticks(...domain, 7), whole(most), "sd of the null at this unit's homogeneity"));
    for (const at of used) {
      const from = x(sets.low + sets.width * at);
      const thick = Math.max(0.5, x(sets.low + sets.width * (at + 1)) - from - 0.6);
      const top = y(sets.counts[at]);
      drawing.append(svg("rect", { class: "bar", x: from, y: top, width: thick, height: HEIGHT - BOTTOM - top }));
    }
    const arrow = shown === own.z ? "" : own.z > 0 ? " →" : " ←";
    drawing.append(marked(x(shown), `z = ${numberText(own.z)}${arrow}`));
    return figure(title, drawing, `Value ${numbers}. ${countText(total)} null sets in all.`);
  };

  // Ticks of a count.
  function whole(most) {
    return polyscan.ticks(0, most, 4).filter(Number.isInteger);
  }

  // --- the elbow ---

  polyscan.elbowChart = function (elbow, why) {
    const title = "Spread of the visualizations";
    if (!elbow) return figure(title, null, why || "There are no visualizations of this unit.");
    const points = elbow.distances.flatMap((distance, at) => (distance === null ? [] : [[at + 1, distance]]));
    const name = elbow.stop.replace(/_/g, " ");
    const stop = STOPS[name] || name;
    const images = `${countText(elbow.count)} image${elbow.count === 1 ? "" : "s"}`;
    if (!points.length) return figure(title, null, `${images}, so there is no distance between them. Stopped: ${stop}.`);
    const last = Math.max(elbow.count, points[points.length - 1][0]);
    const most = Math.max(...points.map((point) => point[1])) || 1;
    const x = scale(Math.min(1, last - 1), last, LEFT + 8, WIDTH - RIGHT - 8);
    const y = scale(0, most, HEIGHT - BOTTOM, TOP);
    const drawing = canvas(
      `Mean pairwise distance against number of images: ${points.map(([at, distance]) => `${numberText(distance)} with ${at}`).join(", ")}. ` +
        `Stopped at ${images}: ${stop}.`,
    );
    const across = polyscan.ticks(1, last, 8).filter(Number.isInteger);
    drawing.append(axes(x, y, across, polyscan.ticks(0, most, 4), "images"));
    drawing.append(marked(x(elbow.count), `${name} at ${elbow.count}`));
    const path = points.map(([at, distance], place) => `${place ? "L" : "M"}${x(at).toFixed(1)} ${y(distance).toFixed(1)}`);
    drawing.append(svg("path", { class: "curve", d: path.join("") }));
    for (const [at, distance] of points) drawing.append(svg("circle", { class: "dot", cx: x(at), cy: y(distance), r: 3 }));
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
    points.forEach(function (point, at) {
      const group = svg("g", { class: "point", transform: `translate(${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}) scale(.62)` });
      group.append(svg("title", {}, `exemplar ${at + 1}, cluster ${polyscan.letter(point.cluster)}`), polyscan.markPath(point.cluster));
      drawing.append(group);
    });
    for (const place of places) {
      const own = points.filter((point) => point.cluster === place);
      const top = Math.min(...own.map((point) => y(point.y)));
      const at = mean(own.map((point) => x(point.x)));
      drawing.append(words(at, Math.max(box.top + 14, top - 7), "middle", polyscan.letter(place), "cluster-letter"));
    }
    drawing.append(words(WIDTH / 2, HEIGHT - 3, "middle", "first two axes of the exemplars' cosines, one scale"));
    const made = figure(title, drawing, "");
    made.lastElementChild.replaceChildren(...places.map((place) => keyed(place, sizes.get(place))));
    return made;
  };

  function keyed(place, size) {
    const made = element("span", { class: "keyed" });
    made.append(polyscan.mark(place), element("strong", {}, polyscan.letter(place)), ` ${size}`);
    return made;
  }

  function unpackedPlane(plane) {
    const bytes = polyscan.unpacked({ type: "uint8", data: plane.data });
    return Array.from({ length: plane.n }, (_, at) => ({
      x: bytes[3 * at] / 127.5 - 1, y: bytes[3 * at + 1] / 127.5 - 1, cluster: bytes[3 * at + 2],
    }));
  }

  // Both axes on one scale, as large as the box allows, the points in its middle.
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
