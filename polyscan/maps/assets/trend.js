// The depth trend's charts, drawn once the map stands.
(function () {
  "use strict";
  const source = document.getElementById("trend-data");
  const plots = Array.from(document.querySelectorAll("[data-chart]"));
  if (!source || !plots.length) return;
  const specs = JSON.parse(source.textContent);

  function draw() {
    if (!window.vegaEmbed) {
      document.getElementById("trend-missing").hidden = false;
      for (const plot of plots) plot.parentElement.hidden = true;
      return;
    }
    const options = { ast: true, actions: false, renderer: "svg", tooltip: { theme: "polyscan" } };
    const drawn = plots.map((plot) => window.vegaEmbed(plot, specs[Number(plot.dataset.chart)][plot.dataset.part], options));
    Promise.all(drawn).then(function () {
      window.TREND_READY = true;
    });
  }

  window.addEventListener("load", () => requestAnimationFrame(() => setTimeout(draw, 0)));
})();
