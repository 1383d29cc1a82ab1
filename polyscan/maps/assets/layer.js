// A layer page: a unit that was asked for and has no card is answered with a sentence and its numbers.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const source = document.getElementById("layer-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const channels = polyscan.unpacked(data.channel);
  const columns = polyscan.columns(data.columns);
  const isDead = polyscan.flags(data.dead);
  const verdicts = polyscan.verdicts(data.verdict);
  const sentence = document.getElementById("asked");
  const numbers = document.getElementById("asked-numbers");

  function answer() {
    const asked = /^#unit-(\d+)$/.exec(location.hash);
    const isMissing = Boolean(asked) && !document.getElementById(location.hash.slice(1));
    sentence.hidden = numbers.hidden = !isMissing;
    if (!isMissing) return;
    const unit = channels.indexOf(Number(asked[1]));
    const name = `${data.layer}:${asked[1]}`;
    if (unit < 0) {
      sentence.textContent = `${data.layer} has no unit ${asked[1]} in this run.`;
      numbers.hidden = true;
      return;
    }
    sentence.textContent = `No pictures were drawn for ${name}${isDead(unit) ? ", a dead unit" : ""}. Its numbers:`;
    polyscan.describe(numbers, columns, unit, verdicts.word(unit));
  }

  window.addEventListener("hashchange", answer);
  answer();
})();
