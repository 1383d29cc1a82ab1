// Draws the charts of the depth trend after the map.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const source = document.getElementById("trend-data");
  const plots = Array.from(document.querySelectorAll("[data-chart]"));
  if (!source || !plots.length) return;
  const charts = JSON.parse(source.textContent);

  // A mean followed by its interval, or a dash if there is no mean.
  function interval(row, name) {
    if (row[name] === undefined) return polyscan.numberText(null);
    const [mean, low, high] = [row[name], row[name + "_low"], row[name + "_high"]].map((value) => polyscan.numberText(value));
    return row[name + "_low"] === undefined ? mean : `${mean} [${low} to ${high}]`;
  }

  // The row with the texts of its tooltip.
  function withTexts(row) {
    const controls = interval(row, "control") + (row.controls ? `, ${row.controls} controls` : "");
    return Object.assign({ text: interval(row, "mean"), control_text: controls, excess_text: interval(row, "excess") }, row);
  }

  // The specification of a plot with its rows; both plots of a chart have the same rows.
  function spec(plot) {
    const { rows, specs } = charts[Number(plot.dataset.chart)];
    return Object.assign({}, specs[plot.dataset.part], { datasets: { points: rows.map(withTexts) } });
  }

  function draw() {
    if (!window.vegaEmbed) {
      document.getElementById("trend-missing").hidden = false;
      for (const plot of plots) plot.parentElement.hidden = true;
      return;
    }
    const options = { ast: true, actions: false, renderer: "svg", tooltip: { theme: "polyscan" } };
    const promises = plots.map((plot) => window.vegaEmbed(plot, spec(plot), options));
    Promise.all(promises).then(function () {
      window.TREND_READY = true;
    });
  }

  window.addEventListener("load", () => requestAnimationFrame(() => setTimeout(draw, 0)));
})();
