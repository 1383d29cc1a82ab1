// The depth trend's charts, drawn once the map stands.
(function () {
  "use strict";
  const source = document.getElementById("trend-data");
  const plots = Array.from(document.querySelectorAll("[data-chart]"));
  if (!source || !plots.length) return;
  const charts = JSON.parse(source.textContent);

  // The chart's specification with its rows, which both parts of a chart share.
  function spec(plot) {
    const { rows, specs } = charts[Number(plot.dataset.chart)];
    return Object.assign({}, specs[plot.dataset.part], { datasets: { points: rows } });
  }

  function draw() {
    if (!window.vegaEmbed) {
      document.getElementById("trend-missing").hidden = false;
      for (const plot of plots) plot.parentElement.hidden = true;
      return;
    }
    const options = { ast: true, actions: false, renderer: "svg", tooltip: { theme: "polyscan" } };
    const drawn = plots.map((plot) => window.vegaEmbed(plot, spec(plot), options));
    Promise.all(drawn).then(function () {
      window.TREND_READY = true;
    });
  }

  window.addEventListener("load", () => requestAnimationFrame(() => setTimeout(draw, 0)));
})();
