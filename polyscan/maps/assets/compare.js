// Draws the charts of a comparison: by layer, and by run against the chosen horizontal axis.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const source = document.getElementById("compare-data");
  const across = document.getElementById("across");
  if (!source || !across) return;
  const data = JSON.parse(source.textContent);
  const options = { ast: true, actions: false, renderer: "svg", tooltip: { theme: "polyscan" } };

  function plots(part) {
    return Array.from(document.querySelectorAll(`[data-part="${part}"]`));
  }

  // The specification of this part with the rows of this chart; in the part by run, each row gets its x of the chosen axis.
  function spec(plot) {
    const { part, chart } = plot.dataset;
    const { rows, description } = data[part][Number(chart)];
    const x = data.choices[across.value];
    const points = part === "network" ? rows.map((row) => Object.assign({}, row, { x: x[row.at] })) : rows;
    return Object.assign({}, data.specs[part], { description, datasets: { points } });
  }

  function draw(drawnPlots) {
    if (!window.vegaEmbed) {
      for (const notice of document.querySelectorAll(".charts-missing")) notice.hidden = false;
      for (const plot of drawnPlots) plot.parentElement.hidden = true;
      return Promise.resolve();
    }
    return Promise.all(drawnPlots.map((plot) => window.vegaEmbed(plot, spec(plot), options)));
  }

  polyscan.comparison = { data, spec };
  across.addEventListener("change", function () {
    window.READY = false;
    draw(plots("network")).then(() => (window.READY = true));
  });
  window.addEventListener("load", function () {
    draw([...plots("layers"), ...plots("network")]).then(() => (window.READY = true));
  });
})();
