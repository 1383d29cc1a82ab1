// Marks of clusters: colour, shape and letter, so that each is told apart without colour; and drawing in SVG.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const SVG = "http://www.w3.org/2000/svg";
  const SHAPES = [
    "M-6 0A6 6 0 1 1 6 0A6 6 0 1 1-6 0Z",
    "M-5.5-5.5H5.5V5.5H-5.5Z",
    "M0-6.5 7 6H-7Z",
    "M0-7.5 7.5 0 0 7.5-7.5 0Z",
    "M0 6.5 7-6H-7Z",
    "M-2.4-7h4.8v4.6H7v4.8H2.4V7h-4.8V2.4H-7v-4.8h4.6Z",
    "M0-7.5 7-2.3 4.4 6.5H-4.4L-7-2.3Z",
    "M-7-3H7V3H-7Z",
  ];

  polyscan.svg = function (tag, words, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(words || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // A, B, ... for the clusters of one panel, largest first; numbers where the letters end.
  polyscan.letter = function (place) {
    return place < 26 ? String.fromCharCode(65 + place) : String(place + 1);
  };

  // The shape alone, around (0, 0), some 14 wide.
  polyscan.markPath = function (place) {
    const kind = place % SHAPES.length;
    return polyscan.svg("path", { d: SHAPES[kind], class: `shape-${kind}` });
  };

  // The shape as a little picture of its own, beside the letter that it stands for.
  polyscan.mark = function (place) {
    const made = polyscan.svg("svg", { class: "shape", viewBox: "-8 -8 16 16", "aria-hidden": "true" });
    made.append(polyscan.markPath(place));
    return made;
  };
})();
