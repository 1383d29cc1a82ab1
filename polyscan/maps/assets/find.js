// Search by layer or layer:unit; what is not there is answered with a sentence.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const MOST_NAMES = 6;

  polyscan.Finder = class {
    // map: the network map; links: its layers' names; line: where the answer stands.
    constructor(map, links, line) {
      this.map = map;
      this.links = links;
      this.line = line;
    }

    // What the words name: a layer's place and a unit, -1 where there is none.
    parse(text) {
      const layers = this.map.layers;
      const exact = layers.findIndex((layer) => layer.name === text);
      if (exact >= 0) return { layer: exact, unit: -1 };
      const colon = text.lastIndexOf(":");
      const place = colon < 0 ? -1 : layers.findIndex((layer) => layer.name === text.slice(0, colon));
      if (place < 0) return { layer: -1, unit: -1 };
      const channel = text.slice(colon + 1);
      return { layer: place, unit: /^\d+$/.test(channel) ? this.map.unit(place, Number(channel)) : -1, channel: channel };
    }

    // Writes the answer; `by` is the score that a found unit is told with.
    answer(text, by) {
      const found = this.parse(text);
      const layer = this.map.layers[found.layer];
      this.links.forEach((link, place) => link.classList.toggle("found", place === found.layer));
      if (!text) this.line.replaceChildren();
      else if (found.unit >= 0) this.line.replaceChildren(...this.unitWords(found.unit, by));
      else if (!layer) this.line.replaceChildren(...this.nearWords(text.replace(/:\d*$/, "")));
      else if (found.channel === undefined) {
        this.line.replaceChildren(link(layer.address, layer.name), ` · ${polyscan.countText(layer.count)} units`);
      } else if (found.channel === "") {
        this.line.textContent = `${layer.name} holds ${this.range(layer)}; add a channel number.`;
      } else {
        this.line.textContent = `${layer.name} has no unit ${found.channel} on this map; it holds ${this.range(layer)}.`;
      }
      return found;
    }

    unitWords(unit, by) {
      const column = this.map.column(by);
      const rest = column.cells ? ` · ${column.label} ${polyscan.numberText(column.values()[unit], column.kind)}` : "";
      return [link(this.map.address(unit), this.map.name(unit)), rest];
    }

    // Units that are called so; the first few are linked, and how many there are is told.
    answerByName(text, names) {
      const wanted = text.toLowerCase();
      const like = [];
      names.forEach((name, unit) => { if (name.toLowerCase().includes(wanted)) like.push(unit); });
      const layers = this.parseNear(wanted);
      if (!like.length) {
        if (!layers.length) this.line.replaceChildren(`No layer and no unit is called “${text}”.`);
        return;
      }
      const shown = like.slice(0, MOST_NAMES);
      const links = shown.flatMap((unit, at) => [at ? " · " : "", link(this.map.address(unit), this.map.name(unit)), ` ${names[unit]}`]);
      const count = `${polyscan.countText(shown.length)} of ${polyscan.countText(like.length)} units called so: `;
      this.line.replaceChildren(...(layers.length ? [...this.nearWords(text), " · "] : []), count, ...links);
    }

    parseNear(wanted) {
      return this.map.layers.filter((layer) => layer.name.toLowerCase().includes(wanted));
    }

    range(layer) {
      if (!layer.count) return "no unit";
      const all = this.map.channel.subarray(layer.first, layer.first + layer.count);
      const [low, high] = [all[0], all[all.length - 1]];
      return high - low === all.length - 1 ? `${low} to ${high}` : `${polyscan.countText(all.length)} units between ${low} and ${high}`;
    }

    nearWords(text) {
      const wanted = text.toLowerCase();
      const like = this.parseNear(wanted);
      if (!like.length) return [`No layer is called “${text}”.`];
      const links = like.slice(0, MOST_NAMES).flatMap((layer, at) => [at ? ", " : "", link(layer.address, layer.name)]);
      const have = like.length === 1 ? "layer has" : "layers have";
      const some = like.length > MOST_NAMES ? `, ${MOST_NAMES} of them` : "";
      return [`${like.length} ${have} “${text}” in the name${some}: `, ...links];
    }
  };

  function link(address, words) {
    return polyscan.element("a", { href: address }, words);
  }
})();
