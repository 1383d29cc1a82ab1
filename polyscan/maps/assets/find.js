// Searches for a layer or a unit, and answers with a link or a sentence.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const MOST_NAMES = 6;

  polyscan.Finder = class {
    // map: the network map; links: the names of its layers; line: the element for the answer.
    constructor(map, links, line) {
      this.map = map;
      this.links = links;
      this.line = line;
    }

    // The place of the layer and the unit that a text names, -1 if it names none.
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

    // Writes the answer; for a unit it has its value of the score `by`.
    answer(text, by) {
      const match = this.parse(text);
      const layer = this.map.layers[match.layer];
      this.links.forEach((link, place) => link.classList.toggle("found", place === match.layer));
      if (!text) this.line.replaceChildren();
      else if (match.unit >= 0) this.line.replaceChildren(...this.unitAnswer(match.unit, by));
      else if (!layer) this.line.replaceChildren(...this.layersAnswer(text.replace(/:\d*$/, "")));
      else if (match.channel === undefined) {
        this.line.replaceChildren(link(layer.address, layer.name), ` · ${polyscan.countText(layer.count)} units`);
      } else if (match.channel === "") {
        this.line.textContent = `${layer.name} holds ${this.range(layer)}; add a channel number.`;
      } else {
        this.line.textContent = `${layer.name} has no unit ${match.channel} on this map; it holds ${this.range(layer)}.`;
      }
      return match;
    }

    unitAnswer(unit, by) {
      const column = this.map.column(by);
      const value = column.cells ? ` · ${column.label} ${polyscan.numberText(column.values()[unit], column.kind)}` : "";
      return [link(this.map.address(unit), this.map.name(unit)), value];
    }

    // Writes the number of units whose name contains the text, with links to the first few.
    answerByName(text, names) {
      const lowered = text.toLowerCase();
      const units = [];
      names.forEach((name, unit) => { if (name.toLowerCase().includes(lowered)) units.push(unit); });
      const layers = this.layersWith(lowered);
      if (!units.length) {
        if (!layers.length) this.line.replaceChildren(`No layer and no unit is called “${text}”.`);
        return;
      }
      const shown = units.slice(0, MOST_NAMES);
      const links = shown.flatMap((unit, index) => [index ? " · " : "", link(this.map.address(unit), this.map.name(unit)), ` ${names[unit]}`]);
      const count = `${polyscan.countText(shown.length)} of ${polyscan.countText(units.length)} units with this name: `;
      this.line.replaceChildren(...(layers.length ? [...this.layersAnswer(text), " · "] : []), count, ...links);
    }

    layersWith(lowered) {
      return this.map.layers.filter((layer) => layer.name.toLowerCase().includes(lowered));
    }

    range(layer) {
      if (!layer.count) return "no unit";
      const all = this.map.channel.subarray(layer.first, layer.first + layer.count);
      const [low, high] = [all[0], all[all.length - 1]];
      return high - low === all.length - 1 ? `${low} to ${high}` : `${polyscan.countText(all.length)} units between ${low} and ${high}`;
    }

    layersAnswer(text) {
      const layers = this.layersWith(text.toLowerCase());
      if (!layers.length) return [`No layer is called “${text}”.`];
      const links = layers.slice(0, MOST_NAMES).flatMap((layer, index) => [index ? ", " : "", link(layer.address, layer.name)]);
      const have = layers.length === 1 ? "layer has" : "layers have";
      const some = layers.length > MOST_NAMES ? `, ${MOST_NAMES} of them` : "";
      return [`${layers.length} ${have} “${text}” in the name${some}: `, ...links];
    }
  };

  function link(address, text) {
    return polyscan.element("a", { href: address }, text);
  }
})();
