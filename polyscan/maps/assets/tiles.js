// Shows pictures: parts of a unit's sprite, which the browser cuts out, and loads when they come into view.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});

  // A picture of the sprite as a figure. `tile` is [left, top, width, height, caption, title]; `zoom` enlarges it.
  polyscan.tile = function (sprite, tile, root, zoom) {
    const [left, top, width, height, caption, title] = tile;
    const figure = polyscan.element("figure", { class: "tile" });
    const frame = polyscan.element("span", { class: "tile-frame" });
    const image = polyscan.element("img", {
      src: root + sprite.address, loading: "lazy", decoding: "async",
      width: sprite.width * zoom, height: sprite.height * zoom,
      alt: [title, caption].filter(Boolean).join(", ") || "picture",
    });
    image.addEventListener("error", () => frame.classList.add("lost"));
    if (title) frame.title = title;
    frame.style.width = `${width * zoom}px`;
    frame.style.height = `${height * zoom}px`;
    image.style.transform = `translate(${-left * zoom}px, ${-top * zoom}px)`;
    frame.append(image);
    figure.append(frame);
    if (caption) figure.append(polyscan.element("figcaption", {}, caption));
    return figure;
  };
})();
