// Marks of clusters: colour, shape and letter, so that they can be distinguished without colour.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
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

  // A, B, ... for the clusters of one panel, largest first; numbers from the 27th on.
  polyscan.letter = function (place) {
    return place < 26 ? String.fromCharCode(65 + place) : String(place + 1);
  };

  // Only the shape, around (0, 0), about 14 wide.
  polyscan.markPath = function (place) {
    const kind = place % SHAPES.length;
    return polyscan.svg("path", { d: SHAPES[kind], class: `shape-${kind}` });
  };

  // The shape as an inline picture, to be put next to the letter.
  polyscan.mark = function (place) {
    const picture = polyscan.svg("svg", { class: "shape", viewBox: "-8 -8 16 16", "aria-hidden": "true" });
    picture.append(polyscan.markPath(place));
    return picture;
  };
})();
